/** Masks over whole sequences: xformers' values, and what they say of wrong windows. */
import {
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  LowerTriangularMaskWithTensorBias,
} from "@denoformers/attention";
import { assertEquals, assertInstanceOf, assertStrictEquals, assertThrows } from "@std/assert";
import { it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import { assertMatchesGolden, rowsOf } from "./_golden.ts";

for (
  const { name } of [
    LowerTriangularMask,
    LowerTriangularFromBottomRightMask,
    LowerTriangularFromBottomRightLocalAttentionMask,
    LocalAttentionFromBottomRightMask,
  ]
) {
  it(`${name} allows what xformers' allows`, () => assertMatchesGolden(name));
}

it("LowerTriangularMask.addBias() keeps the rule and carries the tensor", async () => {
  using tensor = (await sharedDevice()).tensor([[0, 1], [2, 3]]);
  const mask = new LowerTriangularMask().addBias(tensor);
  assertInstanceOf(mask, LowerTriangularMaskWithTensorBias);
  assertStrictEquals(mask.tensor, tensor);
  assertEquals(rowsOf(mask, [2, 3]), rowsOf(new LowerTriangularMask(), [2, 3]));
});

it("LocalAttentionFromBottomRightMask takes Infinity on both sides", () => {
  const shape = [3, 5] as const;
  const all = ["11111", "11111", "11111"];
  assertEquals(rowsOf(new LocalAttentionFromBottomRightMask(Infinity, Infinity), shape), all);
  assertEquals(
    rowsOf(new LocalAttentionFromBottomRightMask(Infinity, 0), shape),
    rowsOf(new LowerTriangularFromBottomRightMask(), shape),
  );
});

it("LowerTriangularFromBottomRightLocalAttentionMask takes a window of Infinity", () => {
  assertEquals(
    rowsOf(new LowerTriangularFromBottomRightLocalAttentionMask(Infinity), [3, 5]),
    rowsOf(new LowerTriangularFromBottomRightMask(), [3, 5]),
  );
});

it("LowerTriangularFromBottomRightMask hides all keys from early queries if there are fewer keys", () => {
  assertEquals(rowsOf(new LowerTriangularFromBottomRightMask(), [4, 2]), ["00", "00", "10", "11"]);
});

it("LocalAttentionFromBottomRightMask refuses windows that are no whole numbers >= 0", () => {
  assertThrows(
    () => new LocalAttentionFromBottomRightMask(-1, 0),
    RangeError,
    "Cannot make a LocalAttentionFromBottomRightMask: windowLeft is -1, expected a whole number >= 0",
  );
  assertThrows(
    () => new LocalAttentionFromBottomRightMask(0, 1.5),
    RangeError,
    "windowRight is 1.5",
  );
  assertThrows(() => new LocalAttentionFromBottomRightMask(0, NaN), RangeError, "is NaN");
});

it("LowerTriangularFromBottomRightMask.makeLocalAttention() refuses windows below 1", () => {
  for (const windowSize of [0, -2, -Infinity]) {
    assertThrows(
      () => new LowerTriangularFromBottomRightMask().makeLocalAttention(windowSize),
      RangeError,
      `windowSize is ${windowSize}, expected a whole number >= 1 or Infinity`,
    );
  }
});
