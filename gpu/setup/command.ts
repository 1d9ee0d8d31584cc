/** How a command ended. */
export interface CommandResult {
  /** Whether it ran and gave exit code 0. */
  ok: boolean;
  /** What it wrote to its standard output. */
  stdout: string;
  /** What it wrote to its standard error stream, or why it could not be run. */
  stderr: string;
  /** How it ended, for people, such as `ended with exit code 1`. */
  ending: string;
}

/** Options of {@linkcode runCommand}. */
export interface CommandOptions {
  /** Whether to give it this process's terminal and keep none of its output. Default `false`. */
  terminal?: boolean;
  /** After how many seconds to end it. Default: never. */
  timeout?: number;
  /** Variables to set in its environment. */
  env?: Record<string, string>;
}

/**
 * Runs a command to its end; one that fails, or does not exist, is a result as well.
 *
 * @param command The program and its arguments.
 * @param options How to run it.
 * @returns How it ended.
 */
export async function runCommand(
  command: string[],
  { terminal = false, timeout, env = {} }: CommandOptions = {},
): Promise<CommandResult> {
  const [program, ...args] = command;
  const stop = new AbortController();
  const timer = timeout === undefined ? undefined : setTimeout(() => stop.abort(), timeout * 1000);
  try {
    const child = new Deno.Command(program!, {
      args,
      env,
      stdin: terminal ? "inherit" : "null",
      stdout: terminal ? "inherit" : "piped",
      stderr: terminal ? "inherit" : "piped",
      signal: stop.signal,
    }).spawn();
    if (terminal) {
      const status = await child.status;
      return { ok: status.success, stdout: "", stderr: "", ending: ending(status) };
    }
    const output = await child.output();
    const text = new TextDecoder();
    return {
      ok: output.success,
      stdout: text.decode(output.stdout),
      stderr: text.decode(output.stderr),
      ending: stop.signal.aborted ? `did not end within ${timeout} seconds` : ending(output),
    };
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied)) {
      throw error;
    }
    return { ok: false, stdout: "", stderr: `${error.message}\n`, ending: "could not be started" };
  } finally {
    clearTimeout(timer);
  }
}

function ending({ code, signal }: Deno.CommandStatus): string {
  return signal ? `was ended by signal ${signal}` : `ended with exit code ${code}`;
}
