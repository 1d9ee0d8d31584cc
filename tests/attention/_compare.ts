/** Runs attention on the device and holds it against the float64 reference. */
import {
  type AttentionBias,
  type AttentionForwardOp,
  type Device,
  type DType,
  memoryEfficientAttentionForwardRequiresGrad,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import {
  referenceAttention,
  type ReferenceBias,
  type ReferenceOptions,
} from "../../attention/reference.ts";
import { decodeHalf, encodeHalf } from "../../gpu/half.ts";
import { numel } from "../../gpu/shape.ts";
import { nanPadded } from "../_device.ts";
import { keptFactor, placesOf } from "./_places.ts";

/** What to compute; letters as in the documentation. */
export interface Case {
  readonly query: readonly number[];
  readonly key: readonly number[];
  readonly value: readonly number[];
  readonly mask?: AttentionBias;
  /** Shape of a tensor bias; with a mask, added to it. */
  readonly bias?: readonly number[];
  /** Whether the bias says "may attend" instead of being added. */
  readonly boolean?: boolean;
  /** Slopes of ALiBi, one a head. */
  readonly alibi?: readonly number[];
  readonly p?: number;
  readonly seed?: number;
  readonly scale?: number;
  readonly op?: AttentionForwardOp;
  /** Element type of query, key and value. Default f32. */
  readonly dtype?: FloatName;
  /** Element type of an added bias. Default `dtype`. */
  readonly biasDtype?: FloatName;
  readonly outputDtype?: FloatName;
  /** Standard deviation of the inputs. Default 1. */
  readonly spread?: number;
  /** Put inputs into larger memory full of NaN. Default `true`. */
  readonly padded?: boolean;
}

/** Element types of queries. */
export type FloatName = Extract<DType, "f32" | "f16" | "bf16">;

/** Allowed differences. */
export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

/**
 * Tolerances of upstream's forward tests, whose inputs have a standard deviation of 3, so that scores reach
 * the hundreds and one weight takes nearly all. Rounding to the output's type is part of them.
 */
export const UPSTREAM: Tolerance = { atol: 3e-4, rtol: 2e-5 };

/** The same by element type. */
export const UPSTREAM_OF: Readonly<Record<FloatName, Tolerance>> = {
  f32: UPSTREAM,
  f16: { atol: 4e-3, rtol: 4e-4 },
  bf16: { atol: 2e-2, rtol: 5e-3 },
};

/**
 * For inputs of standard deviation 1: outputs are averages of numbers below 6, rounded to 24 bits some
 * Mkv + K times; 4e-6 is four times the largest error seen on any driver (9e-7).
 */
export const TIGHT: Tolerance = { atol: 4e-6, rtol: 2e-5 };

/** Half of a last bit: what rounding the result to a type may change, relative to it. */
const ROUNDING: Readonly<Record<FloatName, number>> = { f32: 0, f16: 2 ** -11, bf16: 2 ** -8 };

/** Numbers of standard deviation `spread`, the same each time, from sums of a linear congruence. */
export function randomValues(count: number, seed: number, spread = 1): Float32Array {
  let state = (seed * 2654435761) >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32 - 0.5;
  };
  // A sum of three uniform numbers has variance 1/4.
  return Float32Array.from(
    { length: count },
    () => 2 * spread * (uniform() + uniform() + uniform()),
  );
}

/** A case of BMHK inputs from its sizes: B, Mq, Mkv, H, K, Kv. */
export function bmhk(
  [B, Mq, Mkv, H, K, Kv]: readonly [number, number, number, number, number, number],
  rest: Partial<Case> = {},
): Case {
  return { query: [B, Mq, H, K], key: [B, Mkv, H, K], value: [B, Mkv, H, Kv], ...rest };
}

/** Checks output and log-sum-exp of one case; returns the raw output for further checks. */
export async function assertMatchesReference(
  device: Device,
  testCase: Case,
  tolerance: Tolerance = TIGHT,
): Promise<Float32Array> {
  const { dtype = "f32", outputDtype = dtype } = testCase;
  const inputs = hostInputs(testCase);
  const { out, lse } = await compute(device, testCase, inputs);
  const { q, k, v } = inputs;
  const expected = referenceAttention(q, k, v, referenceOptions(testCase, inputs));
  assertAllClose(out, expected.out, {
    atol: tolerance.atol,
    rtol: tolerance.rtol + (tolerance === TIGHT ? ROUNDING[outputDtype] : 0),
    message: describeCase(testCase),
  });
  // Scores of spread 3 reach some 300, where a float's last bit is 3e-5.
  assertAllClose(lse, expected.lse, {
    atol: tolerance === TIGHT ? 4e-6 : 2e-4,
    rtol: 1e-5,
    message: `log-sum-exp of ${describeCase(testCase)}`,
  });
  return out.data;
}

