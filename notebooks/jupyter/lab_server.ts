/** Starts and stops a server of JupyterLab. */
import { SetupError } from "../../gpu/setup/install.ts";
import type { Jupyter } from "./ensure_jupyter.ts";
import { JUPYTER_CACHE, NOTEBOOKS } from "./paths.ts";

/** A first start compiles Python's modules, which takes most of this on a slow disk. */
const START_SECONDS = 90;
/** A server first ends its kernels, which may be busy. */
const STOP_SECONDS = 20;
const POLL_MILLISECONDS = 100;
/** How much of the log to show where the server does not start. */
const TAIL_LINES = 15;

/** Options of {@linkcode startLab}. */
export interface LabOptions {
  /** The port to listen on; if it is taken, another is. 0 takes any. Default 8888. */
  readonly port?: number;
  /** The folder that is shown. Default the folder of the notebooks. */
  readonly folder?: string;
  /** Whether to open the page in the user's browser. Default `false`. */
  readonly openBrowser?: boolean;
  /** Further arguments for JupyterLab. */
  readonly args?: readonly string[];
  /** Further variables for the environment of the server and its kernels. */
  readonly env?: Readonly<Record<string, string>>;
}

/** A server that answers. */
export interface Lab {
  /** The address of its page, with the token that opens it. */
  readonly url: string;
  /** The address of the server without the token, with a slash at its end. */
  readonly base: string;
  /** The token. */
  readonly token: string;
  /** The path of the file that its messages go to. */
  readonly log: string;
  /** Settles when the server has ended, for whatever reason. */
  readonly ended: Promise<Deno.CommandStatus>;
  /** Ends its kernels and the server, and removes the file. */
  stop(): Promise<void>;
}

/**
 * Starts JupyterLab for this computer alone, and waits until it answers.
 *
 * @param jupyter The installation.
 * @param options What to show, and where.
 * @returns The server.
 * @throws {SetupError} If it does not start; the text has the end of its log.
 */
export async function startLab(jupyter: Jupyter, options: LabOptions = {}): Promise<Lab> {
  const token = crypto.getRandomValues(new Uint8Array(24)).toHex();
  const server = new Deno.Command(jupyter.python, {
    args: serverArguments(options),
    // Arguments could be read by other users of the computer.
    env: { ...jupyter.env, ...options.env, JUPYTER_TOKEN: token },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
    // A Ctrl-C in the terminal is for this process, which then stops the server.
    detached: true,
  }).spawn();
  const log = `${JUPYTER_CACHE}lab-${server.pid}.log`;
  await keepLog(server, log);
  const stop = async () => {
    await stopServer(server);
    await Deno.remove(log).catch(() => {});
  };
  try {
    const base = await untilItAnswers(server, jupyter, token);
    return { url: `${base}lab?token=${token}`, base, token, log, ended: server.status, stop };
  } catch (error) {
    await stopServer(server);
    if (!(error instanceof SetupError)) throw error;
    const lines = (await Deno.readTextFile(log)).trimEnd().split("\n").slice(-TAIL_LINES);
    throw new SetupError([error.message, ...lines].join("\n  "));
  }
}

function serverArguments({ port = 8888, folder, openBrowser = false, args }: LabOptions): string[] {
  return [
    ...["-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", `--ServerApp.port=${port}`],
    `--ServerApp.root_dir=${folder ?? NOTEBOOKS}`,
    // The project's kernel, not those that are installed for other uses.
    "--KernelSpecManager.allowed_kernelspecs=deno",
    "--MultiKernelManager.default_kernel_name=deno",
    // Browsers in a sandbox cannot read the file that would redirect them.
    "--ServerApp.use_redirect_file=False",
    ...(openBrowser ? [] : ["--no-browser"]),
    ...(Deno.build.os !== "windows" && Deno.uid() === 0 ? ["--allow-root"] : []),
    ...(args ?? []),
  ];
}

/** Lets the messages of a server go to a file. Kernels can hold the streams open after its end. */
async function keepLog(server: Deno.ChildProcess, path: string): Promise<void> {
  const file = await Deno.open(path, { write: true, create: true, truncate: true });
  const streams = [server.stdout, server.stderr].map(async (stream) => {
    for await (const chunk of stream) await file.write(chunk);
  });
  Promise.allSettled(streams).finally(() => file.close());
}

/** The server's address, once it gives an answer. */
async function untilItAnswers(
  server: Deno.ChildProcess,
  jupyter: Jupyter,
  token: string,
): Promise<string> {
  let ended: Deno.CommandStatus | undefined;
  server.status.then((status) => ended = status);
  // Jupyter writes there which port it took.
  const description = `${jupyter.env.JUPYTER_RUNTIME_DIR}/jpserver-${server.pid}.json`;
  const deadline = Date.now() + START_SECONDS * 1000;
  while (Date.now() < deadline) {
    if (ended) throw new SetupError(`JupyterLab ended with exit code ${ended.code}:`);
    const { url } = JSON.parse(await Deno.readTextFile(description).catch(() => "{}") || "{}");
    if (url !== undefined && await answers(`${url}api/status`, token)) return url;
    await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
  }
  throw new SetupError(`JupyterLab did not answer within ${START_SECONDS} seconds:`);
}

async function answers(url: string, token: string): Promise<boolean> {
  try {
    const response = await fetch(url, { headers: { authorization: `token ${token}` } });
    await response.body?.cancel();
    return response.ok;
  } catch {
    return false;
  }
}

async function stopServer(server: Deno.ChildProcess): Promise<void> {
  kill(server, "SIGTERM");
  const timer = setTimeout(() => kill(server, "SIGKILL"), STOP_SECONDS * 1000);
  await server.status;
  clearTimeout(timer);
}

function kill(server: Deno.ChildProcess, signal: Deno.Signal): void {
  try {
    server.kill(signal);
  } catch {
    // It has ended.
  }
}
