/** What every mask does: materialize, and take a tensor bias. */
import {
  BlockDiagonalMask,
  LowerTriangularMask,
  type MaskWithTensorBias,
} from "@denoformers/attention";
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import { rowsOf } from "./_golden.ts";

const mask = new LowerTriangularMask();
const o = -Infinity;

it("AttentionBias.materialize() gives 0 and -Infinity in row-major order", () => {
  assertEquals([...mask.materialize([2, 3])], [0, o, o, 0, 0, o]);
  assertEquals([...mask.materialize([3, 2])], [0, o, 0, 0, 0, 0]);
});

it("AttentionBias.materialize() repeats over leading axes, and takes sizes of 0", () => {
  assertEquals([...mask.materialize([2, 1, 2, 2])], [0, o, 0, 0, 0, o, 0, 0]);
  assertEquals(mask.materialize([2, 0, 3]).length, 0);
  assertEquals(mask.materialize([2, 3, 0]).length, 0);
  assertEquals(mask.materialize([0, 2, 3]).length, 0);
});

it("AttentionBias.materialize() wants at least two axes, of whole sizes", () => {
  assertThrows(() => mask.materialize([3]), RangeError, "shape is [3], expected [..., Mq, Mkv]");
  assertThrows(() => mask.materialize([3, -1]), RangeError, "has size -1");
});

it("AttentionBias.materialize() of packed sequences wants their totals", () => {
  const packed = BlockDiagonalMask.fromSeqlens([1, 2], [3, 1]);
  assertThrows(
    () => packed.materialize([3, 5]),
    RangeError,
    "Cannot materialize a BlockDiagonalMask: shape is [3, 5], expected Mkv = 4, the sum of kvSeqlen",
  );
});

it("AttentionBias.addBias() keeps window, blocks and mismatch, and takes one tensor", async () => {
  using tensor = (await sharedDevice()).zeros([3, 4]);
  const packed = BlockDiagonalMask.fromSeqlens([1, 2], [3, 1]).makeCausal();
  const both = packed.addBias(tensor) as MaskWithTensorBias;
  assertStrictEquals(both.tensor, tensor);
  assertStrictEquals(both.window, packed.window);
  assertStrictEquals(both.blocks, packed.blocks);
  assertEquals(both.mismatch(2, 3, 4), packed.mismatch(2, 3, 4));
  assertEquals(rowsOf(both, [3, 4]), rowsOf(packed, [3, 4]));
  assertThrows(() => both.addBias(tensor), TypeError, "the mask has one already");
});
