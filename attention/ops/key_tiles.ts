/** From a mask to the tiles of key-major kernels: which queries may look at which rows of key and value. */
import type { AttentionInputs } from "../inputs.ts";
import type { KeyTile, KeyTileEntry } from "../kernels/_key_tiles.ts";
import { visibleQueries, type Window } from "../masks/window.ts";

/**
 * Cuts the rows of packed keys into tiles, those with the most work first. Every row is in one tile, also if
 * nobody looks at it: its gradient is 0.
 *
 * @param inputs Checked arguments, with a mask of blocks.
 * @param blockRows Rows of a tile.
 */
export function keyTilesOf({ mask, sizes }: AttentionInputs, blockRows: number): KeyTile[] {
  const tiles = cutRows(sizes.Mkv, mask.pages?.size ?? sizes.Mkv, blockRows);
  const numberAt = new Map(tiles.map(({ firstRow }, number) => [firstRow, number]));
  // Tiles begin at multiples of blockRows within a page, which without pages is all of M.
  const page = mask.pages?.size ?? Math.max(1, sizes.Mkv);
  const tileOfRow = (row: number) => {
    const start = Math.floor(row / page) * page;
    return numberAt.get(start + Math.floor((row - start) / blockRows) * blockRows)!;
  };
  for (const [block, { queryBegin, queries, keyBegin, keys }] of mask.blocks!.entries()) {
    if (queries === 0) continue;
    const enter = (firstRow: number, endRow: number, shift: number) => {
      const last = tileOfRow(endRow - 1);
      for (let number = tileOfRow(firstRow); number <= last; number++) {
        tiles[number]!.entries.push({ block, queryBegin, queries, keys, shift });
      }
    };
    for (let at = keyBegin; at < keyBegin + keys;) {
      const logical = mask.pages ? Math.floor(at / page) : 0;
      const end = mask.pages ? Math.min((logical + 1) * page, keyBegin + keys) : keyBegin + keys;
      const physical = mask.pages ? mask.pages.tables[block]![logical]! : 0;
      const offset = (physical - logical) * page; // From a place in the sequence's pages to a row.
      enter(at + offset, end + offset, -offset - keyBegin);
      at = end;
    }
  }
  return heaviestFirst(tiles, mask.window);
}

interface OpenTile extends KeyTile {
  readonly entries: KeyTileEntry[];
}

/** Runs of at most `blockRows` rows, none of which crosses a multiple of `page`. */
function cutRows(rows: number, page: number, blockRows: number): OpenTile[] {
  const tiles: OpenTile[] = [];
  for (let start = 0; start < rows; start += page) {
    const end = Math.min(rows, start + page);
    for (let firstRow = start; firstRow < end; firstRow += blockRows) {
      const endRow = Math.min(end, firstRow + blockRows);
      tiles.push({ batch: 0, firstRow, endRow, entries: [] });
    }
  }
  return tiles;
}

function heaviestFirst(tiles: readonly KeyTile[], window: Window): KeyTile[] {
  const work = new Map(tiles.map((tile) => [
    tile,
    tile.entries.reduce((sum, { queries, keys, shift }) => {
      const first = Math.max(0, tile.firstRow + shift);
      const last = Math.min(keys, tile.endRow + shift) - 1;
      const [begin] = visibleQueries(window, first, queries, keys);
      const [, end] = visibleQueries(window, last, queries, keys);
      return sum + Math.max(0, end - begin);
    }, 0),
  ]));
  return tiles.toSorted((a, b) => work.get(b)! - work.get(a)!);
}
