/** The fuzzer's command line. */
import { parseFlags, UsageError, wholeNumber } from "../../notebooks/command_line.ts";
import { FAMILIES } from "./families.ts";

/** What the command line asks for. */
export interface FuzzOptions {
  /** Cases in all. */
  readonly cases: number;
  /** Undefined for one that nobody chose. */
  readonly seed: number | undefined;
  /** The one family to run; undefined for all. */
  readonly only: string | undefined;
  /** After how many minutes to begin no other batch. */
  readonly minutes: number;
  /** One case to try, as it was printed; undefined to draw. */
  readonly case: string | undefined;
  /** Where to write the summary as JSON; undefined for nowhere. */
  readonly json: string | undefined;
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

const DEFAULT_CASES = 20_000;
/** Seeds are whole numbers below this. */
export const SEED_END = 2 ** 31;

/** The text of `--help`. */
export const USAGE = `\
Usage: deno task fuzz [options]

Calls the whole public surface with arguments drawn at random, right and wrong ones, and compares what
comes of it with plain JavaScript in float64. Of a call that goes wrong the smallest one is printed that
does so too, as a line to run again. Exits with code 1 if there was one.

Options:
  --cases <number>   Cases in all (default: ${DEFAULT_CASES})
  --seed <number>    What is drawn, a whole number below 2^31 (default: another one each time, printed)
  --only <family>    One family: ${wrapped(FAMILIES.map(({ name }) => name))}
  --minutes <number> Begin no more after so many minutes (default: no limit)
  --case <text>      Try this one case of the family that --only names, as it was printed
  --json <file>      Write the summary there
  --help             Print this text
`;

function wrapped(names: readonly string[]): string {
  const lines = [""];
  for (const name of names) {
    if (lines.at(-1)!.length + name.length > 75) lines.push("");
    lines[lines.length - 1] += `${name}, `;
  }
  return lines.join("\n                     ").replace(/, $/, "");
}

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say, with defaults for what they do not say.
 * @throws {UsageError} If they say nothing that can be done.
 */
export function parseOptions(args: readonly string[]): FuzzOptions {
  const { cases, seed, minutes, only, ...values } = rawValues(args);
  if (only !== undefined && !FAMILIES.some(({ name }) => name === only)) {
    throw new UsageError(`--only is "${only}", expected a family, see --help`);
  }
  if (values.case !== undefined && only === undefined) {
    throw new UsageError("--case is given without --only, expected the family of the case");
  }
  if (values.json === "") throw new UsageError('--json is "", expected the path of a file');
  return {
    cases: cases === undefined ? DEFAULT_CASES : wholeNumber("cases", cases, 1, 1e9),
    seed: seed === undefined ? undefined : wholeNumber("seed", seed, 0, SEED_END - 1),
    minutes: minutes === undefined ? Infinity : wholeNumber("minutes", minutes, 1, 1e6),
    only,
    case: values.case,
    json: values.json,
    help: values.help,
  };
}

function rawValues(args: readonly string[]) {
  const text = { type: "string" } as const;
  return parseFlags(args, {
    cases: text,
    seed: text,
    only: text,
    minutes: text,
    case: text,
    json: text,
    help: { type: "boolean", short: "h", default: false },
  });
}
