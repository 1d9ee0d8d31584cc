/** Gradients as PyTorch's autograd has them in float64; the file's script says more. */
import golden from "../fixtures/attention_gradients_golden.json" with { type: "json" };
import type { GoldenCase } from "./masks/_golden.ts";

/** A tensor as the file has it. */
export interface Stored {
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
}

/** Attention, the gradient of its output, and what follows from that. */
export interface GradientCase extends Pick<GoldenCase, "made"> {
  readonly name: string;
  readonly query: Stored;
  readonly key: Stored;
  readonly value: Stored;
  readonly scale?: number;
  readonly bias?: Stored & { readonly boolean: boolean };
  /** Slopes of ALiBi, one a head. */
  readonly slopes?: readonly number[];
  readonly gradient: Stored;
  readonly out: Stored;
  readonly lse: Stored;
  readonly dQuery: Stored;
  readonly dKey: Stored;
  readonly dValue: Stored;
  readonly dBias?: Stored;
}

/** All cases. Throws if the file has lost any, so that no test passes for want of cases. */
export const GRADIENT_CASES: readonly GradientCase[] = golden as unknown as GradientCase[];
if (GRADIENT_CASES.length < 21) {
  throw new Error(`There are ${GRADIENT_CASES.length} cases of gradients, expected 21`);
}

/** A stored tensor in numbers. */
export function numbers({ shape, data }: Stored) {
  return { shape, data: data.map(Number) };
}

/** What ALiBi adds to the score of query i and key j of a head. */
export function alibiTerm(slopes: readonly number[], Mq: number, Mkv: number) {
  return (_b: number, h: number, i: number, j: number) => -slopes[h]! * Math.abs(i + Mkv - Mq - j);
}
