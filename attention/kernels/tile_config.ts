/** How the kernels split their work, by head dims and subgroup size. Pure. */
import type { Tiles } from "./_kernel.ts";
import { splitForwardWorkgroupBytes } from "./split_forward.ts";

/** Largest K and Kv of the kernels: beyond, a row no longer fits the registers of the threads that share it. */
export function largestHeadDim(subgroupSize: number): number {
  return subgroupSize < 4 ? 256 : 512;
}

/**
 * The choice for {@linkcode flashForwardKernel} where nothing was measured on the adapter itself. GPUs with
 * wide subgroups do best with few rows a thread, in registers; CPU drivers, whose subgroups are 4 or 8 wide
 * and whose workgroup memory is slow, with many. More rows than that make their compilers take seconds
 * longer. A thread's rows times tiles of four keys are at most 8: dropout wants their 4-bit masks in a word.
 */
export function chooseTiles(headDim: number, valueDim: number, subgroupSize: number): Tiles {
  const dim = Math.max(headDim, valueDim);
  if (subgroupSize < 4) return { lanes: 1, rows: 1, threads: 128, tile: dim <= 128 ? 8 : 4 };
  if (subgroupSize < 16) {
    const lanes = Math.min(8, subgroupSize);
    const vecs = Math.max(1, dim / 4 / lanes);
    const rows = vecs <= 2 ? 8 : vecs <= 4 ? 4 : dim <= 256 ? 2 : 1;
    return { lanes, rows, threads: 64, tile: 4 };
  }
  if (dim <= 128) return { lanes: 2, rows: 2, threads: 128, tile: 8 };
  return { lanes: dim <= 256 ? 8 : 16, rows: 4, threads: 128, tile: 4 };
}

/**
 * The choice for the backward kernels, query-major and key-major, whose threads hold three and four times as
 * much of a row as it has elements a lane: more lanes, fewer rows than forward. Key-major kernels with dropout
 * take at most four rows, whose random bits fit a word.
 */
export function chooseBackwardTiles(
  headDim: number,
  valueDim: number,
  subgroupSize: number,
  hasDropout: boolean,
): Readonly<Record<"query" | "key", Tiles>> {
  const dim = Math.max(headDim, valueDim);
  if (subgroupSize < 4) {
    const tiles = { lanes: 1, rows: 1, threads: 64, tile: 4 };
    return { query: tiles, key: tiles };
  }
  if (subgroupSize < 16) {
    const lanes = Math.min(8, subgroupSize);
    const vecs = Math.ceil(Math.max(1, dim / 4 / lanes));
    // Eight rows are half as fast again as four, but take their compilers nearly twice as long.
    const rows = vecs === 1 ? 4 : vecs === 2 ? 8 : vecs <= 4 ? 4 : vecs <= 8 ? 2 : 1;
    const tiles = { lanes, rows, threads: 64, tile: 4 };
    return { query: tiles, key: { ...tiles, rows: hasDropout ? Math.min(4, rows) : rows } };
  }
  if (dim <= 64) {
    return {
      query: { lanes: 2, rows: 2, threads: 128, tile: 8 },
      key: { lanes: 2, rows: 1, threads: 64, tile: 8 },
    };
  }
  if (dim <= 128) {
    return {
      query: { lanes: 4, rows: 2, threads: 128, tile: 8 },
      key: { lanes: 8, rows: 2, threads: 128, tile: 8 },
    };
  }
  const rows = dim <= 256 ? 2 : 1;
  return {
    query: { lanes: dim <= 256 ? 8 : 16, rows, threads: 128, tile: 4 },
    key: { lanes: 16, rows, threads: 128, tile: 4 },
  };
}

/**
 * The choice for {@linkcode splitForwardKernel}: as many lanes as a row of keys has vec4s, up to 16, so that
 * neighbouring threads read neighbouring memory; up to four rows at once, more do not fit the registers.
 *
 * @param rows Rows that share a key head.
 */
export function chooseSplitTiles(
  headDim: number,
  valueDim: number,
  subgroupSize: number,
  rows: number,
): Tiles {
  const vecs = Math.ceil(Math.max(headDim, valueDim, 1) / 4);
  const lanes = subgroupSize < 4 ? 1 : powerOfTwo(Math.min(vecs, subgroupSize, 16));
  const vecsPerLane = Math.ceil(vecs / lanes);
  const room = Math.max(1, Math.min(4, Math.floor(16 / vecsPerLane)));
  const tiles = {
    lanes,
    rows: Math.min(powerOfTwo(2 * rows - 1), powerOfTwo(room)),
    threads: lanes === 1 ? 32 : subgroupSize < 16 ? 64 : 128,
    tile: 4,
  };
  while (splitForwardWorkgroupBytes({ ...tiles, headDim, valueDim }) > WORKGROUP_BYTES) {
    tiles.threads /= 2;
  }
  return tiles;
}

/** Workgroup memory that every device has. */
const WORKGROUP_BYTES = 16_384;

/** The greatest power of two that is not above a number >= 1. */
function powerOfTwo(value: number): number {
  return 2 ** Math.floor(Math.log2(value));
}

/** Workgroups that keep a device busy: several for each core of a CPU, or multiprocessor of a large GPU. */
const BUSY = { cpu: 16, gpu: 1024 };

/** More parts than this take longer to merge than they save. */
const MOST_PARTS = 128;

/** Below this, what a part costs besides its keys outweighs what it saves. */
const LEAST_KEYS_OF_A_PART = 256;

/**
 * Into how many parts to cut the keys.
 *
 * @param jobs Workgroups that there would be otherwise.
 * @param keys The most keys that a row sees.
 * @param isCpu Whether the adapter computes on the CPU.
 */
export function chooseSplits(jobs: number, keys: number, isCpu: boolean): number {
  const wanted = Math.ceil((isCpu ? BUSY.cpu : BUSY.gpu) / Math.max(1, jobs));
  return Math.max(1, Math.min(wanted, MOST_PARTS, Math.floor(keys / LEAST_KEYS_OF_A_PART)));
}
