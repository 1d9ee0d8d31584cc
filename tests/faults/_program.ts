/** Runs the programs of this folder: some faults end or endanger the process that has them. */
import { assert } from "@std/assert";
import { fileURLToPath } from "node:url";

/** How long a program may take, in milliseconds. One that hangs takes for ever; software drivers take seconds. */
const DEADLINE_MS = 180_000;

/** What a runtime says that has a fault of its own, rather than an error of ours. */
const RUNTIME_FAULT = /panicked|fatal runtime error|fatal error|memory allocation of|Uncaught/i;

/** How to start a program. */
export interface ProgramOptions {
  /** Called with the process once it has printed a line that contains `at`. */
  readonly onLine?: { readonly at: string; readonly act: (child: Deno.ChildProcess) => void };
  /** Variables beside those of this process. */
  readonly env?: Record<string, string>;
}

/** How a program ended. */
export interface Outcome {
  /** Exit code. */
  readonly code: number;
  /** What it printed to both outputs. */
  readonly text: string;
  /** The JSON values that it printed, one a line. */
  readonly values: Record<string, unknown>[];
}

/**
 * Runs a program to its end, and asserts that it neither hangs nor brings the runtime down.
 *
 * @param path Of the program, from the root of the repository.
 * @param args Its arguments.
 */
export async function runProgram(
  path: string,
  args: readonly string[] = [],
  { onLine, env = {} }: ProgramOptions = {},
): Promise<Outcome> {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const run = ["run", "-A", "--quiet", `${root}${path}`, ...args];
  const command = new Deno.Command(Deno.execPath(), { args: run, cwd: root, env, ...PIPED });
  const child = command.spawn();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    child.kill("SIGKILL");
  }, DEADLINE_MS);
  let text = "";
  let hasActed = false;
  const take = async (stream: ReadableStream<Uint8Array<ArrayBuffer>>) => {
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      if (onLine && !hasActed && text.includes(onLine.at)) {
        hasActed = true;
        onLine.act(child);
      }
    }
  };
  const [{ code, signal }] = await Promise.all([
    child.status,
    take(child.stdout),
    take(child.stderr),
  ]);
  clearTimeout(timer);
  const shown = `${path} ${args.join(" ")}: exit code ${code}, signal ${signal}\n${text}`;
  assert(!isLate, `over ${DEADLINE_MS / 1000} s: ${shown}`);
  assert(!RUNTIME_FAULT.test(text), `the runtime has a fault of its own: ${shown}`);
  const values = text.split("\n").filter((line) => line.startsWith("{")).map((line) =>
    JSON.parse(line)
  );
  return { code, text, values };
}

const PIPED = { stdin: "null", stdout: "piped", stderr: "piped" } as const;
