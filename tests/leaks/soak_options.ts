/** The soak's command line. */
import { parseFlags, UsageError } from "../../notebooks/command_line.ts";

/** What the command line asks for. */
export interface SoakOptions {
  /** How long to soak. */
  readonly minutes: number;
  /** Of what is drawn; the same seed does the same, as far as time allows. */
  readonly seed: number;
  /** Where to write the summary as JSON, if anywhere. */
  readonly json: string | undefined;
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

/** The text of `--help`. */
export const USAGE = `\
Usage: deno task soak [options]

Does everything that the library can do, at random and again and again: attention of all masks held
against float64, training, decoding, operations right and wrong, forgotten tensors, devices that come
and go. Looks behind every operation whether the memory that is counted is what exists and is held.

Options:
  --minutes <number>  How long (default: 30)
  --seed <number>     Of what is drawn (default: 1)
  --json <file>       Write the summary to this file as well
  --help              Print this text

Exits with code 1 at the first thing that is wrong, and if the process grew too much.
`;

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say, with defaults for what they do not say.
 * @throws {UsageError} If they say nothing that can be done.
 */
export function parseOptions(args: readonly string[]): SoakOptions {
  const { minutes, seed, json, help } = rawValues(args);
  if (json === "") throw new UsageError('--json is "", expected the path of a file');
  if (!(/^\d*\.?\d+$/.test(minutes) && Number(minutes) > 0)) {
    throw new UsageError(`--minutes is "${minutes}", expected a number above 0`);
  }
  if (!(/^\d+$/.test(seed) && Number(seed) < 2 ** 31)) {
    throw new UsageError(`--seed is "${seed}", expected a whole number below 2^31`);
  }
  return { minutes: Number(minutes), seed: Number(seed), json, help };
}

function rawValues(args: readonly string[]) {
  return parseFlags(args, {
    minutes: { type: "string", default: "30" },
    seed: { type: "string", default: "1" },
    json: { type: "string" },
    help: { type: "boolean", short: "h", default: false },
  });
}
