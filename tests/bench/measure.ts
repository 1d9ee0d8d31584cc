/** Measures one case: every contender is checked, then timed in turns with the others. */
import type { Device } from "@denoformers/attention";
import type { ChosenCase } from "./case_choice.ts";
import type { Case } from "./cases.ts";
import { type Contender, type Prepared, UnsupportedError } from "./contender.ts";
import type { MemoryWatch } from "./memory_watch.ts";
import { OurCase, OURS } from "./ours.ts";
import type { Outcome, Row } from "./results.ts";
import { errorOf, type KnownRow, knownRows, TOLERANCE } from "./verify.ts";

/** What a case is measured with. */
export interface Bench {
  /** This package's device. */
  readonly device: Device;
  /** The others. */
  readonly peers: readonly Contender[];
  /** Counts everyone's memory. */
  readonly watch: MemoryWatch;
  /** Whether fewer calls are to do. */
  readonly quick: boolean;
}

/** Turns in which every contender has a call with read-back, and how long all may take together, in ms. */
const TURNS = { min: 3, max: 15, quickMax: 7, budget: { cpu: 20_000, gpu: 3000 } };

/** Results of more elements are not read back whole: it would take seconds and gigabytes. */
const MAX_READ_ELEMENTS = 2 ** 26;

/** How long a profile should be on a GPU, in ms, and how many calls it has at most. */
const PROFILE = { milliseconds: { cpu: 20, gpu: 80 }, maxCalls: 200 };

/** Who gave right results in a case, and the times of the calls with read-back. */
interface Entry {
  readonly name: string;
  readonly prepared: Prepared;
  readonly error: number;
  readonly times: number[];
}

/** Measures a case with all that take part in it. */
export async function measureCase(bench: Bench, what: ChosenCase): Promise<Row> {
  const { device, peers, watch } = bench;
  await device.sync().catch(() => {}); // What went wrong in an earlier case was told there.
  using ours = new OurCase(device, what);
  device.emptyCache();
  const { flops } = ours;
  const row = {
    case: what,
    flops: what.pass === "forward" ? flops.forward : flops.forward + flops.backward,
    inputBytes: inputBytes(what),
  };
  const entries: Entry[] = [];
  const failures: Outcome[] = [];
  try {
    const known = await knownRows(what, ours, what.set === "check");
    await enter(bench, entries, failures, { name: OURS, what, known }, () => ours);
    if (what.peers && peers.length > 0) {
      const inputs = await ours.hostInputs();
      for (const peer of peers) {
        watch.owner = peer.name;
        const { name } = peer;
        await enter(
          bench,
          entries,
          failures,
          { name, what, known },
          () => peer.prepare(what, inputs),
        );
      }
    }
    const gpuTimes = await timeInTurns(bench, entries, { what, ours });
    const gpuMs = median(gpuTimes);
    const status = known.length > 0 ? "right" : "unchecked";
    const outcomes = entries.map(({ name, error, times }) => ({
      ...{ contender: name, status, error, peakBytes: watch.peakBytes(name) } as const,
      ...timesOf(row.flops, median(times), name === OURS ? gpuMs : undefined),
    }));
    return { ...row, outcomes: inOrder(bench, [...outcomes, ...failures]) };
  } finally {
    for (const { name, prepared } of entries) if (name !== OURS) await prepared.dispose();
  }
}

/** Checks a contender's results; who gives right ones is entered, whoever does not is among the failures. */
async function enter(
  { watch }: Bench,
  entries: Entry[],
  failures: Outcome[],
  { name, what, known }: { name: string; what: Case; known: readonly KnownRow[] },
  prepare: () => Promise<Prepared> | Prepared,
): Promise<void> {
  let prepared: Prepared | undefined;
  try {
    prepared = await prepare();
    const error = await errorOf(known, await prepared.results());
    watch.resetPeak(name); // What it took to make the inputs and to begin is left out, the inputs are not.
    if (isReadWhole(what)) await prepared.run(); // Memory is measured with results being read.
    if (error <= TOLERANCE[what.dtype]) {
      entries.push({ name, prepared, error, times: [] });
      return;
    }
    failures.push({
      ...{ contender: name, status: "wrong", error, peakBytes: watch.peakBytes(name) },
      reason: watch.error(name) ?? `an error of ${error.toPrecision(2)}, and no message`,
    });
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const status = error instanceof UnsupportedError ? "unsupported" : "failed";
    failures.push({ contender: name, status, reason: error.message.split("\n", 1)[0]! });
  }
  if (name !== OURS) await prepared?.dispose();
}

