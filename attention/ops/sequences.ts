/** From a mask to the blocks of queries and keys that kernels work on, and their tiles. */
import type { Tile } from "../kernels/_tiles.ts";
import type { MaskBlock } from "../masks/bias.ts";
import { visibleKeys, type Window } from "../masks/window.ts";
import type { AttentionInputs } from "../inputs.ts";

/** A block of one sequence of the batch. */
export interface Sequence extends MaskBlock {
  /** Index along B. */
  readonly batch: number;
  /** Number of the block: the batch's, or the packed sequence's. */
  readonly block: number;
}

/** The blocks that queries and keys fall into, in the order of their queries. */
export function sequencesOf({ mask, sizes }: AttentionInputs): Sequence[] {
  const { B, Mq, Mkv } = sizes;
  if (mask.blocks) return mask.blocks.map((block, index) => ({ ...block, batch: 0, block: index }));
  const whole = { queryBegin: 0, queries: Mq, keyBegin: 0, keys: Mkv };
  return Array.from({ length: B }, (_, batch) => ({ ...whole, batch, block: batch }));
}

/**
 * Cuts blocks into tiles.
 *
 * @param sequences The blocks.
 * @param blockRows Rows of a tile.
 * @param rowHeads Heads that a tile's rows run through for each query.
 * @param pageOrigins Where each block's page numbers begin in the table.
 */
export function tilesOf(
  sequences: readonly Sequence[],
  blockRows: number,
  rowHeads: number,
  pageOrigins: readonly number[],
): Tile[] {
  const tiles: Tile[] = [];
  for (const { batch, block, queryBegin, queries, keyBegin, keys } of sequences) {
    for (let firstRow = 0; firstRow < queries * rowHeads; firstRow += blockRows) {
      const pages = pageOrigins[block] ?? 0;
      tiles.push({ batch, block, firstRow, queryBegin, queries, keyBegin, keys, pages });
    }
  }
  return tiles;
}

/** Tiles with the most keys first, so that none of these is begun when all others have ended. */
export function heaviestFirst(
  tiles: readonly Tile[],
  window: Window,
  blockRows: number,
  rowHeads: number,
): Tile[] {
  const work = new Map(tiles.map((tile) => {
    const rows = tile.queries * rowHeads;
    const lastRow = Math.min(tile.firstRow + blockRows, rows) - 1;
    const at = (row: number) =>
      visibleKeys(window, Math.floor(row / rowHeads), tile.queries, tile.keys);
    return [tile, at(lastRow)[1] - at(tile.firstRow)[0]];
  }));
  return tiles.toSorted((a, b) => work.get(b)! - work.get(a)!);
}

/** Whether all heads of a group read one head of keys and values. */
export function sharesKeys({ sizes, key, value }: AttentionInputs): boolean {
  return sizes.H > 1 && key.layout.strides[3] === 0 && value.layout.strides[3] === 0;
}
