/** What is compared: one way to compute the cases, on a device of its own. */
import type { Case } from "./cases.ts";

/** Which results a pass has. */
export const RESULTS = {
  forward: ["out"],
  training: ["dQuery", "dKey", "dValue"],
} as const;

/** A result of either pass. */
export type ResultName = typeof RESULTS[keyof typeof RESULTS][number];

/** One head of one sequence, `[M, K]` in row-major order. */
export type HeadReader = (name: ResultName, b: number, h: number) => Promise<Float32Array>;

/** The inputs on the host, `[B, M, H, K]` each; `gradient` is that of the output. */
export interface HostInputs {
  readonly query: Float32Array;
  readonly key: Float32Array;
  readonly value: Float32Array;
  readonly gradient: Float32Array;
}

/** A case whose inputs are on the device, ready to run. */
export interface Prepared {
  /** One call: computes, and reads every result back as a user would. */
  run(): Promise<unknown>;
  /** Computes once more and lets the results be looked at until the next call. */
  results(): Promise<HeadReader>;
  /** Gives everything back. */
  dispose(): Promise<void> | void;
}

/** One way to compute attention. */
export interface Contender {
  /** As in results. */
  readonly name: string;
  /** Puts a case's inputs on the device; throws an {@linkcode UnsupportedError} for what it cannot do. */
  prepare(what: Case, inputs: HostInputs): Promise<Prepared>;
}

/** What a contender has no function for. */
export class UnsupportedError extends Error {
  override name = "UnsupportedError";
}

/** Reads heads out of whole results that lie as `[B, M, H, K]` or `[B, H, M, K]`. */
export function readerOf(
  { B, H, K }: Case,
  order: "BMHK" | "BHMK",
  results: Partial<Record<ResultName, Float32Array>>,
): HeadReader {
  return (name, b, h) => {
    const data = results[name]!;
    const M = data.length / (B * H * K);
    if (order === "BHMK") {
      return Promise.resolve(data.slice((b * H + h) * M * K, (b * H + h + 1) * M * K));
    }
    const head = new Float32Array(M * K);
    for (let i = 0; i < M; i++) {
      const from = ((b * M + i) * H + h) * K;
      head.set(data.subarray(from, from + K), i * K);
    }
    return Promise.resolve(head);
  };
}

/** `[B, M, H, K]` as `[B, H, M, K]`. */
export function headsFirst({ B, H, K }: Case, data: Float32Array): Float32Array {
  const M = data.length / (B * H * K);
  const result = new Float32Array(data.length);
  for (let b = 0; b < B; b++) {
    for (let i = 0; i < M; i++) {
      for (let h = 0; h < H; h++) {
        const from = ((b * M + i) * H + h) * K;
        result.set(data.subarray(from, from + K), ((b * H + h) * M + i) * K);
      }
    }
  }
  return result;
}
