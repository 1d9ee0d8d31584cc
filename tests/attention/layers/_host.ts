/** Layers' arithmetic on the host: plain loops in float64. */
import type { Tensor } from "@denoformers/attention";

/** Sums of up to 24 products of numbers near 1: a few last bits of a float. */
export const TOLERANCE = { atol: 5e-6, rtol: 1e-5 };

/** A tensor on the host, in row-major order. */
export interface Host {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/** Reads a tensor back. */
export async function host(tensor: Tensor): Promise<Host> {
  return { shape: tensor.shape, data: await tensor.data() };
}

/** x Wᵀ + b, row by row. */
export function affine(x: Host, weight: Host, bias?: Host): Host {
  const [outs, ins] = weight.shape as [number, number];
  const rows = x.data.length / ins;
  const data = Float64Array.from({ length: rows * outs }, (_, at) => {
    const [row, out] = [Math.floor(at / outs), at % outs];
    let sum = bias?.data[out] ?? 0;
    for (let i = 0; i < ins; i++) sum += x.data[row * ins + i]! * weight.data[out * ins + i]!;
    return sum;
  });
  return { shape: [...x.shape.slice(0, -1), outs], data };
}

/** x Φ(x), with the normal distribution from the series of erf, which converges for what tests take. */
export function gelu(x: number): number {
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= x * x / (2 * n + 1);
  return x * (0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI));
}
