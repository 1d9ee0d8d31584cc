/** Masks over paged keys: the unpaged masks' values where the pages are, and wrong page tables. */
import {
  type AttentionBias,
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalLocalAttentionPaddedKeysMask,
  BlockDiagonalPaddedKeysMask,
  PagedBlockDiagonalCausalLocalPaddedKeysMask,
  PagedBlockDiagonalCausalWithOffsetGappyKeysMask,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  PagedBlockDiagonalGappyKeysMask,
  PagedBlockDiagonalPaddedKeysMask,
} from "@denoformers/attention";
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { goldenCases, makeGolden, rowsOf } from "./_golden.ts";

const PAGE = 2;

/** Page tables for sequences with slots of so many pages: every page once, in no order. */
function tablesFor(sequences: number, pagesEach: number): number[][] {
  const count = sequences * pagesEach;
  // 7 i + 3 runs through all residues unless the count has a factor of 7.
  const step = count % 7 === 0 ? 5 : 7;
  return Array.from(
    { length: sequences },
    (_, b) => Array.from({ length: pagesEach }, (_, t) => (step * (b * pagesEach + t) + 3) % count),
  );
}

/**
 * The rows of an unpaged mask, whose sequences have slots of `padding` keys, with every key moved to
 * where the page tables put it.
 */
function moved(rows: readonly string[], padding: number, tables: number[][]): string[] {
  const pagesEach = Math.ceil(padding / PAGE);
  return rows.map((row) => {
    const out = new Array<string>(tables.length * pagesEach * PAGE).fill("0");
    for (const [key, visible] of [...row].entries()) {
      const [b, t] = [Math.floor(key / padding), key % padding];
      out[tables[b]![Math.floor(t / PAGE)]! * PAGE + t % PAGE] = visible;
    }
    return out.join("");
  });
}

/** Compares all golden cases of a class of padded keys with their paged twins. */
async function assertPagedMatchesGolden(
  name: string,
  page: (mask: BlockDiagonalPaddedKeysMask, tables: number[][]) => AttentionBias[],
): Promise<void> {
  for (const testCase of goldenCases(name)) {
    const mask = await makeGolden(testCase);
    assertInstanceOf(mask, BlockDiagonalPaddedKeysMask);
    const pagesEach = Math.ceil(mask.kvPadding / PAGE);
    const tables = tablesFor(mask.qSeqlen.length, pagesEach);
    const expected = moved(testCase.rows, mask.kvPadding, tables);
    const keys = tables.length * pagesEach * PAGE;
    for (const paged of page(mask, tables)) {
      assertEquals(
        rowsOf(paged, [testCase.shape[0], keys]),
        expected,
        `${paged.constructor.name} ${JSON.stringify(testCase.made)}`,
      );
    }
  }
}

for (
  const [unpaged, paged] of [
    [BlockDiagonalPaddedKeysMask, PagedBlockDiagonalPaddedKeysMask],
    [BlockDiagonalCausalWithOffsetPaddedKeysMask, PagedBlockDiagonalCausalWithOffsetPaddedKeysMask],
  ] as const
) {
  it(`${paged.name} allows what xformers' ${unpaged.name} allows, in pages`, () =>
    assertPagedMatchesGolden(unpaged.name, (mask, tables) => [
      paged.fromSeqlens(mask.qSeqlen, mask.kvSeqlen, tables, PAGE),
      mask.makePaged(tables, PAGE, paged),
    ]));
}

it("PagedBlockDiagonalCausalLocalPaddedKeysMask allows what xformers' unpaged mask allows, in pages", () =>
  assertPagedMatchesGolden("BlockDiagonalCausalLocalAttentionPaddedKeysMask", (mask, tables) => [
    PagedBlockDiagonalCausalLocalPaddedKeysMask.fromSeqlensLocal(
      mask.qSeqlen,
      mask.kvSeqlen,
      tables,
      PAGE,
      mask.window.left + 1,
    ),
    mask.makePaged(tables, PAGE, PagedBlockDiagonalCausalLocalPaddedKeysMask),
  ]));

describe("BlockDiagonalGappyKeysMask.makePaged()", () => {
  const padding = 6;
  const args = [[2, 3, 1], [1, 6, 15, 18], [4, 6, 2]] as const;
  const tables = tablesFor(3, padding / PAGE);

  for (
    const [unpaged, paged] of [
      [BlockDiagonalGappyKeysMask, PagedBlockDiagonalGappyKeysMask],
      [BlockDiagonalCausalWithOffsetGappyKeysMask, PagedBlockDiagonalCausalWithOffsetGappyKeysMask],
    ] as const
  ) {
    it(`moves the keys of a ${unpaged.name} to their pages`, () => {
      const mask = unpaged.fromSeqlens(...args);
      const expected = moved(rowsOf(mask, [6, 18]), padding, tables);
      assertEquals(rowsOf(mask.makePaged(tables, PAGE, padding, paged), [6, 18]), expected);
      const direct = paged.fromSeqlens(args[0], [1, 0, 3], args[2], tables, PAGE);
      assertEquals(rowsOf(direct, [6, 18]), expected);
    });
  }

  it("refuses a padding that is no multiple of the page size", () => {
    assertThrows(
      () =>
        BlockDiagonalGappyKeysMask.fromSeqlens(...args)
          .makePaged(tables, 4, 6, PagedBlockDiagonalGappyKeysMask),
      RangeError,
      "notionalPadding is 6, expected a multiple of pageSize = 4",
    );
  });

  it("refuses a sequence that begins before its slot", () => {
    assertThrows(
      () =>
        BlockDiagonalGappyKeysMask.fromSeqlens([1, 1], [0, 2, 8], [2, 2])
          .makePaged([[0], [1]], 4, 4, PagedBlockDiagonalGappyKeysMask),
      RangeError,
      "kvSeqstarts[1] is 2, expected at least 4",
    );
  });
});

