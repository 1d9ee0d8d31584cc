/**
 * Attention of scores far from zero, forward, backward and merged. Scores are whole numbers below 2^24, which f32 holds
 * without rounding in any order: the offset and a small one. Weights follow from the small ones alone.
 */
import {
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import fc from "fast-check";
import { assertIs } from "./_compare.ts";
import { type Family, take } from "./_family.ts";

interface Case {
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  /** Thousands, of either sign, that all scores have in common. */
  readonly offset: number;
  readonly causal: boolean;
  /** Where the keys are cut into parts to be merged; 0 for not at all. */
  readonly cut: number;
  readonly needsQuery: boolean;
}

const K = 8;

/** Forward, and the gradient of the values, which are the weights summed over the queries. */
export const largeScores: Family<Case> = {
  name: "large_scores",
  weight: 1,
  quick: 6,
  cases: () =>
    fc.record({
      queries: fc.integer({ min: 1, max: 9 }),
      keys: fc.integer({ min: 1, max: 600 }),
      heads: fc.integer({ min: 1, max: 2 }),
      offset: fc.integer({ min: -8000, max: 8000 }),
      causal: fc.boolean(),
      cut: fc.nat(600),
      needsQuery: fc.boolean(),
    }),
  async check(device, { queries, keys, heads, offset, causal, cut, needsQuery }) {
    const rows = (count: number, row: (at: number) => number[]) =>
      device.tensor(
        Array.from({ length: count * heads }, (_, at) => {
          const numbers = row(Math.floor(at / heads));
          return [...numbers, ...new Array(K - numbers.length).fill(0)];
        }).flat(),
        { shape: [1, count, heads, K] },
      );
    const results = tidy(() => {
      const q = rows(queries, () => [offset, 1]);
      const k = rows(keys, (j) => [1000, small(j)]);
      const v = rows(keys, (j) => [small(3 * j + 1)]);
      q.requiresGrad = needsQuery;
      v.requiresGrad = true;
      const isCut = !causal && cut > 0 && cut < keys;
      const out = isCut ? merged(q, k, v, cut) : memoryEfficientAttention(q, k, v, {
        attnBias: causal ? new LowerTriangularMask() : undefined,
        scale: 1,
      });
      out.sum().backward();
      return [out.detach().contiguous(), v.grad!.contiguous()];
    });
    const [out, gradient] = await take(results);
    const weights = Array.from({ length: queries }, (_, i) => weightsOf(keys, causal ? i : keys));
    const expected = rowsOf(queries, heads, (i, d) => {
      if (d > 0) return 0;
      return weights[i]!.reduce((sum, weight, j) => sum + weight * small(3 * j + 1), 0);
    });
    const sums = rowsOf(keys, heads, (j) => weights.reduce((sum, row) => sum + row[j]!, 0));
    // Weights are off by some last places, of averages of numbers up to 3, and of sums over nine queries.
    assertIs(out!, expected, "f32", { atol: 6e-6, rtol: 2e-6 });
    assertIs(gradient!, sums, "f32", { atol: 1e-5, rtol: 2e-6 });
  },
};

function small(j: number): number {
  return (j * 7) % 4;
}

function weightsOf(keys: number, last: number): number[] {
  const all = Array.from({ length: keys }, (_, j) => j <= last ? Math.exp(small(j)) : 0);
  const sum = all.reduce((a, b) => a + b, 0);
  return all.map((weight) => weight / sum);
}

function rowsOf(count: number, heads: number, value: (row: number, d: number) => number) {
  const shape = [1, count, heads, K];
  const data = Array.from(
    { length: count * heads * K },
    (_, at) => value(Math.floor(at / K / heads), at % K),
  );
  return { shape, data };
}

function merged(q: Tensor, k: Tensor, v: Tensor, cut: number): Tensor {
  const parts = ([[0, cut], [cut, k.shape[1]!]] as const).map(([begin, end]) =>
    memoryEfficientAttentionPartial(q, k.slice(1, begin, end), v.slice(1, begin, end), { scale: 1 })
  );
  return mergeAttentions(parts.map(({ out }) => out), parts.map(({ lse }) => lse)).out;
}
