import { noteSeeds, repeatSeeds } from "../../../gpu/random/journal.ts";
import { freshSeed } from "../../../gpu/random/philox.ts";
import { SeedSequence } from "../../../gpu/random/seeds.ts";
import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("noteSeeds() and repeatSeeds()", () => {
  it("give a function its seeds again, of whatever source, and no stream advances", () => {
    const stream = new SeedSequence(7);
    const expected = new SeedSequence(7);
    const draw = () => [stream.next(), freshSeed(), stream.next()];
    const { result, seeds } = noteSeeds(draw);
    assertEquals(seeds, result);
    assertEquals([result[0], result[2]], [expected.next(), expected.next()]);
    assertEquals(repeatSeeds(seeds, draw), result);
    assertEquals(stream.next(), expected.next());
    assertNotEquals(freshSeed(), freshSeed());
  });

  it("nest: what is noted within a repetition is repeated", () => {
    const stream = new SeedSequence(8);
    const inner = () => noteSeeds(() => stream.next());
    const first = noteSeeds(() => [inner().seeds, stream.next()]);
    const second = repeatSeeds(first.seeds, () => [inner().seeds, stream.next()]);
    assertEquals(second, first.result);
  });

  it("throw for a function that draws more, and end with an error", () => {
    const { seeds } = noteSeeds(() => freshSeed());
    const greedy = () => [freshSeed(), freshSeed()];
    assertThrows(
      () => repeatSeeds(seeds, greedy),
      Error,
      "it draws more random seeds than the 1 of its first run",
    );
    assertNotEquals(freshSeed(), seeds[0]);
  });
});
