/** How the kernels may split their work, by head dims and subgroup size. Pure. */
import type { Tiles } from "./_kernel.ts";
import { splitForwardWorkgroupBytes } from "./split_forward.ts";

/** Largest K and Kv of the kernels: beyond, a row no longer fits the registers of the threads that share it. */
export function largestHeadDim(subgroupSize: number): number {
  return subgroupSize < 4 ? 256 : 512;
}

/** Tiles by name, as in `4 lanes x 4 rows, 128 threads, 8 of 16 staged`. */
export function describeTiles({ lanes, rows, threads, tile, staged = tile }: Tiles): string {
  return `${lanes} lane${lanes > 1 ? "s" : ""} x ${rows} row${rows > 1 ? "s" : ""}, ` +
    `${threads} threads, ${tile} of ${staged} staged`;
}

/** Subgroups of so many threads or more are those of GPUs; CPU drivers have 4 or 8. */
const WIDE_SUBGROUP = 16;

/**
 * Candidates for {@linkcode flashForwardKernel}, the first for where nothing is measured. What is good:
 *
 * - q and o of a thread, twice rows times head dim by lanes, take at most 128 registers, better 64;
 * - the more rows, the more multiply-adds for each read of workgroup memory; the more lanes, the more shuffles;
 * - loops short enough for the cache of instructions, yet barriers far apart: hence tiles of 8 out of 16 staged.
 *
 * CPU drivers do best with many rows, as reads of workgroup memory are slow there; more than this takes their
 * compilers seconds longer. The rows that a lane owns, times vec4s of a tile, are at most 8: dropout wants their
 * 4-bit masks in a word.
 */
export function forwardTiles(
  headDim: number,
  valueDim: number,
  subgroupSize: number,
): readonly Tiles[] {
  const dim = Math.max(headDim, valueDim);
  if (subgroupSize < 4) return [{ lanes: 1, rows: 1, threads: 128, tile: dim <= 128 ? 8 : 4 }];
  if (subgroupSize < WIDE_SUBGROUP) {
    const lanes = Math.min(8, subgroupSize);
    const vecs = Math.max(1, dim / 4 / lanes);
    const rows = vecs <= 2 ? 8 : vecs <= 4 ? 4 : dim <= 256 ? 2 : 1;
    const usual = { lanes, rows, threads: 64, tile: 4 };
    return vecs <= 2 ? [usual, { ...usual, tile: 8 }] : [usual];
  }
  return apart(
    subgroupSize,
    dim <= 64
      ? [
        { lanes: 4, rows: 4, threads: 128, tile: 8, staged: 32 },
        { lanes: 4, rows: 4, threads: 128, tile: 8, staged: 16 },
        { lanes: 4, rows: 4, threads: 256, tile: 8, staged: 32 },
        { lanes: 8, rows: 4, threads: 128, tile: 16 },
        { lanes: 2, rows: 2, threads: 128, tile: 8 },
        { lanes: 1, rows: 1, threads: 128, tile: 8 },
      ]
      : dim <= 128
      ? [
        { lanes: 8, rows: 4, threads: 128, tile: 8, staged: 16 },
        { lanes: 8, rows: 4, threads: 128, tile: 8, staged: 32 },
        { lanes: 8, rows: 4, threads: 256, tile: 8, staged: 32 },
        { lanes: 16, rows: 8, threads: 128, tile: 8 },
        { lanes: 4, rows: 2, threads: 128, tile: 8 },
      ]
      : dim <= 256
      ? [
        { lanes: 16, rows: 4, threads: 128, tile: 8 },
        { lanes: 16, rows: 8, threads: 128, tile: 4 },
        { lanes: 8, rows: 4, threads: 128, tile: 4 },
      ]
      : [
        { lanes: 16, rows: 4, threads: 128, tile: 4 },
        { lanes: 16, rows: 2, threads: 128, tile: 4 },
      ],
  );
}

/** Candidates for {@linkcode flashForwardKernel} with products in f16, of which longer tiles are summed. */
export function halfForwardTiles(
  headDim: number,
  valueDim: number,
  subgroupSize: number,
): readonly Tiles[] {
  const dim = Math.max(headDim, valueDim);
  if (subgroupSize < WIDE_SUBGROUP || dim > 256) {
    return forwardTiles(headDim, valueDim, subgroupSize).slice(0, 1);
  }
  const lanes = dim <= 64 ? 2 : dim <= 128 ? 4 : 8;
  const tile = dim <= 128 ? 16 : 8;
  return apart(subgroupSize, [
    { lanes, rows: 2, threads: 128, tile },
    { lanes: 2 * lanes, rows: 4, threads: 128, tile },
    { lanes, rows: 2, threads: 128, tile, staged: 2 * tile },
  ]);
}

