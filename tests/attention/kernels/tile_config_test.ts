import {
  chooseBackwardTiles,
  chooseSplits,
  chooseSplitTiles,
  chooseTiles,
  largestHeadDim,
} from "../../../attention/kernels/tile_config.ts";
import type { TiledDims } from "../../../attention/kernels/_kernel.ts";
import { flashForwardWorkgroupBytes } from "../../../attention/kernels/flash_forward.ts";
import { backwardWorkgroupBytes } from "../../../attention/kernels/flash_backward_query.ts";
import { splitForwardWorkgroupBytes } from "../../../attention/kernels/split_forward.ts";
import { assertEquals, assertLessOrEqual } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const SUBGROUP_SIZES = [0, 4, 8, 16, 32, 64, 128];

/** What WebGPU grants on every device, and what the kernels rely on. */
function check(dims: TiledDims, bytes: number, subgroupSize: number): void {
  assertLessOrEqual(bytes, 16_384);
  assertLessOrEqual(dims.threads, 256);
  assertLessOrEqual(dims.lanes, Math.max(1, subgroupSize));
  assertEquals(dims.tile % 4, 0);
  assertEquals(dims.threads % dims.lanes, 0);
  assertEquals(Number.isInteger(Math.log2(dims.lanes)), true, "shuffles need a power of two");
  assertLessOrEqual(dims.rows * dims.tile / 4, 8, "dropout's bits of a thread fill one word");
}

it("chooseTiles() stays within WebGPU's default limits for every head dim and subgroup size", () => {
  for (const subgroupSize of SUBGROUP_SIZES) {
    for (let dim = 1; dim <= largestHeadDim(subgroupSize); dim++) {
      const dims = { ...chooseTiles(dim, dim, subgroupSize), headDim: dim, valueDim: dim };
      check(dims, flashForwardWorkgroupBytes(dims), subgroupSize);
    }
  }
});

it("chooseBackwardTiles() does so too, with few rows of keys where weights are dropped", () => {
  for (const subgroupSize of SUBGROUP_SIZES) {
    for (let dim = 0; dim <= largestHeadDim(subgroupSize); dim++) {
      for (const hasDropout of [false, true]) {
        const { query, key } = chooseBackwardTiles(dim, dim, subgroupSize, hasDropout);
        for (const tiles of [query, key]) {
          const dims = { ...tiles, headDim: dim, valueDim: dim };
          check(dims, backwardWorkgroupBytes(dims), subgroupSize);
        }
        // Bits of keys from a multiple of four on, two words of four of them: the first may be the fourth.
        if (hasDropout) assertLessOrEqual(key.rows, 5);
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
        check(dims, splitForwardWorkgroupBytes(dims), subgroupSize);
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
