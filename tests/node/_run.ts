/** A process of Node that runs bundles of test files, one after another. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Outcome } from "../browser/harness.ts";

const PROGRAM = fileURLToPath(new URL("run_tests.mjs", import.meta.url));
const FIXTURES = fileURLToPath(new URL("../fixtures", import.meta.url));

/** A file's tests may take this long together; the slowest takes a tenth of it on two cores. */
const FILE_MILLISECONDS = 600_000;

/** How a process ended. */
export interface Ending {
  /** Its exit code; `null` if it was a signal that ended it. */
  readonly code: number | null;
  /** The signal. */
  readonly signal: string | null;
}

/** The process. */
export interface NodeRun {
  /**
   * How the tests of a file went.
   *
   * @param file The next one of those that the process got.
   */
  outcomesOf(file: string): Promise<readonly Outcome[]>;
  /** Waits for its end. */
  readonly ended: Promise<Ending>;
  /** Ends it, if it still runs. */
  stop(): void;
}

/** A line that the process writes. */
interface Line {
  readonly file: string;
  readonly outcomes: readonly Outcome[];
}

/**
 * Starts it.
 *
 * @param webgpu Path of the module of the npm package `webgpu`.
 * @param folder The folder of the bundles.
 * @param files Paths of the test files, from `tests/`.
 */
export function startTests(webgpu: string, folder: string, files: readonly string[]): NodeRun {
  const args = ["--expose-gc", PROGRAM, webgpu, folder, FIXTURES, ...files];
  const child = spawn("node", args, { stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<Ending>((resolve, reject) => {
    child.on("error", reject);
    child.on("exit", (code, signal) => resolve({ code, signal }));
  });
  ended.catch(() => {}); // Whoever reads the next line, or waits for the end, is told.
  let complaints = "";
  child.stderr.on("data", (bytes) => complaints += bytes);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    async outcomesOf(file) {
      const timer = setTimeout(() => child.kill("SIGKILL"), FILE_MILLISECONDS);
      const { value, done } = await lines.next();
      clearTimeout(timer);
      if (done) {
        const { code, signal } = await ended;
        throw new Error(
          `Node ended within ${file} by ${signal ?? `exit code ${code}`}\n${complaints}`,
        );
      }
      const line: Line = JSON.parse(value);
      if (line.file !== file) throw new Error(`Node ran ${line.file}, expected ${file}`);
      return line.outcomes;
    },
    ended,
    stop: () => void child.kill("SIGKILL"),
  };
}