/**
 * Lanes of all backward kernels on GPUs: scores then have the same bits in each, see `_backward.ts`. With a bias,
 * which adds to what threads hold, fewer rows a thread are faster.
 */
function backwardLanes(dim: number, hasBias: boolean): number {
  return dim <= 32 || (dim <= 64 && hasBias) ? 4 : dim <= 128 ? 8 : 16;
}

/**
 * Candidates for the query-major backward kernels, whose threads hold three times as much of a row as it has
 * elements a lane.
 */
export function backwardQueryTiles(
  headDim: number,
  valueDim: number,
  subgroupSize: number,
  hasBias: boolean,
): readonly Tiles[] {
  const dim = Math.max(headDim, valueDim);
  if (subgroupSize < WIDE_SUBGROUP) return [narrowBackwardTiles(dim, subgroupSize)];
  const lanes = backwardLanes(dim, hasBias);
  const tiles = lanes === 4
    ? [
      { lanes, rows: 4, threads: 128, tile: 8, staged: 16 },
      { lanes, rows: 4, threads: 64, tile: 8 },
      { lanes, rows: 2, threads: 128, tile: 8 },
    ]
    : lanes === 8
    ? [
      { lanes, rows: 4, threads: 128, tile: 8, staged: 16 },
      { lanes, rows: 4, threads: 128, tile: 8 },
    ]
    : dim <= 256
    ? [
      { lanes, rows: 4, threads: 128, tile: 4 },
      { lanes, rows: 2, threads: 128, tile: 4 },
    ]
    : [{ lanes, rows: 1, threads: 128, tile: 4 }];
  // Rows of the largest dims leave no room for sums.
  return apart(subgroupSize, tiles).map((tiles) => ({ ...tiles, sumsApart: dim <= 256 }));
}

/**
 * Candidates for the key-major backward kernels, whose threads hold four times as much of a row as it has elements
 * a lane. With dropout they take at most four rows, whose random bits fit a word.
 */
export function backwardKeyTiles(
  headDim: number,
  valueDim: number,
  subgroupSize: number,
  hasBias: boolean,
  hasDropout: boolean,
): readonly Tiles[] {
  const dim = Math.max(headDim, valueDim);
  if (subgroupSize < WIDE_SUBGROUP) {
    const tiles = narrowBackwardTiles(dim, subgroupSize);
    return [{ ...tiles, rows: hasDropout ? Math.min(4, tiles.rows) : tiles.rows }];
  }
  const lanes = backwardLanes(dim, hasBias);
  return apart(
    subgroupSize,
    lanes === 4
      ? [
        { lanes, rows: 2, threads: 128, tile: 8, staged: 32 },
        { lanes, rows: 2, threads: 128, tile: 8, staged: 16 },
      ]
      : dim <= 64
      ? [
        { lanes, rows: 4, threads: 128, tile: 8, staged: 16 },
        { lanes, rows: 4, threads: 256, tile: 8, staged: 16 },
        { lanes, rows: 4, threads: 128, tile: 8 },
      ]
      : dim <= 128
      ? [
        { lanes, rows: 2, threads: 128, tile: 8 },
        { lanes, rows: 2, threads: 128, tile: 8, staged: 16 },
      ]
      : dim <= 256
      ? [
        { lanes, rows: 2, threads: 128, tile: 4 },
        { lanes, rows: 2, threads: 128, tile: 4, staged: 8 },
      ]
      : [{ lanes, rows: 1, threads: 128, tile: 4 }],
  );
}

/** Backward tiles for narrow subgroups, or none: the same for both kinds of kernels. */
function narrowBackwardTiles(dim: number, subgroupSize: number): Tiles {
  if (subgroupSize < 4) return { lanes: 1, rows: 1, threads: 64, tile: 4 };
  const lanes = Math.min(8, subgroupSize);
  const vecs = Math.ceil(Math.max(1, dim / 4 / lanes));
  // Eight rows are half as fast again as four, but take their compilers nearly twice as long.
  const rows = vecs === 1 ? 4 : vecs === 2 ? 8 : vecs <= 4 ? 4 : vecs <= 8 ? 2 : 1;
  return { lanes, rows, threads: 64, tile: 4 };
}

/** The same as suits GPUs: the lanes of a group as far apart as they go, and whole tiles with their own code. */
function apart(subgroupSize: number, all: readonly Tiles[]): readonly Tiles[] {
  const width = Math.min(32, subgroupSize);
  return all.map((tiles) => ({ ...tiles, laneStride: width / tiles.lanes, wholeApart: true }));
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
