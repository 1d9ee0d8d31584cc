/** Masks over padded keys: xformers' values, and what they say of wrong lengths. */
import {
  BlockDiagonalCausalLocalAttentionPaddedKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalLocalAttentionPaddedKeysMask,
  BlockDiagonalPaddedKeysMask,
} from "@denoformers/attention";
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertMatchesGolden, rowsOf } from "./_golden.ts";

for (
  const { name } of [
    BlockDiagonalPaddedKeysMask,
    BlockDiagonalCausalWithOffsetPaddedKeysMask,
    BlockDiagonalLocalAttentionPaddedKeysMask,
    BlockDiagonalCausalLocalAttentionPaddedKeysMask,
  ]
) {
  it(`${name} allows what xformers' allows`, () => assertMatchesGolden(name));
}

it("BlockDiagonalPaddedKeysMask.fromSeqlens() makes the class that it is called on", () => {
  const mask = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([1], 4, [2]);
  assertInstanceOf(mask, BlockDiagonalCausalWithOffsetPaddedKeysMask);
  assertInstanceOf(mask, BlockDiagonalPaddedKeysMask);
});

it("BlockDiagonalLocalAttentionPaddedKeysMask of (Infinity, 0) is causal", () => {
  const args = [[2, 1], 4, [3, 4]] as const;
  assertEquals(
    rowsOf(
      BlockDiagonalLocalAttentionPaddedKeysMask.fromSeqlensLocal(...args, Infinity, 0),
      [3, 8],
    ),
    rowsOf(BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(...args), [3, 8]),
  );
});

it("BlockDiagonalPaddedKeysMask takes typed arrays, and no sequence at all", () => {
  const mask = BlockDiagonalPaddedKeysMask.fromSeqlens(
    Int32Array.of(1, 2),
    4,
    Uint32Array.of(3, 4),
  );
  assertEquals(rowsOf(mask, [3, 8]), ["11100000", "00001111", "00001111"]);
  assertEquals(BlockDiagonalPaddedKeysMask.fromSeqlens([], 4, []).mismatch(1, 0, 0), undefined);
});

describe("BlockDiagonalPaddedKeysMask errors", () => {
  it("name a length above the padding", () => {
    assertThrows(
      () => BlockDiagonalPaddedKeysMask.fromSeqlens([1, 1], 4, [4, 5]),
      RangeError,
      "Cannot make a BlockDiagonalPaddedKeysMask: kvSeqlen[1] is 5, expected at most kvPadding = 4",
    );
  });

  it("name counts that differ", () => {
    assertThrows(
      () => BlockDiagonalPaddedKeysMask.fromSeqlens([1, 1], 4, [4]),
      RangeError,
      "kvSeqlen has 1 entries, expected 2, as many as qSeqlen",
    );
  });

  it("name a padding that is no whole number", () => {
    assertThrows(
      () => BlockDiagonalPaddedKeysMask.fromSeqlens([1], -4, [1]),
      RangeError,
      "kvPadding is -4, expected a whole number >= 0",
    );
  });

  it("name windows that are none", () => {
    const mask = BlockDiagonalPaddedKeysMask.fromSeqlens([1], 4, [4]);
    assertThrows(() => mask.makeLocalAttention(-1, 0), RangeError, "windowLeft is -1");
    assertThrows(() => mask.makeLocalAttention(0, -1), RangeError, "windowRight is -1");
    assertThrows(
      () => BlockDiagonalCausalLocalAttentionPaddedKeysMask.fromSeqlensLocal([1], 4, [4], 0),
      RangeError,
      "windowSize is 0",
    );
  });
});

it("BlockDiagonalPaddedKeysMask.mismatch() wants B = 1, all queries and all slots", () => {
  const mask = BlockDiagonalPaddedKeysMask.fromSeqlens([1, 2], 4, [2, 3]);
  assertEquals(mask.mismatch(1, 3, 8), undefined);
  assertEquals(
    mask.mismatch(2, 3, 8),
    "expected B = 1 for packed sequences, put them one after the other along M",
  );
  assertEquals(mask.mismatch(1, 4, 8), "expected Mq = 3, the sum of qSeqlen");
  assertEquals(mask.mismatch(1, 3, 5), "expected Mkv = 8, 2 slots of kvPadding = 4");
});
