/** The command line of the task `notebook`. */
import { UsageError } from "../command_line.ts";

/** What the command line asks for. */
export interface LabCommand {
  /** The port to listen on, if one is given. */
  readonly port: number | undefined;
  /** Whether to leave the user's browser alone. */
  readonly noBrowser: boolean;
  /** Arguments for JupyterLab. */
  readonly args: readonly string[];
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

/** The text of `--help`. */
export const LAB_USAGE = `\
Usage: deno task notebook [options] [arguments of JupyterLab]

Opens the notebooks in JupyterLab, with Deno as their kernel. The first time it installs JupyterLab
into the project's folder .cache/jupyter, for which it needs Python 3.10 or later.

Options:
  --port <number>  The port to listen on; if it is taken, another is (default: 8888)
  --no-browser     Print the address, and do not open it in the browser
  --help           Print this text

The server listens to this computer alone, and asks for the token in the address. Ctrl-C stops it and
its kernels.
`;

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say.
 * @throws {UsageError} If the port is none.
 */
export function parseLabOptions(args: readonly string[]): LabCommand {
  const others: string[] = [];
  let port: number | undefined;
  let noBrowser = false;
  let help = false;
  for (let n = 0; n < args.length; n++) {
    const arg = args[n]!;
    if (arg === "--help" || arg === "-h") help = true;
    else if (arg === "--no-browser") noBrowser = true;
    else if (arg === "--port") port = parsePort(args[++n]);
    else if (arg.startsWith("--port=")) port = parsePort(arg.slice("--port=".length));
    else others.push(arg);
  }
  return { port, noBrowser, args: others, help };
}

function parsePort(text: string | undefined): number {
  const port = Number(text);
  if (text !== undefined && /^\d+$/.test(text) && port < 2 ** 16) return port;
  throw new UsageError(`--port is "${text ?? ""}", expected a whole number from 0 to 65535`);
}

/**
 * Whether a browser could be shown here.
 *
 * @param os The system as `Deno.build.os` names it.
 * @param env The environment.
 * @returns Whether there is a screen to show it on, as far as can be told.
 */
export function hasDisplay(os: string, env: Readonly<Record<string, string>>): boolean {
  return os === "windows" || os === "darwin" || Boolean(env.DISPLAY || env.WAYLAND_DISPLAY);
}
