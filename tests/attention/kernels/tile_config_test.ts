import {
  backwardKeyTiles,
  backwardQueryTiles,
  chooseSplits,
  chooseSplitTiles,
  describeTiles,
  forwardTiles,
  halfForwardTiles,
  largestHeadDim,
} from "../../../attention/kernels/tile_config.ts";
import { stagedBytes, type TiledDims, type Tiles } from "../../../attention/kernels/_kernel.ts";
import { keyMajorWorkgroupBytes } from "../../../attention/kernels/_key_steps.ts";
import { queryMajorWorkgroupBytes } from "../../../attention/kernels/flash_backward_query.ts";
import { splitForwardWorkgroupBytes } from "../../../attention/kernels/split_forward.ts";
import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const SUBGROUP_SIZES = [0, 4, 8, 16, 32, 64, 128];

/** What the kernels rely on. */
function check(dims: TiledDims, subgroupSize: number): void {
  const { lanes, rows, threads, tile, staged = tile, laneStride = 1 } = dims;
  assertLessOrEqual(threads, 256);
  assertLessOrEqual(lanes * laneStride, Math.max(1, subgroupSize), "shuffles stay in a subgroup");
  assertEquals(tile % 4, 0);
  assertEquals(staged % tile, 0);
  assertEquals(threads % (lanes * laneStride), 0);
  for (const size of [lanes, rows]) assert(Number.isInteger(Math.log2(size)), "a power of two");
  const own = rows / Math.min(rows, lanes);
  assertLessOrEqual(own * tile / 4, 8, "dropout's bits of a thread's own rows fill one word");
}

/** That each candidate is sound and named differently, and that every device has room for one. */
function checkAll(
  all: readonly Tiles[],
  dim: number,
  subgroupSize: number,
  bytes: (dims: TiledDims) => number,
): void {
  const dims = all.map((tiles) => ({ ...tiles, headDim: dim, valueDim: dim }));
  for (const each of dims) check(each, subgroupSize);
  assertLessOrEqual(Math.min(...dims.map(bytes)), 16_384);
  assertEquals(new Set(all.map(describeTiles)).size, all.length);
}

it("forward tiles are sound for every head dim and subgroup size", () => {
  for (const subgroupSize of SUBGROUP_SIZES) {
    for (let dim = 1; dim <= largestHeadDim(subgroupSize); dim++) {
      checkAll(forwardTiles(dim, dim, subgroupSize), dim, subgroupSize, stagedBytes);
      checkAll(halfForwardTiles(dim, dim, subgroupSize), dim, subgroupSize, stagedBytes);
    }
  }
});

it("backward tiles are so too, all with as many lanes, with few rows of keys where weights are dropped", () => {
  for (const subgroupSize of SUBGROUP_SIZES) {
    for (let dim = 0; dim <= largestHeadDim(subgroupSize); dim++) {
      for (const [hasBias, hasDropout] of [[false, false], [false, true], [true, true]] as const) {
        const query = backwardQueryTiles(dim, dim, subgroupSize, hasBias);
        checkAll(query, dim, subgroupSize, queryMajorWorkgroupBytes);
        const key = backwardKeyTiles(dim, dim, subgroupSize, hasBias, hasDropout);
        checkAll(key, dim, subgroupSize, keyMajorWorkgroupBytes);
        assertEquals(new Set([...query, ...key].map(({ lanes }) => lanes)).size, 1);
        // Bits of keys from a multiple of four on, two words of four of them: the first may be the fourth.
        if (hasDropout) { for (const { rows } of key) assertLessOrEqual(rows, 5); }
      }
    }
  }
});

it("chooseSplitTiles() does so too, with no more rows than there are", () => {
  for (const subgroupSize of SUBGROUP_SIZES) {
    for (let dim = 0; dim <= largestHeadDim(subgroupSize); dim++) {
      for (const rows of [1, 2, 3, 5, 16, 1000]) {
        const tiles = chooseSplitTiles(dim, dim, subgroupSize, rows);
        const dims = { ...tiles, headDim: dim, valueDim: dim };
        check(dims, subgroupSize);
        assertLessOrEqual(splitForwardWorkgroupBytes(dims), 16_384);
        assertLessOrEqual(tiles.rows, 2 * rows - 1);
      }
    }
  }
});

describe("chooseSplits()", () => {
  it("cuts long keys for few workgroups, and leaves the rest whole", () => {
    assertEquals(chooseSplits(16, 65_536, false), 64);
    assertEquals(chooseSplits(1, 65_536, false), 128);
    assertEquals(chooseSplits(1, 65_536, true), 16);
    assertEquals(chooseSplits(5000, 65_536, false), 1);
  });

  it("gives no part fewer than 256 keys", () => {
    assertEquals(chooseSplits(1, 1000, false), 3);
    assertEquals(chooseSplits(1, 255, false), 1);
    assertEquals(chooseSplits(0, 0, true), 1);
  });
});