/** A contiguous tensor on the host. */
export interface Host {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** What a case is computed from. */
export interface HostInputs {
  readonly q: Host;
  readonly k: Host;
  readonly v: Host;
  readonly bias: (ReferenceBias & Host) | undefined;
}

/** The inputs of a case, the same each time. */
export function hostInputs(testCase: Case): HostInputs {
  const { query, key, value, spread, dtype = "f32" } = testCase;
  const [q, k, v] = [query, key, value].map((shape, i) => ({
    shape,
    data: rounded(randomValues(numel(shape), i + 1, spread), dtype),
  })) as [Host, Host, Host];
  return { q, k, v, bias: testCase.bias && biasValues(testCase) };
}

/** Every number as the element type holds it. */
export function rounded(data: Float32Array, dtype: FloatName): Float32Array {
  return dtype === "f32" ? data : data.map((x) => decodeHalf(dtype, encodeHalf(dtype, x)));
}

async function compute(
  device: Device,
  testCase: Case,
  { q, k, v, bias }: HostInputs,
): Promise<{ out: Host; lse: Host }> {
  const { mask, boolean, alibi, p, seed = 7, scale, op, outputDtype, padded = true } = testCase;
  const { dtype = "f32", biasDtype = dtype } = testCase;
  const upload = ({ shape, data }: Host, type = dtype): Tensor =>
    padded ? nanPadded(device, data, shape, type) : device.tensor(data, { shape, dtype: type });
  const { out, lse } = tidy(() => {
    const tensor = bias &&
      (boolean
        ? device.tensor(bias.data, { shape: bias.shape, dtype: "bool" })
        : upload(bias, biasDtype));
    return memoryEfficientAttentionForwardRequiresGrad(upload(q), upload(k), upload(v), {
      attnBias: mask && tensor ? mask.addBias(tensor) : mask ?? tensor,
      alibiSlopes: alibi,
      p,
      seed,
      scale,
      op,
      outputDtype,
    });
  });
  const read = async (tensor: Tensor) => ({ shape: tensor.shape, data: await tensor.data() });
  const result = { out: await read(out), lse: await read(lse) };
  out.dispose();
  lse.dispose();
  return result;
}

/** A case's options as the reference takes them. */
export function referenceOptions(
  { query, key, mask, alibi, p, seed = 7, scale }: Case,
  { bias }: Pick<HostInputs, "bias">,
): ReferenceOptions {
  const placeOf = placesOf(mask, query[1]!, key[1]!);
  return {
    ...(scale === undefined ? {} : { scale }),
    ...(bias ? { bias } : {}),
    ...(mask ? { allowed: allowedBy(mask, query[1]!, key[1]!) } : {}),
    ...(alibi
      ? {
        added: (_b, h, i, j) => {
          const { row, key, queries, keys } = placeOf(0, i, j);
          // The slope as the kernel has it.
          return -Math.fround(alibi[h]!) * Math.abs(row + keys - queries - key);
        },
      }
      : {}),
    ...(p ? { factor: (b, h, i, j) => keptFactor(p, seed, h, placeOf(b, i, j)) } : {}),
  };
}

/** By the mask as it materializes. */
function allowedBy(mask: AttentionBias, Mq: number, Mkv: number) {
  const matrix = mask.materialize([Mq, Mkv]);
  return (_b: number, _h: number, i: number, j: number) => matrix[i * Mkv + j] === 0;
}

/** Upstream's trap: whole leading blocks and rows but for the last key are hidden. */
function biasValues(
  { bias: shape, boolean, spread, dtype = "f32", biasDtype = dtype }: Case,
): ReferenceBias & Host {
  const data = randomValues(numel(shape!), 4, spread);
  if (boolean) return { shape: shape!, data: data.map((x) => x > 0.3 ? 1 : 0), boolean };
  const keys = shape!.at(-1)!;
  const rows = shape!.length > 1 ? shape!.at(-2)! : 1;
  for (let i = 0; i < (rows - 1) * keys && i < data.length; i++) {
    if (i % keys < keys - 1) data[i] = -Infinity;
  }
  return { shape: shape!, data: rounded(data, biasDtype) };
}

/** A case in a line, for messages. */
export function describeCase({ query, key, value, mask, op, ...rest }: Case): string {
  const shapes = [query, key, value].map((shape) => `[${shape}]`).join(" ");
  return `${op?.name ?? "chosen op"} on ${shapes} with ${mask?.constructor.name ?? "no mask"} ${
    JSON.stringify(rest)
  }`;
}
