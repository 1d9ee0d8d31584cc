/** How the flash kernel splits its work, by head dims and subgroup size. Pure. */
import type { FlashForwardConfig } from "./flash_forward.ts";

/** The part of a configuration that changes speed and not results, beyond rounding. */
export type Tiles = Pick<FlashForwardConfig, "lanes" | "rows" | "threads" | "tile">;

/**
 * The choice where nothing was measured on the adapter itself. GPUs with wide subgroups do best with few
 * rows a thread, in registers; CPU drivers, whose subgroups are 4 or 8 wide and whose workgroup memory
 * is slow, with many. More rows than that make their compilers take seconds longer.
 */
export function chooseTiles(headDim: number, valueDim: number, subgroupSize: number): Tiles {
  const dim = Math.max(headDim, valueDim);
  if (subgroupSize < 4) return { lanes: 1, rows: 1, threads: 128, tile: dim <= 128 ? 8 : 4 };
  if (subgroupSize < 16) {
    const lanes = Math.min(8, subgroupSize);
    const vecs = Math.max(1, dim / 4 / lanes);
    return { lanes, rows: vecs <= 2 ? 8 : vecs <= 4 ? 4 : 2, threads: 64, tile: 4 };
  }
  if (dim <= 128) return { lanes: 2, rows: 2, threads: 128, tile: 8 };
  return { lanes: 8, rows: 4, threads: 128, tile: 4 };
}
