/** One seed becomes many: for layers that draw new random numbers at every call, yet reproducibly. */
import { drawSeed } from "./journal.ts";
import { freshSeed, philox, seedKey } from "./philox.ts";

/** Sets the counters of seeds apart from those of numbers and of dropout, whose last words are 0 and 1. */
const SEED_STREAM = 2;

/** A stream of seeds that follows from one seed by Philox. */
export class SeedSequence {
  readonly #key: [number, number];
  #drawn = 0;

  /**
   * @param seed A whole number below 2^53; default one that nobody chose.
   * @throws {RangeError} For any other number.
   */
  constructor(seed: number = freshSeed()) {
    this.#key = seedKey(seed);
  }

  /** The next seed: a whole number from 0 to 2^53 - 1. */
  next(): number {
    return drawSeed(() => {
      const drawn = this.#drawn++;
      const counter = [drawn >>> 0, Math.floor(drawn / 2 ** 32), 0, SEED_STREAM] as const;
      const [low, high] = philox([...counter], this.#key);
      return low + (high & 0x1fffff) * 2 ** 32;
    });
  }
}
