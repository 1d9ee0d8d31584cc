/**
 * Times the candidates of a problem: compiles each by a first run, then runs them in turns, so that what slows
 * the machine for a while slows all alike, and takes the shortest of several times.
 */
import type { Runtime } from "../runtime/runtime.ts";
import { apart, attempt, type Stopwatch, waitFor } from "./stopwatch.ts";
import type { Candidate, PreparedProblem, TuningProblem } from "./tuner.ts";

/** What is known of one candidate. */
export interface CandidateTime {
  /** Its name. */
  readonly name: string;
  /** The shortest time of one run, in milliseconds; `undefined` if it was not measured. */
  readonly milliseconds: number | undefined;
  /** What happened to it: why it was not measured, or not to the end. */
  readonly note?: string;
}

/** What came of a measurement. */
export interface Measurement {
  /** Name of the winner. */
  readonly choice: string;
  /** Whether anything could be compared. */
  readonly source: "measured" | "default";
  /** Why it is the winner. */
  readonly reason: string;
  /** All candidates in order. */
  readonly candidates: readonly CandidateTime[];
  /** How many were not tried for want of time; `undefined` if the measurement was given up. */
  readonly untried: number | undefined;
}

/** A candidate takes the place of the default only if it needs less than this share of its time: clear of noise. */
const WORTHWHILE = 0.97;

/** A candidate this many times slower than the best, twice, is not run again. */
const HOPELESS = 1.5;

/** Rounds through all candidates. From the least on, each is run until its samples add up to this many good ones. */
const LEAST_ROUNDS = 3;
const MOST_ROUNDS = 10;
const ENOUGH_SAMPLES = 10;

/** Runs to a sample at most; with all their dispatches they must fit a profile. */
const MOST_RUNS = 32;

/** What happens to one candidate. */
interface Trial<T> {
  readonly candidate: Candidate<T>;
  state: "untried" | "failed" | "running" | "stopped";
  /** The shortest time of one run, in milliseconds. */
  best: number;
  /** Milliseconds of all runs. */
  total: number;
  note: string | undefined;
}

/**
 * Measures the candidates of a problem. Throws nothing.
 *
 * @param runtime Where; it must be able to wait within a call.
 * @param problem The candidates and what to run them on.
 * @param budget After how many milliseconds to try no further candidate.
 */
export function measure<T>(
  runtime: Runtime,
  problem: TuningProblem<T>,
  budget: number,
): Measurement {
  const trials = problem.candidates.map((candidate): Trial<T> => (
    { candidate, state: "untried", best: Infinity, total: 0, note: undefined }
  ));
  try {
    runtime.faults.assertAlive();
    waitFor(runtime); // What is enqueued already is none of the candidates' time.
    apart(runtime, (stopwatch) => {
      const start = performance.now();
      const remaining = () => budget - (performance.now() - start);
      const held: PreparedProblem<T>[] = [];
      try {
        const outcome = attempt(runtime, () => {
          held.push(problem.prepare());
          waitFor(runtime);
        });
        if ("failure" in outcome) {
          throw new Error(`preparing a measurement failed: ${outcome.failure}`);
        }
        compile(runtime, stopwatch, trials, held[0]!, remaining);
        race(runtime, stopwatch, trials, held[0]!, remaining);
      } finally {
        for (const prepared of held) prepared.dispose();
      }
    });
  } catch (error) {
    const reason = error instanceof Error ? error.message : `${error}`;
    return { ...told(trials, trials[0]!, "default", reason), untried: undefined };
  }
  return verdict(trials);
}

