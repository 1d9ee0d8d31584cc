/** The command line of the task `notebook:run`. */
import { parseArgs } from "node:util";
import { UsageError } from "../command_line.ts";

/** What the command line asks for. */
export interface RunCommand {
  /** The notebooks' paths; empty for all. */
  readonly notebooks: readonly string[];
  /** The size of the examples, if one is given. */
  readonly size: "small" | "large" | undefined;
  /** The folder to write to, if one is given. */
  readonly out: string | undefined;
  /** How long a cell may take, in seconds. */
  readonly cellSeconds: number;
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

const DEFAULT_SECONDS = 300;
/** A notebook may take so many times as long as one of its cells. */
export const CELLS_TIME = 3;

/** The text of `--help`. */
export const RUN_USAGE = `\
Usage: deno task notebook:run [options] [notebook...]

Runs notebooks, by default all, and writes their outputs into them, each only if all of its cells ran
without an error.

Options:
  --size <size>        small or large; by default small where the CPU computes, else large
  --out <folder>       Write the notebooks with their outputs there instead
  --timeout <seconds>  How long a cell may take (default: ${DEFAULT_SECONDS}); a notebook may take ${CELLS_TIME} times that
  --help               Print this text
`;

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say.
 * @throws {UsageError} If they say nothing that can be done.
 */
export function parseRunOptions(args: readonly string[]): RunCommand {
  const { values, positionals } = rawValues(args);
  const { size, out, timeout, help = false } = values;
  if (size !== undefined && size !== "small" && size !== "large") {
    throw new UsageError(`--size is "${size}", expected small or large`);
  }
  if (timeout !== undefined && !/^[1-9]\d{0,5}$/.test(timeout)) {
    throw new UsageError(`--timeout is "${timeout}", expected a whole number of seconds`);
  }
  if (out === "") throw new UsageError('--out is "", expected the path of a folder');
  const cellSeconds = timeout === undefined ? DEFAULT_SECONDS : Number(timeout);
  return { notebooks: positionals, size, out, cellSeconds, help };
}

function rawValues(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        size: { type: "string" },
        out: { type: "string" },
        timeout: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error));
  }
}
