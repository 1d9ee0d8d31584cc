/** The command line of the task `web`. */
import { parseFlags, UsageError } from "../command_line.ts";

/** What the command line asks for. */
export interface ServeOptions {
  /** The port to listen on; 0 takes any. */
  readonly port: number;
  /** Whether to leave the user's browser alone. */
  readonly noBrowser: boolean;
  /** A folder to write the files to, instead of serving them. */
  readonly out: string | undefined;
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

const DEFAULT_PORT = 8000;

/** The text of `--help`. */
export const SERVE_USAGE = `\
Usage: deno task web [options]

Opens a page that measures memory and time of attention in the browser, by the browser's own WebGPU.

Options:
  --port <number>  The port to listen on; if it is taken, another is (default: ${DEFAULT_PORT})
  --no-browser     Print the address, and do not open it in the browser
  --out <folder>   Write the page's files there, for any server, and serve nothing
  --help           Print this text

The server listens to this computer alone. Ctrl-C stops it.
`;

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say.
 * @throws {UsageError} If they say nothing that can be done.
 */
export function parseServeOptions(args: readonly string[]): ServeOptions {
  const { port, out, help, "no-browser": noBrowser } = rawValues(args);
  if (out === "") throw new UsageError(`--out is "", expected a folder`);
  return { port: parsePort(port), noBrowser, out, help };
}

function rawValues(args: readonly string[]) {
  return parseFlags(args, {
    port: { type: "string", default: String(DEFAULT_PORT) },
    "no-browser": { type: "boolean", default: false },
    out: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  });
}

function parsePort(text: string): number {
  const port = /^\d+$/.test(text) ? Number(text) : NaN;
  if (port < 2 ** 16) return port;
  throw new UsageError(`--port is "${text}", expected a whole number from 0 to 65535`);
}
