/** Masks over runs of keys: xformers' values, and what they say of wrong runs. */
import {
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask,
  BlockDiagonalLocalAttentionPaddedKeysMask,
} from "@denoformers/attention";
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertMatchesGolden, goldenCases, makeGolden, rowsOf } from "./_golden.ts";

for (
  const { name } of [BlockDiagonalGappyKeysMask, BlockDiagonalCausalWithOffsetGappyKeysMask]
) {
  it(`${name} allows what xformers' allows`, () => assertMatchesGolden(name));
}

it("BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask over slots is the padded keys' mask", async () => {
  for (const testCase of goldenCases("BlockDiagonalLocalAttentionPaddedKeysMask")) {
    const padded = await makeGolden(testCase);
    assertInstanceOf(padded, BlockDiagonalLocalAttentionPaddedKeysMask);
    const { qSeqlen, kvPadding, kvSeqlen, window } = padded;
    const starts = [...qSeqlen, 0].map((_, b) => b * kvPadding);
    const mask = BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask.fromSeqlensLocalGappy(
      qSeqlen,
      starts,
      kvSeqlen,
      window.left,
      window.right,
    );
    assertEquals(rowsOf(mask, testCase.shape), [...testCase.rows], JSON.stringify(testCase.made));
  }
});

it("BlockDiagonalGappyKeysMask lets sequences share keys", () => {
  const mask = BlockDiagonalGappyKeysMask.fromSeqlens([1, 2], [0, 1, 5], [3, 4]);
  assertEquals(rowsOf(mask, [3, 5]), ["11100", "01111", "01111"]);
});

describe("BlockDiagonalGappyKeysMask errors", () => {
  it("name an empty list", () => {
    assertThrows(
      () => BlockDiagonalGappyKeysMask.fromSeqlens([], [0], []),
      RangeError,
      "qSeqlen has no entries, expected at least one",
    );
  });

  it("name wrong counts", () => {
    assertThrows(
      () => BlockDiagonalGappyKeysMask.fromSeqlens([1, 1], [0, 4], [2, 2]),
      RangeError,
      "kvSeqstarts has 2 entries, expected 3, the beginning of each sequence's keys and last the total",
    );
    assertThrows(
      () => BlockDiagonalGappyKeysMask.fromSeqlens([1, 1], [0, 4, 8], [2]),
      RangeError,
      "kvSeqlen has 1 entries, expected 2",
    );
  });

  it("name keys behind the total", () => {
    assertThrows(
      () => BlockDiagonalGappyKeysMask.fromSeqlens([1, 1], [0, 4, 8], [2, 5]),
      RangeError,
      "keys 4 to 8 of sequence 1 exceed kvSeqstarts[2] = 8",
    );
  });

  it("name starts and windows that are no whole numbers", () => {
    assertThrows(
      () => BlockDiagonalGappyKeysMask.fromSeqlens([1], [-1, 4], [2]),
      RangeError,
      "kvSeqstarts[0] is -1",
    );
    assertThrows(
      () =>
        BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask.fromSeqlensLocalGappy(
          [1],
          [0, 4],
          [2],
          0,
          -1,
        ),
      RangeError,
      "windowRight is -1",
    );
  });
});

it("BlockDiagonalGappyKeysMask.mismatch() wants B = 1, all queries and the last start", () => {
  const mask = BlockDiagonalGappyKeysMask.fromSeqlens([1, 2], [0, 4, 9], [2, 3]);
  assertEquals(mask.mismatch(1, 3, 9), undefined);
  assertEquals(mask.mismatch(0, 3, 9)?.startsWith("expected B = 1"), true);
  assertEquals(mask.mismatch(1, 2, 9), "expected Mq = 3, the sum of qSeqlen");
  assertEquals(mask.mismatch(1, 3, 5), "expected Mkv = 9, the last of kvSeqstarts");
});
