/**
 * Random numbers twice: what a function drew when it ran first it gets again when it runs once more, as
 * checkpoints need it. Everything random follows from seeds, so it is enough to note these.
 */

/** Where seeds come from: from their stream, or from what was noted. */
let source = (draw: () => number): number => draw();

/** A seed of a stream, or the one noted in its place; `draw` is called only if it is wanted. */
export function drawSeed(draw: () => number): number {
  return source(draw);
}

/** Runs a function and notes all seeds that it draws. */
export function noteSeeds<T>(fn: () => T): { readonly result: T; readonly seeds: number[] } {
  const outer = source;
  const seeds: number[] = [];
  const result = withSource((draw) => {
    const seed = outer(draw);
    seeds.push(seed);
    return seed;
  }, fn);
  return { result, seeds };
}

/**
 * Runs a function again with the seeds that it drew before; no stream advances.
 *
 * @throws {Error} If it draws more than it did.
 */
export function repeatSeeds<T>(seeds: readonly number[], fn: () => T): T {
  let drawn = 0;
  return withSource(() => {
    const seed = seeds[drawn++];
    if (seed === undefined) {
      throw new Error(
        `Cannot repeat a function: it draws more random seeds than the ${seeds.length} of its first run, ` +
          "so it does not do the same again",
      );
    }
    return seed;
  }, fn);
}

function withSource<T>(next: typeof source, fn: () => T): T {
  const before = source;
  source = next;
  try {
    return fn();
  } finally {
    source = before;
  }
}
