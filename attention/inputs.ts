/**
 * The one place where attention's arguments are checked, and brought into one form: whatever the rank,
 * kernels see query `[B, Mq, G, H, K]`, key `[B, Mkv, G, H, K]`, value `[B, Mkv, G, H, Kv]` and bias
 * `[B, G, H, Mq, Mkv]`, as strided views of what was passed. Nothing is copied.
 */
import { type OptionNames, told } from "../gpu/checks.ts";
import { type DType, type FloatDType, isFloat } from "../gpu/dtype.ts";
import type { DeviceArray } from "../gpu/array.ts";
import { type Device, runtimeOf } from "../gpu/device.ts";
import type { Runtime } from "../gpu/runtime/runtime.ts";
import { formatShape } from "../gpu/shape.ts";
import { arrayOn } from "../gpu/tensor/base.ts";
import { Tensor } from "../gpu/tensor/tensor.ts";
import { groupedLayouts } from "./grouped_heads.ts";
import type { AttentionBias } from "./masks/bias.ts";
import {
  checkedAlibi,
  checkedDropout,
  describeTerms,
  type Dropout,
  type ScoreTerms,
  scoreTerms,
} from "./score_terms.ts";

/** Options that every attention function takes. */
export interface AttentionOptions {
  /**
   * A mask; or a tensor that broadcasts to `[B, H, Mq, Mkv]` (`[B, Mq, Mkv]` for 3-D inputs,
   * `[B, G, H, Mq, Mkv]` for 5-D): f32, f16 or bf16 is added to the scaled scores, bool means "may attend". `null` is
   * none, as `undefined`.
   */
  attnBias?: AttentionBias | Tensor | null | undefined;
  /** Probability of dropping a weight, in [0, 1]. Default 0. Applied whenever it is above 0. */
  p?: number | undefined;
  /** Seed of the dropout, a whole number below 2^53; default a new one every time. */
  seed?: number | undefined;
  /** Factor on the scores, before the bias; may be 0. Default `K ** -0.5` (1 where K is 0). */
  scale?: number | undefined;
  /** Element type of the result. Default the query's. */
  outputDtype?: DType | undefined;
  /**
   * ALiBi: `-slope * |i + Mkv - Mq - j|` is added to the score of query `i` and key `j`, counted within the
   * block for packed sequences. One slope a head, `[H]` or `[B, H]`, f32; see `alibiSlopes()`.
   */
  alibiSlopes?: Tensor | readonly number[] | undefined;
}

/** Names of {@linkcode AttentionOptions} but for the result's type, which gradients do not have. */
export const GRADIENT_OPTIONS: OptionNames<Omit<AttentionOptions, "outputDtype">> = {
  attnBias: "AttentionBias TensorBase",
  p: "number",
  seed: "",
  scale: "",
  alibiSlopes: "list",
};

/** Names of {@linkcode AttentionOptions}. */
export const ATTENTION_OPTIONS: OptionNames<AttentionOptions> = {
  ...GRADIENT_OPTIONS,
  outputDtype: "string",
};

/** Names of the options of functions that take a mask and nothing else. */
export const BIAS_OPTIONS: OptionNames<Pick<AttentionOptions, "attnBias">> = {
  attnBias: GRADIENT_OPTIONS.attnBias,
};

/** B batch, Mq and Mkv lengths, G head groups, H heads of a group, K and Kv head dims. */
export interface AttentionSizes {
  readonly B: number;
  readonly Mq: number;
  readonly Mkv: number;
  readonly G: number;
  readonly H: number;
  readonly K: number;
  readonly Kv: number;
}

/** Checked arguments in the form that ops take. */
export interface AttentionInputs extends ScoreTerms {
  readonly device: Device;
  readonly runtime: Runtime;
  readonly sizes: AttentionSizes;
  readonly query: DeviceArray;
  readonly key: DeviceArray;
  readonly value: DeviceArray;
  /** Element type of query, key and value. */
  readonly storage: FloatDType;
  /** Element type of the result. */
  readonly output: FloatDType;
  readonly dropout: Dropout | undefined;
  readonly scale: number;
  /** Shapes of query, key and value as the caller has them; gradients have the same. */
  readonly shapes: Readonly<Record<"query" | "key" | "value", readonly number[]>>;
  /** Shape of the result, in the caller's rank. */
  readonly outShape: readonly number[];
  /** Shape of the log-sum-exp. */
  readonly lseShape: readonly number[];
  /** The inputs as the caller knows them, a line each, for messages. */
  readonly description: readonly string[];
}

