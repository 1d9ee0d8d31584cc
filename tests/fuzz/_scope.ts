/** Which of the things that kernels are compiled for are drawn from at a time. */
import fc from "fast-check";

/**
 * A choice of few among many, drawn once for a batch of cases: compiling takes software drivers longer than the
 * cases themselves, so a batch keeps to some functions, element types and head dims, and the next takes others.
 */
export class Scope {
  #state: number;
  readonly #breadth: number;

  /**
   * @param seed What is chosen follows from it.
   * @param breadth How many of each kind to choose, as a factor: 1 for a handful.
   */
  constructor(seed: number, breadth: number) {
    this.#state = Math.imul(seed | 1, 0x9e3779b1) >>> 0;
    this.#breadth = breadth;
  }

  /** An arbitrary of some of these: `count` of them, times the breadth. */
  some<T>(all: readonly T[], count: number): fc.Arbitrary<T> {
    return fc.constantFrom(...this.pick(all, count));
  }

  /** Some of these, in their order. */
  pick<T>(all: readonly T[], count: number): T[] {
    const wanted = Math.min(all.length, Math.ceil(count * this.#breadth));
    const left = all.map((_, i) => i);
    const chosen = Array.from(
      { length: wanted },
      () => left.splice(this.#below(left.length), 1)[0]!,
    );
    return chosen.sort((a, b) => a - b).map((i) => all[i]!);
  }

  #below(bound: number): number {
    // The upper bits of a linear congruence; the lower ones repeat soon.
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor(this.#state / 2 ** 32 * bound);
  }
}
