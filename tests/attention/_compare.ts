/** Runs attention on the device and holds it against the float64 reference. */
import {
  type AttentionBias,
  type AttentionForwardOp,
  type Device,
  memoryEfficientAttentionForwardRequiresGrad,
  type Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { referenceAttention, type ReferenceBias } from "../../attention/reference.ts";
import { numel } from "../../gpu/shape.ts";
import { nanPadded } from "../_device.ts";

/** What to compute; letters as in the documentation. */
export interface Case {
  readonly query: readonly number[];
  readonly key: readonly number[];
  readonly value: readonly number[];
  readonly mask?: AttentionBias;
  /** Shape of a tensor bias. */
  readonly bias?: readonly number[];
  /** Whether the bias says "may attend" instead of being added. */
  readonly boolean?: boolean;
  readonly scale?: number;
  readonly op?: AttentionForwardOp;
  /** Standard deviation of the inputs. Default 1. */
  readonly spread?: number;
  /** Put inputs into larger memory full of NaN. Default `true`. */
  readonly padded?: boolean;
}

/**
 * Tolerances of upstream's forward tests, whose inputs have a standard deviation of 3, so that scores reach
 * the hundreds and one weight takes nearly all.
 */
export const UPSTREAM = { atol: 3e-4, rtol: 2e-5 };

/**
 * For inputs of standard deviation 1: outputs are averages of numbers below 6, rounded to 24 bits some
 * Mkv + K times; 4e-6 is four times the largest error seen on any driver (9e-7).
 */
export const TIGHT = { atol: 4e-6, rtol: 2e-5 };

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

/** Checks output and log-sum-exp of one case; returns the raw output for further checks. */
export async function assertMatchesReference(
  device: Device,
  testCase: Case,
  tolerance = TIGHT,
): Promise<Float32Array> {
  const { query, key, value, mask, bias, boolean, scale, op, spread, padded = true } = testCase;
  const [q, k, v] = [query, key, value].map((shape, i) => ({
    shape,
    data: randomValues(numel(shape), i + 1, spread),
  })) as [Host, Host, Host];
  const hostBias = bias && biasValues(bias, boolean ?? false, spread);

  const made: Tensor[] = [];
  const upload = ({ shape, data }: Host): Tensor => {
    const tensor = padded ? nanPadded(device, data, shape) : device.tensor(data, { shape });
    made.push(tensor);
    return tensor;
  };
  const deviceBias = hostBias && biasTensor(device, hostBias, upload);
  if (deviceBias) made.push(deviceBias);
  const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(
    upload(q),
    upload(k),
    upload(v),
    {
      attnBias: mask ?? deviceBias,
      scale,
      op,
    },
  );
  const expected = referenceAttention(q, k, v, {
    ...(scale === undefined ? {} : { scale }),
    ...(hostBias ? { bias: hostBias } : {}),
    ...(mask ? { allowed: (_b, _h, i, j) => isAllowed(mask, q, k, i, j) } : {}),
  });
  const data = await out.data();
  assertAllClose({ shape: out.shape, data }, expected.out, tolerance);
  // Scores of spread 3 reach some 300, where a float's last bit is 3e-5.
  assertAllClose({ shape: lse.shape, data: await lse.data() }, expected.lse, {
    atol: tolerance === TIGHT ? 4e-6 : 2e-4,
    rtol: 1e-5,
  });
  for (const tensor of [...made, out, lse]) tensor.dispose();
  return data;
}

interface Host {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Upstream's trap: whole leading blocks and rows but for the last key are hidden. */
function biasValues(
  shape: readonly number[],
  boolean: boolean,
  spread = 1,
): ReferenceBias & { readonly data: Float32Array } {
  const data = randomValues(numel(shape), 4, spread);
  if (boolean) return { shape, data: data.map((x) => x > 0.3 ? 1 : 0), boolean };
  const keys = shape.at(-1)!;
  const rows = shape.length > 1 ? shape.at(-2)! : 1;
  for (let i = 0; i < (rows - 1) * keys && i < data.length; i++) {
    if (i % keys < keys - 1) data[i] = -Infinity;
  }
  return { shape, data };
}

function biasTensor(
  device: Device,
  bias: ReferenceBias & { readonly data: Float32Array },
  upload: (host: Host) => Tensor,
): Tensor {
  if (!bias.boolean) return upload(bias);
  return device.tensor(bias.data, { shape: bias.shape, dtype: "bool" });
}

function isAllowed(mask: AttentionBias, q: Host, k: Host, i: number, j: number): boolean {
  const [begin, end] = mask.keyRange(i, q.shape[1]!, k.shape[1]!);
  return begin <= j && j < end;
}
