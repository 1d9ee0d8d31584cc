/** The figures that this package is to reach, as data, and how a run's results are held against them. */
import type { Case } from "./cases.ts";
import { OURS } from "./ours.ts";
import { type AdapterSummary, bestPeer, type Results, type Row, timedOutcome } from "./results.ts";

/** One wanted figure. */
export interface Wanted {
  /** What it is, for people. */
  readonly what: string;
  /** The figure. */
  readonly limit: number;
  /** Whether more is better, or less. */
  readonly better: "more" | "less";
  /** As in `TFLOP/s`; `x` for how many times faster, `%` for shares of 100. */
  readonly unit: "x" | "%" | "TFLOP/s" | "";
  /** On which adapters it is wanted. */
  readonly applies: (adapter: AdapterSummary) => boolean;
  /** What a run reached; undefined if it did not measure that. */
  readonly measured: (results: Results) => number | undefined;
}

/** A wanted figure beside what was reached. */
export interface Verdict {
  readonly what: string;
  readonly measured: number | null;
  readonly limit: number;
  readonly better: "more" | "less";
  readonly unit: Wanted["unit"];
  readonly verdict: "ok" | "missed" | "not measured";
}

const isNvidia = ({ vendor }: AdapterSummary) => vendor === "NVIDIA";
const isLavapipe = ({ name }: AdapterSummary) => name.startsWith("llvmpipe");
const always = () => true;

/** f32, one sequence, no mask, unless told otherwise. */
function find(results: Results, wanted: Partial<Case>): Row | undefined {
  const all: Partial<Case> = { dtype: "f32", variant: "none", B: 1, K: 64, ...wanted };
  const entries = Object.entries(all) as [keyof Case, unknown][];
  return results.rows.find((row) => entries.every(([name, value]) => row.case[name] === value));
}

/** Self-attention over N tokens with 8 heads, which the peers compute too. */
function against(N: number, pass: Case["pass"]): Partial<Case> {
  return { Mq: N, Mkv: N, H: 8, pass };
}

/** How many times faster than the fastest peer, by wall time with read-back. */
function timesFaster(N: number, pass: Case["pass"]): Wanted["measured"] {
  return (results) => {
    const row = find(results, against(N, pass));
    const [ours, peer] = [timedOutcome(row, OURS), bestPeer(row, OURS)];
    return ours && peer && peer.wallMs! / ours.wallMs!;
  };
}

/** TFLOP/s on the GPU, 16 heads over 4,096 tokens. */
function rate(wanted: Partial<Case>): Wanted["measured"] {
  return (results) =>
    timedOutcome(find(results, { Mq: 4096, Mkv: 4096, H: 16, ...wanted }), OURS)?.tflops;
}

/** Peak memory as a percentage of a peer's. */
function memoryShare(peer: string): Wanted["measured"] {
  return (results) => {
    const row = find(results, against(4096, "forward"));
    const peak = (name: string) =>
      row?.outcomes.find(({ contender }) => contender === name)?.peakBytes;
    const [ours, theirs] = [peak(OURS), peak(peer)];
    return ours && theirs && 100 * ours / theirs;
  };
}

function shareOfCeiling({ rows, ceilings, ...rest }: Results): number | undefined {
  const row = find({ rows, ceilings, ...rest }, against(2048, "forward"));
  const tflops = timedOutcome(row, OURS)?.tflops;
  return tflops && ceilings ? 100 * tflops / ceilings.f32.rate : undefined;
}

function causalShare(heads: number): Wanted["measured"] {
  return (results) => {
    const time = (variant: Case["variant"]) => {
      const wanted = { ...against(4096, "forward"), H: heads, variant };
      const found = timedOutcome(find(results, wanted), OURS);
      return found?.gpuMs ?? found?.wallMs;
    };
    const [causal, full] = [time("causal"), time("none")];
    return causal && full && causal / full;
  };
}

function faster(
  what: string,
  limit: number,
  applies: Wanted["applies"],
  measured: Wanted["measured"],
): Wanted {
  return {
    what: `${what}, wall, against the best peer`,
    limit,
    better: "more",
    unit: "x",
    applies,
    measured,
  };
}

function tflops(what: string, limit: number, wanted: Partial<Case>): Wanted {
  const [better, unit] = ["more", "TFLOP/s"] as const;
  return { what, limit, better, unit, applies: isNvidia, measured: rate(wanted) };
}

/** All wanted figures. */
export const WANTED: readonly Wanted[] = [
  faster("N 256 forward", 5, always, timesFaster(256, "forward")),
  faster("N 2048 forward", 3, isLavapipe, timesFaster(2048, "forward")),
  faster("N 2048 training", 2, isLavapipe, timesFaster(2048, "training")),
  {
    what: "N 2048 forward, of the FMA ceiling",
    ...{ limit: 40, better: "more", unit: "%", applies: isLavapipe, measured: shareOfCeiling },
  },
  faster("N 2048 forward", 10, isNvidia, timesFaster(2048, "forward")),
  faster("N 4096 forward", 20, isNvidia, timesFaster(4096, "forward")),
  ...["jax-js", "tfjs"].map((peer): Wanted => ({
    what: `N 4096 forward, peak memory, of ${peer}'s`,
    ...{ limit: 3, better: "less", unit: "%", applies: always, measured: memoryShare(peer) },
  })),
  ...[8, 16].map((heads): Wanted => ({
    what: `H${heads} N 4096 forward, causal time over full time`,
    ...{ limit: 0.6, better: "less", unit: "", measured: causalShare(heads) },
    applies: heads === 8 ? always : isNvidia,
  })),
  tflops("H16 N4096 K64 f32 forward", 38, { pass: "forward" }),
  tflops("H16 N4096 K128 f32 forward", 36, { pass: "forward", K: 128 }),
  tflops("H16 N4096 K64 f32 training", 26, { pass: "training" }),
  tflops("H16 N4096 K64 f16 forward", 45, { pass: "forward", dtype: "f16" }),
  tflops("H16 N4096 K64 f16 forward, products in f16", 45, {
    ...{ pass: "forward", dtype: "f16", variant: "half products" },
  }),
];

/** Every figure that is wanted on a run's adapter, and whether it is reached. */
export function verdicts(results: Results): Verdict[] {
  return WANTED.filter(({ applies }) => applies(results.adapter)).map((wanted) => {
    const { what, limit, better, unit } = wanted;
    const measured = wanted.measured(results) ?? null;
    const isReached = measured !== null &&
      (better === "more" ? measured >= limit : measured <= limit);
    const verdict = measured === null ? "not measured" : isReached ? "ok" : "missed";
    return { what, measured, limit, better, unit, verdict };
  });
}
