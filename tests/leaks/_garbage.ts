/** Garbage collection on demand. */
import v8 from "node:v8";
import vm from "node:vm";

v8.setFlagsFromString("--expose-gc");

/** Collects now. What hangs on it, such as the return of a tensor's memory, waits for the event loop's next turn. */
export const collectGarbage: () => void = vm.runInNewContext("gc");

/**
 * Collects until a condition holds.
 *
 * @param isDone Asked after each collection and a turn of the event loop.
 * @param limitMs After how many milliseconds to give up: V8 may take several collections.
 * @returns Whether it holds.
 */
export async function collectUntil(isDone: () => boolean, limitMs = 10_000): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  while (!isDone()) {
    if (performance.now() > deadline) return false;
    collectGarbage();
    await new Promise((done) => setTimeout(done, 1));
  }
  return true;
}
