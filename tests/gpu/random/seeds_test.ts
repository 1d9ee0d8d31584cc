import { philox, seedKey } from "../../../gpu/random/philox.ts";
import { SeedSequence } from "../../../gpu/random/seeds.ts";
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

function take(seeds: SeedSequence, count: number): number[] {
  return Array.from({ length: count }, () => seeds.next());
}

describe("SeedSequence", () => {
  it("gives the same seeds from the same seed", () => {
    assertEquals(take(new SeedSequence(7), 100), take(new SeedSequence(7), 100));
    assertNotEquals(take(new SeedSequence(7), 3), take(new SeedSequence(8), 3));
    assertNotEquals(take(new SeedSequence(7), 3), take(new SeedSequence(7 + 2 ** 32), 3));
  });

  it("gives 53 bits of a Philox block of its own each time", () => {
    const seeds = take(new SeedSequence(2 ** 53 - 1), 1000);
    const key = seedKey(2 ** 53 - 1);
    for (const [i, seed] of seeds.entries()) {
      const [low, high] = philox([i, 0, 0, 2], key);
      assertEquals(seed, low + (high % 2 ** 21) * 2 ** 32);
      seedKey(seed); // Throws if it were no seed.
    }
    assertEquals(new Set(seeds).size, 1000);
    assert(seeds.some((seed) => seed >= 2 ** 52));
  });

  it("starts from a seed that nobody chose unless given one", () => {
    assertNotEquals(new SeedSequence().next(), new SeedSequence().next());
  });

  it("throws RangeError for what is no seed", () => {
    for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
      assertThrows(() => new SeedSequence(seed), RangeError, `Cannot use seed ${seed}`);
    }
  });
});