/** A first run of each candidate for which there is time: a device may take seconds to compile one. */
function compile<T>(
  runtime: Runtime,
  stopwatch: Stopwatch,
  trials: readonly Trial<T>[],
  prepared: PreparedProblem<T>,
  remaining: () => number,
): void {
  let longest = 0;
  for (const [i, trial] of trials.entries()) {
    if (i > 0 && remaining() < longest) {
      trial.note = "not tried: the time for this choice was up";
      continue;
    }
    const before = remaining();
    const { compiled } = runtime.kernels;
    const outcome = attempt(
      runtime,
      () => stopwatch.time(() => prepared.run(trial.candidate.value)),
    );
    if ("failure" in outcome) {
      fail(trial, outcome.failure);
      runtime.kernels.forgetSince(compiled);
    } else {
      trial.state = "running";
    }
    longest = Math.max(longest, before - remaining());
  }
}

/** Runs the candidates in turns. */
function race<T>(
  runtime: Runtime,
  stopwatch: Stopwatch,
  trials: readonly Trial<T>[],
  prepared: PreparedProblem<T>,
  remaining: () => number,
): void {
  const running = () => trials.filter(({ state }) => state === "running");
  for (let round = 1; round <= MOST_ROUNDS && running().length > 1; round++) {
    const isEnough = running().every(({ total }) => total > ENOUGH_SAMPLES * stopwatch.sample);
    if (round > 1 && remaining() < 0 || round > LEAST_ROUNDS && isEnough) return;
    for (const trial of running()) {
      const runs = Math.min(MOST_RUNS, Math.max(1, Math.round(stopwatch.sample / trial.best)));
      const outcome = attempt(runtime, () => {
        const time = stopwatch.time(() => {
          for (let run = 0; run < runs; run++) prepared.run(trial.candidate.value);
        });
        if (time <= 0) throw new Error("its runs took no time");
        trial.best = Math.min(trial.best, time / runs);
        trial.total += time;
      });
      if ("failure" in outcome) fail(trial, outcome.failure);
    }
    const best = Math.min(...trials.map((trial) => trial.best));
    for (const trial of running()) {
      if (round === 1 || trial.best <= HOPELESS * best) continue;
      trial.state = "stopped";
      trial.note = `given up in round ${round}`;
    }
  }
}

function fail<T>(trial: Trial<T>, failure: string): void {
  Object.assign(trial, { state: "failed", best: Infinity, note: `failed: ${failure}` });
}

function verdict<T>(trials: readonly Trial<T>[]): Measurement {
  const alive = trials.filter(({ state }) => state === "running" || state === "stopped");
  if (alive.length > 1) {
    const { winner, reason } = judge(trials.map(({ best }) => best));
    return told(trials, trials[winner]!, "measured", reason);
  }
  // One that ran alone was not timed.
  if (alive.length === 0) return told(trials, trials[0]!, "default", "no candidate ran");
  const isOver = trials.some(({ state }) => state === "untried");
  return told(
    trials,
    alive[0]!,
    alive[0] === trials[0] ? "default" : "measured",
    isOver ? "there was no time to try another" : "no other candidate ran",
  );
}

/**
 * Which of several candidates to use.
 *
 * @param times Milliseconds of each, the default first; `Infinity` for those that have none.
 * @returns The winner's index, and why it won.
 */
export function judge(times: readonly number[]): { winner: number; reason: string } {
  const best = Math.min(...times);
  const winner = times.indexOf(best);
  const usual = times[0]!;
  const rank = `fastest of ${times.filter((time) => time < Infinity).length}`;
  if (winner === 0) return { winner, reason: rank };
  if (usual === Infinity) return { winner, reason: `${rank}; the default has no time` };
  if (best < WORTHWHILE * usual) {
    return { winner, reason: `${rank}, ${(usual / best).toFixed(2)} times as fast as the default` };
  }
  return { winner: 0, reason: "the default, hardly slower than the fastest" };
}

function told<T>(
  trials: readonly Trial<T>[],
  winner: Trial<T>,
  source: Measurement["source"],
  reason: string,
): Measurement {
  return {
    choice: winner.candidate.name,
    source,
    reason,
    candidates: trials.map(({ candidate: { name }, best, note }) => ({
      name,
      milliseconds: best < Infinity ? best : undefined,
      ...(note === undefined ? {} : { note }),
    })),
    untried: trials.filter(({ state }) => state === "untried").length,
  };
}
