/**
 * Choice by measurement. Which form of a kernel is the fastest follows from no rule: what wins on one GPU
 * loses on the next. So where there are several, all of them right, they are timed once for each class of
 * problems, at its first use, and the fastest is kept: for the life of the device, and in a file for the
 * next. A choice never changes while a device lives, so that equal calls give equal bits.
 */
import type { Runtime } from "../runtime/runtime.ts";
import type { TuningFile } from "./file.ts";
import { type CandidateTime, measure } from "./measure.ts";

/** One way to solve a problem. */
export interface Candidate<T> {
  /** Stable and readable, as in `2 lanes x 2 rows, 128 threads, tile 8`; differs from all others' names. */
  readonly name: string;
  /** What the caller needs to run it. */
  readonly value: T;
}

/** A class of problems among whose solutions to choose. */
export interface TuningProblem<T> {
  /**
   * Stable and readable, as in `flash_forward f32 K64 Kv64 causal=no`. Names everything that decides which
   * candidates there are and which of them wins, except the device.
   */
  readonly name: string;
  /** At least one. The first is what this kind of adapter uses where nothing can be measured. */
  readonly candidates: readonly Candidate<T>[];
  /** Prepares a small problem of this class. Called only if there is going to be a measurement. */
  prepare(): PreparedProblem<T>;
}

/** A problem to measure candidates on, with its inputs in memory. */
export interface PreparedProblem<T> {
  /**
   * Enqueues one run, of some 0.02 to 5 ms on the kind of adapter at hand and at most 64 dispatches. Releases what
   * it allocates. It must not need an `await`.
   */
  run(value: T): void;
  /** Releases the inputs. */
  dispose(): void;
}

/** Which candidate was chosen, and why; an entry of `device.tuning()`. */
export interface TuningChoice {
  /** The class of problems. */
  readonly problem: string;
  /** Name of the candidate chosen. */
  readonly choice: string;
  /** Whether it was measured on this device, read from the file of an earlier one, or neither. */
  readonly source: "measured" | "cache" | "default";
  /** Why this one. */
  readonly reason: string;
  /** All candidates in order, the default first, with their times where they were measured. */
  readonly candidates: readonly CandidateTime[];
}

/** How a tuner goes about it. */
export interface TunerSettings {
  /** Where choices are kept beyond the life of the device. */
  readonly file: TuningFile | undefined;
  /** After how many milliseconds to try no further candidate for a problem. */
  readonly budget: number;
}

/** For so many devices, one after the other, a measurement that ran out of time is taken up again. */
const MAX_ATTEMPTS = 3;

/** The choices of one device. */
export class Tuner {
  readonly #runtime: Runtime;
  readonly #choices = new Map<string, TuningChoice>();
  #settings: TunerSettings | undefined;
  #isMeasuring = false;

  /** One per device. It gives defaults until {@linkcode start}. */
  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  /** From now on, problems are looked up and measured. */
  start(settings: TunerSettings): void {
    this.#settings = settings;
  }

  /**
   * The value of the candidate to use. May take a while at the first call for a problem, which is measured then;
   * what that enqueues shows neither in profiles nor in the peak of memory, and its errors reach nobody. While a
   * problem is being measured, every other gets its default.
   */
  choose<T>(problem: TuningProblem<T>): T {
    const { name, candidates } = problem;
    let choice = this.#choices.get(name);
    if (!choice) {
      if (this.#isMeasuring) return candidates[0]!.value;
      choice = this.#decide(problem);
      this.#choices.set(name, choice);
    }
    const { choice: chosen } = choice;
    return (candidates.find((candidate) => candidate.name === chosen) ?? candidates[0]!).value;
  }

  /** All choices made so far, in order. */
  choices(): readonly TuningChoice[] {
    return [...this.#choices.values()];
  }

  #decide<T>(problem: TuningProblem<T>): TuningChoice {
    if (!this.#settings) return byDefault(problem, "tuning is off");
    if (problem.candidates.length === 1) return byDefault(problem, "there is no other candidate");
    const { file, budget } = this.#settings;
    const fingerprint = fingerprintOf(problem);
    const kept = file?.get(problem.name);
    const isValid = kept?.fingerprint === fingerprint &&
      problem.candidates.some(({ name }) => name === kept.choice);
    const attempts = isValid ? kept.attempts : 0;
    if (isValid && (kept.untried === 0 || attempts >= MAX_ATTEMPTS)) {
      return {
        problem: problem.name,
        choice: kept.choice,
        source: "cache",
        reason: `measured earlier, kept in ${file!.path}`,
        candidates: withoutTimes(problem),
      };
    }
    if (!this.#runtime.readback.canReadSync) {
      return byDefault(problem, "this runtime cannot wait for the GPU within a call");
    }
    this.#isMeasuring = true;
    try {
      const { choice, source, reason, candidates, untried } = measure(
        this.#runtime,
        problem,
        budget,
      );
      if (untried !== undefined) {
        file?.put({ problem: problem.name, choice, fingerprint, untried, attempts: attempts + 1 });
      }
      return { problem: problem.name, choice, source, reason, candidates };
    } finally {
      this.#isMeasuring = false;
    }
  }
}

function byDefault<T>(problem: TuningProblem<T>, reason: string): TuningChoice {
  return {
    problem: problem.name,
    choice: problem.candidates[0]!.name,
    source: "default",
    reason,
    candidates: withoutTimes(problem),
  };
}

function withoutTimes<T>({ candidates }: TuningProblem<T>): CandidateTime[] {
  return candidates.map(({ name }) => ({ name, milliseconds: undefined }));
}

/** A number that tells lists of candidates apart: FNV-1a of their names. A choice among others is no choice. */
function fingerprintOf<T>({ candidates }: TuningProblem<T>): number {
  let hash = 0x811c9dc5;
  for (const unit of candidates.map(({ name }) => name).join("\n")) {
    hash = Math.imul(hash ^ unit.codePointAt(0)!, 0x01000193) >>> 0;
  }
  return hash;
}
