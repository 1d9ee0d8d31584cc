/** The demo's command line. */
import { parseFlags, UsageError } from "../command_line.ts";

/** What the command line asks for. */
export interface DemoOptions {
  /** B: how many sequences. */
  readonly batch: number;
  /** N: tokens of a sequence. */
  readonly tokens: number;
  /** C: features of a token. */
  readonly dim: number;
  /** H: attention heads. */
  readonly heads: number;
  /** Element type of input, weights and result. */
  readonly dtype: "f32";
  /** Whether a size was given; then the other parts of the demo are left out. */
  readonly ownSizes: boolean;
  /** Whether to print JSON. */
  readonly json: boolean;
  /** Whether to print the usage and do nothing else. */
  readonly help: boolean;
}

/** Sizes of a vision transformer: 3 images, each of 14 x 14 patches. */
const DEFAULTS = { batch: 3, tokens: 196, dim: 768, heads: 8 } as const;

/** Largest head dim of memory-efficient attention, on adapters with subgroups; on others it is half. */
const MAX_HEAD_DIM = 512;

/** The text of `--help`. */
export const USAGE = `\
Usage: deno task demo [options]

Computes self-attention on this machine's WebGPU adapter, and compares time and memory of
memory-efficient attention with those of the formula.

Options:
  --batch <number>   Sequences in the input (default: ${DEFAULTS.batch})
  --tokens <number>  Tokens of each sequence (default: ${DEFAULTS.tokens})
  --dim <number>     Features of each token (default: ${DEFAULTS.dim})
  --heads <number>   Attention heads; must divide dim (default: ${DEFAULTS.heads})
  --dtype <type>     Element type; the demo computes in f32 only, the library in f16 and bf16 too
  --json             Print one JSON document instead of text
  --help             Print this text

Without a size it also compares the two at a longer sequence. With one it computes only what
the sizes say.

Needs no permission. What is measured to choose kernels is kept for the next run where Deno may
read HOME, XDG_CACHE_HOME (LOCALAPPDATA on Windows) and DENOFORMERS_TUNING_CACHE, and read and
write denoformers/ in the user's cache folder.
`;

/**
 * Reads the command line.
 *
 * @param args The arguments.
 * @returns What they say, with defaults for what they do not say.
 * @throws {UsageError} If they say nothing that can be done.
 */
export function parseOptions(args: readonly string[]): DemoOptions {
  const values = rawValues(args);
  const { batch, tokens, dim, heads } = values;
  const sizes = {
    batch: size("batch", batch),
    tokens: size("tokens", tokens),
    dim: size("dim", dim),
    heads: size("heads", heads),
  };
  const { json, help } = values;
  if (sizes.dim % sizes.heads !== 0) {
    throw new UsageError(`--heads is ${sizes.heads}, expected a divisor of --dim ${sizes.dim}`);
  }
  if (sizes.dim / sizes.heads > MAX_HEAD_DIM) {
    throw new UsageError(
      `--dim ${sizes.dim} over --heads ${sizes.heads} is a head dim of ` +
        `${sizes.dim / sizes.heads}, expected at most ${MAX_HEAD_DIM}`,
    );
  }
  return {
    ...sizes,
    dtype: elementType(values.dtype),
    ownSizes: [batch, tokens, dim, heads].some((value) => value !== undefined),
    json,
    help,
  };
}

function rawValues(args: readonly string[]) {
  const number = { type: "string" } as const;
  return parseFlags(args, {
    batch: number,
    tokens: number,
    dim: number,
    heads: number,
    dtype: { type: "string", default: "f32" },
    json: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  });
}

function size(name: keyof typeof DEFAULTS, text: string | undefined): number {
  if (text === undefined) return DEFAULTS[name];
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value) || value < 1) {
    throw new UsageError(`--${name} is "${text}", expected a whole number >= 1`);
  }
  return value;
}

function elementType(text: string): "f32" {
  if (text === "f32") return text;
  if (text === "f16" || text === "bf16") {
    throw new UsageError(
      `--dtype is ${text}, in which the library computes and the demo does not, expected f32`,
    );
  }
  throw new UsageError(`--dtype is "${text}", expected f32`);
}
