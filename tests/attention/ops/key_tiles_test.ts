/** Tiles of key-major kernels, against what masks materialize to. */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { AttentionInputs } from "../../../attention/inputs.ts";
import { keyTilesOf } from "../../../attention/ops/key_tiles.ts";
import { visibleQueries } from "../../../attention/masks/window.ts";
import { MASK_CASES, type MaskCase } from "../_mask_cases.ts";
import { placesOf } from "../_places.ts";

const packed: [string, readonly MaskCase[]][] = [...MASK_CASES].map((
  [name, cases],
): [string, readonly MaskCase[]] => [name, cases.filter(({ mask }) => mask.blocks !== undefined)])
  .filter(([, cases]) => cases.length > 0);

const tilesOf = ({ mask, Mkv }: MaskCase, blockRows: number) =>
  keyTilesOf({ mask, sizes: { Mkv } } as unknown as AttentionInputs, blockRows);

it("there are masks of blocks to test", () => assertGreater(packed.length, 10));

describe("keyTilesOf()", () => {
  for (const [name, cases] of packed) {
    for (const blockRows of [1, 3, 32]) {
      it(`has every row of ${name} in one tile of at most ${blockRows}`, () => {
        for (const testCase of cases) {
          const rows = tilesOf(testCase, blockRows).flatMap(({ batch, firstRow, endRow }) => {
            assertEquals(batch, 0);
            assert(firstRow < endRow && endRow <= firstRow + blockRows);
            return Array.from({ length: endRow - firstRow }, (_, r) => firstRow + r);
          });
          assertEquals(
            rows.toSorted((a, b) => a - b),
            Array.from({ length: testCase.Mkv }, (_, row) => row),
          );
        }
      });

      it(`names once, in tiles of ${blockRows}, each query that sees a row of ${name}`, () => {
        for (const testCase of cases) assertNamesEachPair(testCase, blockRows);
      });
    }
  }

  it("puts the tiles with the most work first", () => {
    for (const testCase of packed.flatMap(([, cases]) => cases)) {
      const work = tilesOf(testCase, 1).map((tile) => seenBy(testCase, tile, tile.firstRow).length);
      assertEquals(work, work.toSorted((a, b) => b - a));
    }
  });
});

/** Queries that see a row by a tile's entries, and as which key of which block. */
function seenBy(
  { mask }: MaskCase,
  { entries }: ReturnType<typeof tilesOf>[number],
  row: number,
): { i: number; block: number; key: number }[] {
  return entries.flatMap(({ block, queryBegin, queries, keys, shift }) => {
    const key = row + shift;
    const [begin, end] = visibleQueries(mask.window, key, queries, keys);
    return Array.from(
      { length: end - begin },
      (_, n) => ({ i: queryBegin + begin + n, block, key }),
    );
  });
}

function assertNamesEachPair(testCase: MaskCase, blockRows: number): void {
  const { mask, Mq, Mkv } = testCase;
  const matrix = mask.materialize([Mq, Mkv]);
  const placeOf = placesOf(mask, Mq, Mkv);
  for (const tile of tilesOf(testCase, blockRows)) {
    for (let row = tile.firstRow; row < tile.endRow; row++) {
      const expected = Array.from({ length: Mq }, (_, i) => i)
        .filter((i) => matrix[i * Mkv + row] === 0)
        .map((i) => {
          const { block, key } = placeOf(0, i, row);
          return { i, block, key };
        });
      const found = seenBy(testCase, tile, row).toSorted((a, b) => a.i - b.i);
      assertEquals(found, expected, `row ${row}`);
    }
  }
}
