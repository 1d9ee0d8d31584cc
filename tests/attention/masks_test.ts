import { LowerTriangularMask } from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { it } from "@std/testing/bdd";

const mask = new LowerTriangularMask();

it("LowerTriangularMask.materialize() aligns at the top left", () => {
  const o = -Infinity;
  assertEquals([...mask.materialize([2, 3])], [0, o, o, 0, 0, o]);
  assertEquals([...mask.materialize([3, 2])], [0, o, 0, 0, 0, 0]);
});

it("LowerTriangularMask.materialize() repeats over leading axes, and takes sizes of 0", () => {
  const o = -Infinity;
  assertEquals([...mask.materialize([2, 1, 2, 2])], [0, o, 0, 0, 0, o, 0, 0]);
  assertEquals(mask.materialize([2, 0, 3]).length, 0);
  assertEquals(mask.materialize([2, 3, 0]).length, 0);
});

it("AttentionBias.materialize() wants at least two axes", () => {
  assertThrows(() => mask.materialize([3]), RangeError, "shape is [3], expected [..., Mq, Mkv]");
});

it("LowerTriangularMask.keyRange() has bounds that never fall", () => {
  let [begin, end] = [0, 0];
  for (let query = 0; query < 9; query++) {
    const range = mask.keyRange(query, 9, 5);
    assertEquals(range[0] >= begin && range[1] >= end && range[1] <= 5, true);
    [begin, end] = range;
  }
});
