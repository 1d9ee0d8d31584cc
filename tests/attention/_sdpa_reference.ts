/** `scaledDotProductAttention` by its definition: plain loops in float64, heads before the sequence. */
import { numel } from "../../gpu/shape.ts";
import { randomValues } from "./_compare.ts";

/** A tensor on the host, in row-major order. */
export interface Host {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** Numbers of standard deviation 1. */
export function random(shape: readonly number[], seed: number): Host {
  return { shape, data: randomValues(numel(shape), seed) };
}

/** What is added to the score at an index `[..., h, i, j]`; -Infinity hides the key. */
export type Bias = (index: readonly number[]) => number;

/** A mask as numbers to add, broadcast as NumPy does. */
export function biasOf({ shape, data }: Host, isBool: boolean): Bias {
  return (index) => {
    const own = index.slice(index.length - shape.length);
    const at = shape.reduce((sum, size, axis) => sum * size + (size === 1 ? 0 : own[axis]!), 0);
    if (!isBool) return data[at]!;
    return data[at] === 0 ? -Infinity : 0;
  };
}

/** The definition, row by row, for `[..., H, M, K]`, `[H, M, K]` and `[M, K]`. */
export function expectedOutput(query: Host, key: Host, value: Host, bias: Bias, scale?: number): {
  shape: number[];
  data: Float64Array;
} {
  const [L, E] = query.shape.slice(-2) as [number, number];
  const [S, Ev] = value.shape.slice(-2) as [number, number];
  const outer = query.shape.slice(0, -2);
  const [heads, keyHeads] = [outer.at(-1) ?? 1, key.shape.at(-3) ?? 1];
  const data = new Float64Array(numel(outer) * L * Ev);
  for (let head = 0; head < numel(outer); head++) {
    const [n, h] = [Math.floor(head / heads), head % heads];
    const keyHead = n * keyHeads + Math.floor(h / (heads / keyHeads));
    let rest = head;
    const index = outer.map((_, axis) => {
      const below = numel(outer.slice(axis + 1));
      const i = Math.floor(rest / below);
      rest %= below;
      return i;
    });
    for (let i = 0; i < L; i++) {
      const scores = Array.from({ length: S }, (_, j) => {
        let dot = 0;
        for (let e = 0; e < E; e++) {
          dot += query.data[(head * L + i) * E + e]! * key.data[(keyHead * S + j) * E + e]!;
        }
        return dot * (scale ?? E ** -0.5) + bias([...index, i, j]);
      });
      const greatest = Math.max(...scores);
      if (greatest === -Infinity) continue;
      const weights = scores.map((score) => Math.exp(score - greatest));
      const sum = weights.reduce((a, b) => a + b, 0);
      for (let e = 0; e < Ev; e++) {
        data[(head * L + i) * Ev + e] = weights.reduce(
          (out, weight, j) => out + weight / sum * value.data[(keyHead * S + j) * Ev + e]!,
          0,
        );
      }
    }
  }
  return { shape: [...outer, L, Ev], data };
}
