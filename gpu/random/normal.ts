/**
 * Normal numbers from random words, by integers alone. The usual ways go through logarithms and
 * cosines, whose last bits differ from driver to driver; here every adapter gives the same bits.
 *
 * A word's lowest bit is the sign. The others, n = word | 1, give the tail probability p = n / 2^33, in
 * (0, 1/2), whose normal quantile x(p) is looked up: the number of leading zeros of n picks an octave
 * of p, the next five bits a segment of the octave, the rest a point t within it, and
 * x = c0 - t (c1 - t c2) interpolates. Coefficients are fixed-point numbers; the error is under 6e-7, most of it from cutting
 * the result to the 24 bits of a float.
 */
import { multiplyHigh } from "./philox.ts";

const OCTAVES = 32;
const SEGMENTS = 32;
/** Fixed point: x < 6.3 takes 3 bits before the point and 28 behind it. */
const FRACTION_BITS = 28;

/** WGSL: `normal(word)`; needs `multiply_high` and the table in `quantiles`. */
export const NORMAL = /* wgsl */ `
fn normal(word: u32) -> f32 {
  let n = word | 1u;
  let octave = countLeadingZeros(n);
  let fraction = (n << octave) << 1u;
  let segment = fraction >> 27u;
  let t = fraction << 5u;
  let at = 3u * (octave * ${SEGMENTS}u + segment);
  let drop = multiply_high(t, quantiles[at + 1u] - multiply_high(t, quantiles[at + 2u]));
  let fixed = u32(max(0, i32(quantiles[at]) - i32(drop)));
  // A float has 24 bits: cut to them, so that the conversion need not round.
  let excess = 8u - min(8u, countLeadingZeros(fixed));
  let x = f32((fixed >> excess) << excess) * ${2 ** -FRACTION_BITS};
  return select(x, -x, (word & 1u) == 1u);
}
`;

/** The same on the host. */
export function normal(word: number, quantiles: Uint32Array): number {
  const n = (word | 1) >>> 0;
  const octave = Math.clz32(n);
  const fraction = (n << octave) << 1;
  const segment = fraction >>> 27;
  const t = (fraction << 5) >>> 0;
  const at = 3 * (octave * SEGMENTS + segment);
  const inner = quantiles[at + 1]! - multiplyHigh(t, quantiles[at + 2]!);
  const fixed = Math.max(0, quantiles[at]! - multiplyHigh(t, inner >>> 0));
  const excess = 8 - Math.min(8, Math.clz32(fixed));
  const x = ((fixed >>> excess) << excess) * 2 ** -FRACTION_BITS;
  return word & 1 ? -x : x;
}

let table: Uint32Array<ArrayBuffer> | undefined;

/** c0, c1, c2 of each segment of each octave. Computed once, in some 20 ms. */
export function quantileTable(): Uint32Array<ArrayBuffer> {
  if (table) return table;
  table = new Uint32Array(3 * OCTAVES * SEGMENTS);
  const fixed = (x: number) => Math.round(x * 2 ** FRACTION_BITS);
  for (let octave = 0; octave < OCTAVES; octave++) {
    const quantile = (fraction: number) => upperQuantile(2 ** (-2 - octave) * (1 + fraction));
    for (let segment = 0; segment < SEGMENTS; segment++) {
      const [x0, xMiddle, x1] = [0, 0.5, 1].map((t) => quantile((segment + t) / SEGMENTS));
      const c2 = 2 * (x0! - 2 * xMiddle! + x1!);
      const c1 = x0! - x1! + c2;
      table.set([fixed(x0!), fixed(c1), fixed(c2)], 3 * (octave * SEGMENTS + segment));
    }
  }
  return table;
}

/** The x >= 0 that a standard normal number exceeds with probability p <= 1/2, by Newton's method. */
export function upperQuantile(p: number): number {
  if (p === 0.5) return 0;
  let x = p > 0.1 ? 0.5 : Math.sqrt(-2 * Math.log(p)); // At or beyond the root: steps stay positive.
  for (let step = 0; step < 60; step++) {
    const tail = upperTail(x);
    // In logarithms: the tail is nearly a parabola there, and far roots need no more steps.
    const change = (Math.log(tail / p) * tail) / density(x);
    x += change;
    if (Math.abs(change) < 1e-15 * (1 + x)) break;
  }
  return x;
}

function density(x: number): number {
  return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}

/** P(X > x) for x >= 0 or slightly below: the series about 0, or the continued fraction of the tail. */
function upperTail(x: number): number {
  if (x < 2) {
    let term = x;
    let sum = x;
    for (let n = 1; Math.abs(term) > 1e-18; n++) sum += term *= x * x / (2 * n + 1);
    return 0.5 - density(x) * sum;
  }
  let fraction = x;
  for (let n = 200; n >= 1; n--) fraction = x + n / fraction;
  return density(x) / fraction;
}
