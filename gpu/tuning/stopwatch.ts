/** Times work on the GPU within a call, apart from what else goes on on the device. */
import { withRecording } from "../autograd/mode.ts";
import { tidyApart } from "../lifetime.ts";
import { Profiler } from "../runtime/profiler.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** How long to wait for the GPU before giving up, in milliseconds. */
const PATIENCE = 20_000;

/** The GPU did not get done in time. */
export class OutOfPatience extends Error {
  /** Says for how long it was waited. */
  constructor() {
    super(`the GPU was busy for over ${PATIENCE / 1000} s`);
  }
}

/** Tells time by timestamps where there are any, else by the clock on the wall. */
export class Stopwatch {
  /** How long a sample should be, in milliseconds, to be told from noise. */
  readonly sample: number;
  readonly #runtime: Runtime;
  readonly #profiler: Profiler;

  /**
   * @param runtime Where the work is done; it must be able to wait within a call.
   * @param profiler The one that dispatches are timed by now.
   */
  constructor(runtime: Runtime, profiler: Profiler) {
    this.#runtime = runtime;
    this.#profiler = profiler;
    this.sample = profiler.available ? 0.5 : 3;
  }

  /**
   * Milliseconds that the work takes which a function enqueues. The GPU must have nothing else to do.
   *
   * @throws {Error} If the function throws, or the GPU refuses some of the work.
   */
  time(fn: () => void): number {
    if (!this.#profiler.available) {
      const start = performance.now();
      fn();
      waitFor(this.#runtime);
      return performance.now() - start;
    }
    this.#profiler.start();
    // Work that is refused writes no timestamps, and a driver may wait for these without end.
    const outcome = attempt(this.#runtime, fn);
    if ("failure" in outcome) {
      this.#profiler.cancel();
      throw new Error(outcome.failure);
    }
    const kernels = this.#profiler.stopSync((source, bytes) =>
      this.#runtime.readback.readSync(source, bytes, PATIENCE)
    );
    if (!kernels) throw new OutOfPatience();
    return kernels.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  }
}

/** Waits until the GPU has nothing to do; throws {@linkcode OutOfPatience}. */
export function waitFor(runtime: Runtime): void {
  if (!runtime.waitSync(PATIENCE)) throw new OutOfPatience();
}

/** Runs a function apart from memory's peak, the profile under way, autograd and scopes of tensors. */
export function apart<T>(runtime: Runtime, fn: (stopwatch: Stopwatch) => T): T {
  const profiler = new Profiler(runtime.gpu, runtime.memory);
  const run = () => tidyApart(() => fn(new Stopwatch(runtime, profiler)));
  try {
    return runtime.memory.apart(() =>
      runtime.profiler.replacedBy(profiler, () => withRecording(false, run))
    );
  } finally {
    profiler.dispose();
  }
}

/**
 * Runs a function apart from the device's errors.
 *
 * @returns Its result, or what went wrong: what it threw, or what the GPU says of what it enqueued.
 * @throws {OutOfPatience} As the function does.
 */
export function attempt<T>(
  runtime: Runtime,
  fn: () => T,
): { readonly result: T } | { readonly failure: string } {
  const { result: outcome, scopes } = runtime.faults.apart(() => {
    try {
      return { result: fn() };
    } catch (error) {
      if (error instanceof OutOfPatience) throw error;
      return { failure: error instanceof Error ? error.message : `${error}` };
    }
  });
  const refused = scopes.map(errorIn).find((text) => text !== undefined);
  if (refused === undefined && "result" in outcome) return outcome;
  // If memory ran out, nobody knows which of the buffers is of no use; all that were made here are made again.
  runtime.memory.distrust();
  runtime.kernels.emptyCache();
  runtime.commands.emptyCache();
  return "failure" in outcome ? outcome : { failure: `${refused}` };
}

/**
 * What an error scope caught, without awaiting its promise, which Deno resolves at once. JavaScript cannot look
 * into a promise, but `Deno.inspect` shows what is in it. Anything but a clear "nothing" counts as an error.
 */
function errorIn(scope: Promise<GPUError | null>): string | undefined {
  const { Deno } = globalThis as { Deno?: { inspect(value: unknown): string } };
  const shown = Deno?.inspect(scope) ?? "the outcome is not known";
  if (shown === "Promise { null }") return undefined;
  return shown.replaceAll(/\s+/g, " ").replace(/^Promise \{ (.*) \}$/, "$1").slice(0, 300);
}