it("makePaged() refuses a class of another rule", () => {
  const mask = BlockDiagonalPaddedKeysMask.fromSeqlens([1], 4, [3]);
  assertThrows(
    () => mask.makePaged([[0, 1]], PAGE, PagedBlockDiagonalCausalWithOffsetPaddedKeysMask),
    TypeError,
    "of a BlockDiagonalPaddedKeysMask: it hides other keys",
  );
  assertThrows(
    () => mask.makeLocalAttention(1, 1).makePaged([[0, 1]], PAGE, PagedBlockDiagonalPaddedKeysMask),
    TypeError,
    "of a BlockDiagonalLocalAttentionPaddedKeysMask",
  );
  const causal = BlockDiagonalLocalAttentionPaddedKeysMask.fromSeqlensLocal([1], 4, [3], 1, 0);
  const paged = causal.makePaged([[0, 1]], PAGE, PagedBlockDiagonalCausalLocalPaddedKeysMask);
  assertEquals(rowsOf(paged, [1, 4]), ["0110"]);
});

describe("blockTables", () => {
  it("may share pages, be typed arrays, and hold anything where no key needs it", () => {
    const mask = PagedBlockDiagonalGappyKeysMask.fromSeqlens(
      [1, 1],
      [0, 2],
      [3, 2],
      [BigInt64Array.of(3n, 1n, -1n), [-1, 1, 99]],
      PAGE,
    );
    assertEquals(rowsOf(mask, [2, 8]), ["00100011", "00110000"]);
  });

  it("may be empty for a sequence without keys", () => {
    const mask = PagedBlockDiagonalPaddedKeysMask.fromSeqlens([2], [0], [[]], PAGE);
    assertEquals(rowsOf(mask, [2, 4]), ["0000", "0000"]);
  });

  const make = (tables: readonly number[][], pageSize = PAGE) => () =>
    PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1, 1], [3, 4], tables, pageSize);

  it("must be as many as the sequences", () => {
    assertThrows(make([[0, 1]]), RangeError, "blockTables has 1 entries, expected 2");
    assertThrows(
      make(undefined as unknown as number[][]),
      TypeError,
      "blockTables is undefined, expected an array",
    );
    assertThrows(
      make([[0, 1], 3 as unknown as number[]]),
      TypeError,
      "blockTables[1] is 3, expected an array",
    );
  });

  it("must be long enough", () => {
    assertThrows(
      make([[0, 1], [2]]),
      RangeError,
      "blockTables[1] has 1 pages of 2 keys, expected at least 2 for keys 0 to 3",
    );
  });

  it("must hold whole numbers, each once in a sequence", () => {
    assertThrows(make([[0, -1], [2, 3]]), RangeError, "blockTables[0][1] is -1");
    const big = [0n, -1n] as unknown as number[];
    assertThrows(make([big, [2, 3]]), RangeError, "blockTables[0][1] is -1n");
    assertThrows(make([[0, 1], [2, 2]]), RangeError, "blockTables[1] holds page 2 twice");
  });

  it("must have pages of at least one key", () => {
    assertThrows(
      make([[0, 1], [2, 3]], 0),
      RangeError,
      "pageSize is 0, expected a whole number >= 1",
    );
  });
});

it("PagedBlockDiagonalPaddedKeysMask.mismatch() wants B = 1, all queries and every page", () => {
  const mask = PagedBlockDiagonalPaddedKeysMask.fromSeqlens([1, 2], [3, 1], [[0, 4], [2]], PAGE);
  assertEquals(mask.mismatch(1, 3, 10), undefined);
  assertEquals(mask.mismatch(1, 3, 12), undefined);
  assertEquals(mask.mismatch(3, 3, 10)?.startsWith("expected B = 1"), true);
  assertEquals(mask.mismatch(1, 1, 10), "expected Mq = 3, the sum of qSeqlen");
  assertEquals(mask.mismatch(1, 3, 11), "expected Mkv to be a multiple of the page size 2");
  assertEquals(
    mask.mismatch(1, 3, 8),
    "expected Mkv >= 10, since blockTables[0][1] is page 4 of 2 keys",
  );
});
