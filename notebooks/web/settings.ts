/** What the reader of the page asks for. */
import {
  type AttentionBias,
  BlockDiagonalMask,
  LocalAttentionFromBottomRightMask,
  LowerTriangularMask,
} from "@denoformers/attention";

/** Shortest sequence that is measured. */
export const SHORTEST = 256;
/** Longest sequence that can be asked for. Twice as long, one f32 tensor of 8 heads would take 1 GiB. */
export const LONGEST = 262_144;
/** K, of query, key and value. */
export const HEAD_DIM = 64;

/** Heads that can be chosen. */
export const HEADS = [1, 4, 8] as const;
/** Element types that can be chosen. */
export const DTYPES = ["f32", "f16", "bf16"] as const;
/** Bytes that can be chosen as the most that one run may take. */
export const BUDGETS = [2 ** 28, 2 ** 30, 2 ** 32, 2 ** 34] as const;

/** Keys to each side of a query that the window shows. */
const WINDOW = 128;
/** Tokens of each packed sequence; the last may be shorter. */
const SEQUENCE = 256;

/** A mask that can be chosen. */
export interface MaskChoice {
  /** What the form calls it. */
  readonly label: string;
  /** The mask for so many tokens. */
  readonly maskFor: (tokens: number) => AttentionBias | undefined;
  /**
   * The first key that a query sees, and the one behind the last: the mask's meaning written down a second
   * time, for results to be held against.
   */
  readonly seenBy: (query: number, tokens: number) => readonly [begin: number, end: number];
}

/** The masks that can be chosen. */
export const MASKS = {
  none: {
    label: "none",
    maskFor: () => undefined,
    seenBy: (_query, tokens) => [0, tokens],
  },
  causal: {
    label: "causal",
    maskFor: () => new LowerTriangularMask(),
    seenBy: (query) => [0, query + 1],
  },
  window: {
    label: `window of ${WINDOW} keys to each side`,
    maskFor: () => new LocalAttentionFromBottomRightMask(WINDOW, WINDOW),
    seenBy: (query, tokens) => [
      Math.max(0, query - WINDOW),
      Math.min(tokens, query + WINDOW + 1),
    ],
  },
  packed: {
    label: `packed sequences of ${SEQUENCE} tokens`,
    maskFor: (tokens) => BlockDiagonalMask.fromSeqlens(sequenceLengths(tokens)),
    seenBy: (query, tokens) => {
      const begin = query - query % SEQUENCE;
      return [begin, Math.min(tokens, begin + SEQUENCE)];
    },
  },
} as const satisfies Record<string, MaskChoice>;

/** The name of a mask in {@linkcode MASKS}. */
export type MaskName = keyof typeof MASKS;

/** What is measured. */
export interface Settings {
  /** The longest sequence. */
  readonly longest: number;
  /** H. */
  readonly heads: number;
  /** Which mask. */
  readonly mask: MaskName;
  /** Element type of query, key, value and result. */
  readonly dtype: typeof DTYPES[number];
  /** Whether gradients are computed too. */
  readonly isTraining: boolean;
  /** Most bytes that one run may take by prediction. */
  readonly budget: number;
}

/** The form's fields by name, as text. */
export type Fields = Readonly<Record<keyof Settings, string>>;

/** A field that says nothing that can be measured; the text says what was expected. */
export class SettingsError extends Error {
  /** The class's name. */
  override name = "SettingsError";

  /**
   * @param field The field's name.
   * @param message What is wrong with it.
   */
  constructor(readonly field: keyof Settings, message: string) {
    super(message);
  }
}

/**
 * Reads the form.
 *
 * @param fields The texts of its fields.
 * @returns What they say.
 * @throws {SettingsError} If one cannot be understood.
 */
export function parseSettings(fields: Fields): Settings {
  return {
    longest: parseLongest(fields.longest),
    heads: oneOf("heads", HEADS.map(String), fields.heads, Number),
    mask: oneOf("mask", Object.keys(MASKS), fields.mask, (name) => name as MaskName),
    dtype: oneOf("dtype", DTYPES, fields.dtype, (name) => name as typeof DTYPES[number]),
    isTraining: oneOf(
      "isTraining",
      ["true", "false"],
      fields.isTraining,
      (text) => text === "true",
    ),
    budget: oneOf("budget", BUDGETS.map(String), fields.budget, Number),
  };
}

/**
 * The lengths to measure: doubled from the shortest on, and the longest itself.
 *
 * @param longest The longest.
 * @returns The lengths in their order.
 */
export function lengthsUpTo(longest: number): number[] {
  const lengths: number[] = [];
  for (let tokens = SHORTEST; tokens < longest; tokens *= 2) lengths.push(tokens);
  return [...lengths, longest];
}

function sequenceLengths(tokens: number): number[] {
  const whole = new Array<number>(Math.floor(tokens / SEQUENCE)).fill(SEQUENCE);
  return tokens % SEQUENCE === 0 ? whole : [...whole, tokens % SEQUENCE];
}

function parseLongest(text: string): number {
  const trimmed = text.trim();
  const longest = /^\d+$/.test(trimmed) ? Number(trimmed) : NaN;
  if (longest >= SHORTEST && longest <= LONGEST) return longest;
  throw new SettingsError(
    "longest",
    `Cannot measure: largest N is "${trimmed}", expected a whole number from ${SHORTEST} to ${LONGEST}`,
  );
}

function oneOf<T>(
  field: keyof Settings,
  choices: readonly string[],
  text: string,
  parse: (text: string) => T,
): T {
  if (choices.includes(text)) return parse(text);
  throw new SettingsError(
    field,
    `Cannot measure: ${field} is "${text}", expected one of ${choices.join(", ")}`,
  );
}
