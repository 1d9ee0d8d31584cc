/** The training run's command line. */
import { parseFlags, UsageError, wholeNumber } from "../command_line.ts";
import { ALL_DIGITS, SIDE, trainingCount } from "./data.ts";
import { type AttentionKind, SIZES } from "./model.ts";

/** What a training run depends on; a checkpoint keeps it. */
export interface RunOptions {
  /** How often all digits are seen. */
  readonly epochs: number;
  /** Digits of one step. */
  readonly batch: number;
  /** Of the split, the first weights and the order of the digits: below 2^32. */
  readonly seed: number;
  /** How attention is computed. */
  readonly attention: AttentionKind;
  /** How many digits there are, held-out ones included. */
  readonly limit: number;
}

/** What the command line asks for. */
export interface TrainOptions {
  /** What was given of the run's options. */
  readonly given: Partial<RunOptions>;
  /** Where to write checkpoints. */
  readonly checkpoint: string;
  /** The checkpoint to go on from, if there is one. */
  readonly resume: string | undefined;
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

/** Reaches 97 % in two to four minutes on two cores without a GPU. */
export const DEFAULTS: RunOptions = {
  epochs: 6,
  batch: 64,
  seed: 1,
  attention: "memory-efficient",
  limit: ALL_DIGITS,
};

const DEFAULT_CHECKPOINT = ".cache/digits.safetensors";
const KINDS: readonly AttentionKind[] = ["memory-efficient", "math"];
/** Enough for every class to be in both parts. */
const MIN_LIMIT = 100;

/** The text of `--help`. */
export const USAGE = `\
Usage: deno task train [options]

Trains a small vision transformer on handwritten digits on this machine's WebGPU adapter:
${ALL_DIGITS} digits, of which a fifth is held out; ${SIZES.depth} blocks of dim ${SIZES.dim} over ${
  (SIDE / SIZES.patch) ** 2
} patches.

Options:
  --epochs <number>    How often all digits are seen (default: ${DEFAULTS.epochs})
  --batch <number>     Digits of one step (default: ${DEFAULTS.batch})
  --seed <number>      Of split, first weights and order; the same seed gives the same losses
                       on one adapter (default: ${DEFAULTS.seed})
  --attention <kind>   ${KINDS.join(" or ")} (default: ${DEFAULTS.attention})
  --limit <number>     Take only so many digits, at least ${MIN_LIMIT} (default: ${DEFAULTS.limit})
  --checkpoint <file>  Where to write the training after each epoch, and when interrupted
                       (default: the file to resume, or ${DEFAULT_CHECKPOINT})
  --resume <file>      Go on with the training in a checkpoint, with its options
  --help               Print this text

Ctrl-C ends the step, writes the checkpoint and exits with code 130; a second Ctrl-C exits at
once, and leaves the last checkpoint as it is. SIGTERM does the same, with code 143.
`;

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say.
 * @throws {UsageError} If they say nothing that can be done.
 */
export function parseOptions(args: readonly string[]): TrainOptions {
  const { resume, checkpoint, help, attention, ...numbers } = rawValues(args);
  for (const [name, path] of Object.entries({ checkpoint, resume })) {
    if (path === "") throw new UsageError(`--${name} is "", expected the path of a file`);
  }
  const given: { -readonly [Name in keyof RunOptions]?: RunOptions[Name] } = {};
  if (numbers.epochs !== undefined) given.epochs = wholeNumber("epochs", numbers.epochs, 1);
  if (numbers.batch !== undefined) given.batch = wholeNumber("batch", numbers.batch, 1);
  if (numbers.seed !== undefined) given.seed = wholeNumber("seed", numbers.seed, 0, 2 ** 32 - 1);
  if (numbers.limit !== undefined) {
    given.limit = wholeNumber("limit", numbers.limit, MIN_LIMIT, ALL_DIGITS);
  }
  if (attention !== undefined) given.attention = attentionKind(attention);
  return { given, checkpoint: checkpoint ?? resume ?? DEFAULT_CHECKPOINT, resume, help };
}

/**
 * The options of a run: what was given, over what a checkpoint says, or over the defaults.
 *
 * @param given From the command line.
 * @param resumed Of the training to go on with, and its file.
 * @throws {UsageError} If a training would go on otherwise than it began, or a batch is larger than all
 * that there is to learn from.
 */
export function runOptions(
  given: Partial<RunOptions>,
  resumed?: { readonly options: RunOptions; readonly path: string },
): RunOptions {
  if (resumed) {
    for (const name of Object.keys(given) as (keyof RunOptions)[]) {
      if (given[name] === resumed.options[name]) continue;
      throw new UsageError(
        `--${name} is ${given[name]}, and ${resumed.path} was written with ` +
          `${resumed.options[name]}: leave --${name} out, or train anew without --resume`,
      );
    }
    return resumed.options;
  }
  const options = { ...DEFAULTS, ...given };
  const count = trainingCount(options.limit);
  if (options.batch > count) {
    throw new UsageError(
      `--batch is ${options.batch}, expected at most the ${count} digits to learn from, of ` +
        `--limit ${options.limit}`,
    );
  }
  return options;
}

/** Whether a value, as from a file, is what a command line could have asked for. */
export function areRunOptions(value: unknown): value is RunOptions {
  const { epochs, batch, seed, attention, limit } = (value ?? {}) as Partial<RunOptions>;
  const isWithin = (number: unknown, min: number, max: number) =>
    Number.isSafeInteger(number) && Number(number) >= min && Number(number) <= max;
  return isWithin(epochs, 1, Number.MAX_SAFE_INTEGER) && isWithin(seed, 0, 2 ** 32 - 1) &&
    isWithin(limit, MIN_LIMIT, ALL_DIGITS) && isWithin(batch, 1, trainingCount(limit!)) &&
    KINDS.includes(attention!);
}

function rawValues(args: readonly string[]) {
  const text = { type: "string" } as const;
  return parseFlags(args, {
    epochs: text,
    batch: text,
    seed: text,
    attention: text,
    limit: text,
    checkpoint: text,
    resume: text,
    help: { type: "boolean", short: "h", default: false },
  });
}

function attentionKind(text: string): AttentionKind {
  const kind = KINDS.find((known) => known === text);
  if (kind) return kind;
  throw new UsageError(`--attention is "${text}", expected ${KINDS.join(" or ")}`);
}