const LAYOUTS: Readonly<Record<number, string>> = {
  3: "[B, M, K]",
  4: "[B, M, H, K]",
  5: "[B, M, G, H, K]",
};

/**
 * Checks the arguments; throws `TypeError` and `RangeError` that name the argument and the remedy. The names of the
 * options are checked before, as each public function has its own.
 */
export function attentionInputs(
  name: string,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions,
): AttentionInputs {
  for (const [argument, tensor] of Object.entries({ query, key, value })) {
    if (!(tensor instanceof Tensor)) {
      throw new TypeError(`Cannot run ${name}: ${argument} is ${told(tensor)}, expected a Tensor`);
    }
  }
  const shapes = `query ${formatShape(query.shape)}, key ${formatShape(key.shape)}, value ${
    formatShape(value.shape)
  }`;
  const fail = (kind: typeof RangeError | typeof TypeError, what: string): never => {
    throw new kind(`Cannot run ${name}: ${what}; inputs are ${shapes}`);
  };
  const rank = query.ndim;
  if (!LAYOUTS[rank] || key.ndim !== rank || value.ndim !== rank) {
    fail(
      TypeError,
      `ranks are ${rank}, ${key.ndim} and ${value.ndim}, expected all 3 [B, M, K], all 4 [B, M, H, K] ` +
        "or all 5 [B, M, G, H, K]",
    );
  }
  const { device } = query;
  const arrays = [query, key, value].map((tensor) => arrayOn(device, tensor));
  const storage = query.dtype;
  if (!isFloat(storage) || arrays.some(({ dtype }) => dtype !== storage)) {
    return fail(
      TypeError,
      `dtypes are ${query.dtype}, ${key.dtype} and ${value.dtype}, expected all f32, f16 or bf16, ` +
        'convert with .to("f32")',
    );
  }
  const [q, k, v] = groupedLayouts(arrays.map((array) => array.layout), fail);
  const [B, Mq, G, H, K] = q!.shape as [number, number, number, number, number];
  const sizes = { B, Mq, Mkv: k!.shape[1]!, G, H, K, Kv: v!.shape[4]! };
  const long = Object.entries(sizes).find(([, size]) => size >= 2 ** 32);
  if (long) fail(RangeError, `${long[0]} is ${long[1]}, expected at most 2^32 - 1`);
  const terms = scoreTerms(name, device, sizes, rank, options.attnBias, shapes);
  const dropout = checkedDropout(name, options);
  return {
    device,
    runtime: runtimeOf(device),
    sizes,
    query: { ...arrays[0]!, layout: q! },
    key: { ...arrays[1]!, layout: k! },
    value: { ...arrays[2]!, layout: v! },
    storage,
    output: checkedOutput(name, options.outputDtype ?? storage),
    ...terms,
    alibi: checkedAlibi(name, device, sizes, options.alibiSlopes),
    dropout,
    scale: checkedScale(name, options.scale, K),
    shapes: { query: query.shape, key: key.shape, value: value.shape },
    outShape: [...query.shape.slice(0, -1), sizes.Kv],
    lseShape: [B, ...(rank === 5 ? [G, H] : [G * H]), Mq],
    description: [
      ...Object.entries({ query, key, value }).map(([argument, { shape, dtype }]) =>
        `${argument}: shape ${formatShape(shape)}, dtype ${dtype}`
      ),
      `attnBias: ${describeTerms(terms)}`,
      `p: ${dropout?.p ?? 0}`,
    ],
  };
}

function checkedOutput(name: string, dtype: DType): FloatDType {
  if (!isFloat(dtype)) {
    throw new TypeError(
      `Cannot run ${name}: outputDtype is ${told(dtype)}, expected f32, f16 or bf16`,
    );
  }
  return dtype;
}

function checkedScale(name: string, scale: number | undefined, K: number): number {
  const value = scale ?? (K > 0 ? K ** -0.5 : 1);
  if (!Number.isFinite(value)) {
    throw new RangeError(`Cannot run ${name}: scale is ${told(value)}, expected a finite number`);
  }
  return value;
}