/**
 * Times calls with read-back, and profiles of ours, each contender in turn, so that a busy machine is as busy
 * for all.
 *
 * @returns Times of one call of ours on the GPU, in ms; none where the adapter has no timestamps.
 */
async function timeInTurns(
  { device, quick }: Bench,
  entries: readonly Entry[],
  { what, ours }: { readonly what: Case; readonly ours: OurCase },
): Promise<number[]> {
  const gpuTimes: number[] = [];
  const { isFallback, timestamps } = device.info;
  const budget = TURNS.budget[isFallback ? "cpu" : "gpu"] * (quick ? 0.5 : 1);
  const isProfiled = timestamps && entries[0]?.name === OURS;
  const calls = isProfiled ? await callsOfProfile(device, ours) : 0;
  const begin = performance.now();
  for (let turn = 0; turn < (quick ? TURNS.quickMax : TURNS.max); turn++) {
    if (turn >= TURNS.min && performance.now() - begin > budget) break;
    for (const { prepared, times } of isReadWhole(what) ? entries : []) {
      const start = performance.now();
      await prepared.run();
      times.push(performance.now() - start);
    }
    if (!isProfiled) continue;
    if (!isFallback) await profiled(device, ours, calls); // The clocks of a GPU fall while it waits.
    gpuTimes.push(await profiled(device, ours, calls));
  }
  return gpuTimes;
}

/** Calls that take long enough together on a GPU for its clocks to stay up. */
async function callsOfProfile(device: Device, ours: OurCase): Promise<number> {
  await profiled(device, ours, 1);
  const once = await profiled(device, ours, 1);
  const wanted = PROFILE.milliseconds[device.info.isFallback ? "cpu" : "gpu"];
  return Math.min(PROFILE.maxCalls, Math.max(1, Math.ceil(wanted / once)));
}

/** Time of a call's kernels on the GPU, in ms: the mean of several calls one behind the other. */
async function profiled(device: Device, ours: OurCase, calls: number): Promise<number> {
  const { milliseconds } = await device.profile(() => {
    for (let call = 0; call < calls; call++) ours.enqueue();
  });
  return milliseconds / calls;
}

/** This package's outcome first, then the peers' as they were loaded. */
function inOrder({ peers }: Bench, outcomes: readonly Outcome[]): Outcome[] {
  const names = [OURS, ...peers.map(({ name }) => name)];
  return outcomes.toSorted((a, b) => names.indexOf(a.contender) - names.indexOf(b.contender));
}

function timesOf(
  flops: number,
  wallMs: number | undefined,
  gpuMs: number | undefined,
): Pick<Outcome, "wallMs" | "gpuMs" | "tflops"> {
  const time = gpuMs ?? wallMs;
  return {
    ...(wallMs !== undefined && { wallMs }),
    ...(gpuMs !== undefined && { gpuMs }),
    ...(time !== undefined && { tflops: flops / time / 1e9 }),
  };
}

function isReadWhole({ B, Mq, H, K, pass }: Case): boolean {
  return B * Mq * H * K * (pass === "forward" ? 1 : 3) <= MAX_READ_ELEMENTS;
}

function inputBytes({ B, Mq, Mkv, H, Hkv, K, dtype }: Case): number {
  return B * (Mq * H + 2 * Mkv * Hkv) * K * (dtype === "f32" ? 4 : 2);
}

/** The middle one, or the mean of the two in the middle. */
export function median(values: readonly number[]): number | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
