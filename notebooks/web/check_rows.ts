/** A few rows of a result, held against the reference in float64. */
import { type Tensor, tidy } from "@denoformers/attention";
import { referenceAttention } from "../../attention/reference.ts";
import { referenceAttentionGradients } from "../../attention/reference_gradients.ts";
import type { Inputs, Work } from "./measure.ts";
import { HEAD_DIM, MASKS } from "./settings.ts";

/** Significant bits of each element type: results are rounded once to these. */
const BITS = { f32: 24, f16: 11, bf16: 8 } as const;
/**
 * What f32 sums may be off by, as part of the largest number in a row. Values cancel each other, so that a
 * mean of N of them is √N times smaller than they are, and with it grows the part that rounding takes:
 * about 1e-5 at the longest. Ten times that is still far below what any wrong row would show.
 */
const SUMS = 1e-4;
/** Half types round the saved result too, which the gradients are computed from. */
const ROUNDINGS = 2;

/** How far the rows were off. */
export interface RowCheck {
  /** Largest error, as part of the largest number in the same row; NaN if anything is not finite. */
  readonly error: number;
  /** Whether that is within rounding. */
  readonly isRight: boolean;
}

/**
 * Computes once more and compares an early, a middle and the last row, each of another head, and in
 * training the query's gradients in the same places.
 *
 * @param inputs Query, key, value and gradient.
 * @param attend Computes the result and the query's gradient.
 * @param work What is computed.
 * @returns How far they are off. Time O(N K) on the CPU.
 */
export async function checkRows(
  inputs: Inputs,
  attend: () => { out: Tensor; dQuery: Tensor | undefined },
  { tokens, settings, signal }: Work,
): Promise<RowCheck> {
  const { out, dQuery } = tidy(attend);
  try {
    let error = 0;
    // None of the first: with a single key the gradient is 0, and no part of that can be told.
    const rows = [Math.floor(tokens * 0.1), Math.floor(tokens * 0.6), tokens - 1];
    for (const [n, row] of rows.entries()) {
      signal.throwIfAborted();
      const head = n % settings.heads;
      const seen = MASKS[settings.mask].seenBy(row, tokens);
      const own = [row, row + 1] as const;
      const query = await part(inputs.query, head, own);
      const key = await part(inputs.key, head, seen);
      const value = await part(inputs.value, head, seen);
      const found = await part(out, head, own);
      error = worse(error, found.data, referenceAttention(query, key, value).out.data);
      if (!inputs.gradient || !dQuery) continue;
      const gradient = await part(inputs.gradient, head, own);
      const foundGradient = await part(dQuery, head, own);
      const { dQuery: expected } = referenceAttentionGradients(query, key, value, gradient);
      error = worse(error, foundGradient.data, expected.data);
    }
    return { error, isRight: error <= SUMS + ROUNDINGS * 2 ** -BITS[settings.dtype] };
  } finally {
    out.dispose();
    dQuery?.dispose();
  }
}

/** Some tokens of one head, on the CPU: `[1, M, K]`. */
async function part(
  tensor: Tensor,
  head: number,
  [begin, end]: readonly [begin: number, end: number],
): Promise<{ shape: number[]; data: Float32Array }> {
  using view = tidy(() => tensor.detach().slice(1, begin, end).select(2, head).to("f32"));
  return { shape: [1, end - begin, HEAD_DIM], data: await view.data<Float32Array<ArrayBuffer>>() };
}

/** The larger of an error and that of a row; NaN stays. */
function worse(error: number, found: ArrayLike<number>, expected: Float64Array): number {
  const largest = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const difference = expected.reduce(
    (most, value, k) => Math.max(most, Math.abs(value - found[k]!)),
    0,
  );
  return Math.max(error, difference / largest);
}
