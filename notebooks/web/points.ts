/** What the sweep finds out: one point for each way and length, and the laws that they follow. */
import { attentionFlops } from "@denoformers/attention";
import { HEAD_DIM, MASKS, type Settings } from "./settings.ts";

/** The two ways to compute attention. */
export const WAYS = ["memory-efficient", "formula"] as const;

/** One of {@linkcode WAYS}. */
export type Way = typeof WAYS[number];

/** What is drawn. */
export type Quantity = "peakBytes" | "milliseconds";

/** A length at which a way was measured. */
export interface Measured {
  readonly kind: "measured";
  readonly way: Way;
  readonly tokens: number;
  /** Most bytes in use, query, key and value included. */
  readonly peakBytes: number;
  /** Wall time of one run among several. */
  readonly milliseconds: number;
  /** Largest error of the rows that were checked, as part of the largest number in them. */
  readonly error: number;
  /** Whether that error is within rounding. */
  readonly isRight: boolean;
}

/** A length at which it was not. */
export interface NotRun {
  /** `refused` by the device; `skipped` since it would take too much time or memory. */
  readonly kind: "refused" | "skipped";
  readonly way: Way;
  readonly tokens: number;
  /** Why, for the table. */
  readonly note: string;
  /** The error's text where there is one. */
  readonly message?: string;
}

/** What there is to say of one way at one length. */
export type Point = Measured | NotRun;

/** Shape of query, key and value: `[1, N, H, K]`. */
export function shapeOf({ heads }: Settings, tokens: number): number[] {
  return [1, tokens, heads, HEAD_DIM];
}

/** Bytes of query, key, value and result, and in training of their gradients. */
export function ownBytes({ heads, dtype, isTraining }: Settings, tokens: number): number {
  const size = dtype === "f32" ? 4 : 2;
  return (isTraining ? 8 : 4) * size * tokens * heads * HEAD_DIM;
}

/**
 * The points of one way that were measured.
 *
 * @param points All points.
 * @param way The way.
 */
export function measuredOf(points: readonly Point[], way: Way): Measured[] {
  return points.filter((point) => point.kind === "measured").filter((point) => point.way === way);
}

/**
 * What a run at another length would take, by the laws: memory beyond the tensors follows N for the one
 * way and N² for the other; time follows the pairs of query and key that are computed.
 *
 * @param last What was measured last.
 * @param tokens The other length.
 * @param quantity Which of the two.
 * @param settings What is measured.
 * @returns Bytes or milliseconds.
 */
export function predict(
  last: Measured,
  tokens: number,
  quantity: Quantity,
  settings: Settings,
): number {
  if (quantity === "milliseconds") {
    return last.milliseconds * pairs(last.way, tokens, settings) /
      pairs(last.way, last.tokens, settings);
  }
  const ratio = tokens / last.tokens;
  const own = ownBytes(settings, last.tokens);
  return own * ratio + (last.peakBytes - own) * ratio ** (last.way === "formula" ? 2 : 1);
}

/**
 * The exponents of N that the three longest lengths of a way show, by least squares through their
 * logarithms. The formula's memory is taken beyond query, key, value and result, as these are no part of
 * what grows with N².
 *
 * @param points All points.
 * @param way The way.
 * @param settings What was measured.
 * @returns Nothing where there are fewer than three.
 */
export function exponentsOf(
  points: readonly Point[],
  way: Way,
  settings: Settings,
): Readonly<Record<Quantity, number>> | undefined {
  const known = measuredOf(points, way).slice(-3);
  if (known.length < 3) return undefined;
  const own = (tokens: number) => way === "formula" ? ownBytes(settings, tokens) : 0;
  return {
    peakBytes: slope(known.map(({ tokens, peakBytes }) => [tokens, peakBytes - own(tokens)])),
    milliseconds: slope(known.map(({ tokens, milliseconds }) => [tokens, milliseconds])),
  };
}

/** The formula computes what a mask hides as well. */
function pairs(way: Way, tokens: number, { mask }: Settings): number {
  if (way === "formula") return tokens ** 2;
  const x = { shape: [1, tokens, 1, 1] };
  return attentionFlops(x, x, x, { attnBias: MASKS[mask].maskFor(tokens) }).cells;
}

/** Slope of the line through the logarithms. */
function slope(pairs: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: readonly number[]) =>
    values.reduce((sum, value) => sum + value, 0) / values.length;
  const [xs, ys] = [pairs.map(([x]) => Math.log(x)), pairs.map(([, y]) => Math.log(y))];
  const [meanX, meanY] = [mean(xs), mean(ys)];
  const covariance = mean(xs.map((x, i) => (x - meanX) * (ys[i]! - meanY)));
  return covariance / mean(xs.map((x) => (x - meanX) ** 2));
}
