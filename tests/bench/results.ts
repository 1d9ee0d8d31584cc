/** What a run finds out, as it is written to a file. */
import type { ChosenCase } from "./case_choice.ts";
import type { Ceilings } from "./ceilings.ts";

/** How one contender did in one case. */
export interface Outcome {
  /** Who. */
  readonly contender: string;
  /**
   * Whether its results were right, and so timed; `unchecked` where no truth is at hand (dropout), timed all
   * the same.
   */
  readonly status: "right" | "unchecked" | "wrong" | "failed" | "unsupported";
  /** Why it was not timed. */
  readonly reason?: string;
  /** Largest error as a share of the largest value. */
  readonly error?: number;
  /** Median time of a call with its results read back, in ms. */
  readonly wallMs?: number;
  /** Median time of a call's kernels on the GPU, in ms. */
  readonly gpuMs?: number;
  /** By time on the GPU if it is known, and the cells that the mask leaves. */
  readonly tflops?: number;
  /** Most bytes of all its buffers at once, inputs included. */
  readonly peakBytes?: number;
}

/** A case and all its outcomes. */
export interface Row {
  /** The case, at the sizes that it ran at. */
  readonly case: ChosenCase;
  /** Operations of its pass, by the cells that the mask leaves. */
  readonly flops: number;
  /** Bytes of the inputs, which is what decoding waits for. */
  readonly inputBytes: number;
  /** This package's first. */
  readonly outcomes: readonly Outcome[];
}

/** The adapter that ran it all. */
export interface AdapterSummary {
  /** Its own description. */
  readonly name: string;
  /** Who makes it. */
  readonly vendor: string;
  /** Whether it computes on the CPU. */
  readonly cpu: boolean;
}

/** One run. */
export interface Results {
  /** When it began, in UTC. */
  readonly date: string;
  /** What it ran on. */
  readonly adapter: AdapterSummary;
  /** Of this package, of Deno, of the peers. */
  readonly versions: Readonly<Record<string, string>>;
  /** Null where the adapter has no timestamps. */
  readonly ceilings: Ceilings | null;
  /** In the order of the cases. */
  readonly rows: readonly Row[];
}

/** The outcome of one contender, if it was timed. */
export function timedOutcome(row: Row | undefined, contender: string): Outcome | undefined {
  return row?.outcomes.find((outcome) =>
    outcome.contender === contender && outcome.wallMs !== undefined
  );
}

/** The fastest of the others by wall time, if any was timed. */
export function bestPeer(row: Row | undefined, ours: string): Outcome | undefined {
  return row?.outcomes
    .filter(({ contender, wallMs }) => contender !== ours && wallMs !== undefined)
    .sort((a, b) => a.wallMs! - b.wallMs!)[0];
}
