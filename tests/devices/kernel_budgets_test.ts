/**
 * What every kernel of attention takes of a device, for all tiles that it may run by, those for subgroups that no
 * driver at hand has included: read from its WGSL, and held against the sums that the ops refuse work by.
 */
import type { AttentionKernelConfig, Tiles } from "../../attention/kernels/_kernel.ts";
import { stagedBytes } from "../../attention/kernels/_kernel.ts";
import type { BackwardKernelConfig } from "../../attention/kernels/_backward.ts";
import { keyMajorWorkgroupBytes } from "../../attention/kernels/_key_steps.ts";
import { backwardBiasKernel } from "../../attention/kernels/flash_backward_bias.ts";
import { backwardKeyKernel } from "../../attention/kernels/flash_backward_key.ts";
import {
  backwardQueryKernel,
  queryMajorWorkgroupBytes,
} from "../../attention/kernels/flash_backward_query.ts";
import { backwardSumsKernel } from "../../attention/kernels/flash_backward_sums.ts";
import { backwardRowBiasKernel } from "../../attention/kernels/flash_backward_row_bias.ts";
import { flashForwardKernel } from "../../attention/kernels/flash_forward.ts";
import {
  shuffleForwardKernel,
  shuffleForwardTiles,
} from "../../attention/kernels/shuffle_forward.ts";
import {
  splitForwardKernel,
  splitForwardWorkgroupBytes,
} from "../../attention/kernels/split_forward.ts";
import {
  backwardKeyTiles,
  backwardQueryTiles,
  chooseSplitTiles,
  describeTiles,
  forwardTiles,
  halfForwardTiles,
  largestHeadDim,
} from "../../attention/kernels/tile_config.ts";
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { assertEquals, assertLessOrEqual } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { WEBGPU_MINIMUM } from "./_small_gpu.ts";
import { resourcesOf } from "./_wgsl.ts";

/** None; those of CPU drivers; those of GPUs. */
const SUBGROUP_SIZES = [0, 4, 8, 16, 32, 64];

/** At the edges of what tiles are chosen by, and between. */
const HEAD_DIMS = [1, 8, 20, 32, 64, 80, 128, 132, 256, 260, 512];

/** With everything there is, for the most bindings. */
function forwardConfig(dims: readonly [number, number], tiles: Tiles): AttentionKernelConfig {
  const [headDim, valueDim] = dims;
  return {
    ...tiles,
    headDim,
    valueDim,
    storage: "f32",
    output: "f32",
    aligned: { query: true, key: true, value: true },
    tileSource: "listed",
    bias: "f32",
    alibi: true,
    dropout: true,
    lse: true,
  };
}

function backwardConfig(dims: readonly [number, number], tiles: Tiles): BackwardKernelConfig {
  const { lse: _, aligned, ...rest } = forwardConfig(dims, tiles);
  return { ...rest, gradStorage: "f32", aligned: { ...aligned, grad: true } };
}

/** Tiles, by a name, with the kernel that they make and the bytes that its op counts. */
type Row = readonly [tiles: Tiles, kernel: Kernel, counted: number];

function rowsOf(dims: readonly [number, number], subgroupSize: number): Row[] {
  const [headDim, valueDim] = dims;
  const sized = (tiles: Tiles) => ({ ...tiles, headDim, valueDim });
  const forward = forwardTiles(headDim, valueDim, subgroupSize);
  const halves = halfForwardTiles(headDim, valueDim, subgroupSize);
  const query = [false, true].flatMap((bias) =>
    backwardQueryTiles(headDim, valueDim, subgroupSize, bias)
  );
  const key = [false, true].flatMap((bias) =>
    backwardKeyTiles(headDim, valueDim, subgroupSize, bias, true)
  );
  const shuffles = shuffleForwardTiles(headDim, valueDim, subgroupSize);
  const split = [1, 2, 16].map((rows) => chooseSplitTiles(headDim, valueDim, subgroupSize, rows));
  return [
    ...forward.map((tiles): Row => [
      tiles,
      flashForwardKernel(forwardConfig(dims, tiles)),
      stagedBytes(sized(tiles)),
    ]),
    ...halves.map((tiles): Row => [
      tiles,
      flashForwardKernel({ ...forwardConfig(dims, tiles), storage: "f16", halfProducts: true }),
      stagedBytes(sized(tiles)),
    ]),
    ...(shuffles
      ? [[shuffles, shuffleForwardKernel(forwardConfig(dims, shuffles)), 0] as Row]
      : []),
    ...split.map((tiles): Row => [
      tiles,
      splitForwardKernel(forwardConfig(dims, tiles)),
      splitForwardWorkgroupBytes(sized(tiles)),
    ]),
    ...query.flatMap((tiles): Row[] =>
      [backwardQueryKernel, backwardBiasKernel, backwardSumsKernel].map((make) => [
        tiles,
        make(backwardConfig(dims, tiles)),
        queryMajorWorkgroupBytes(sized(tiles)),
      ])
    ),
    ...key.flatMap((tiles): Row[] =>
      [backwardKeyKernel, backwardRowBiasKernel].map((make) => [
        tiles,
        make(backwardConfig(dims, tiles)),
        keyMajorWorkgroupBytes(sized(tiles)),
      ])
    ),
  ];
}

/**
 * Products in f16 stage halves, the bias kernels one tile at a time, that of sums no values: their ops count more than
 * they take.
 */
const COUNTS_MORE = ["flash_backward_bias", "flash_backward_row_bias", "flash_backward_sums"];

describe("attention's kernels", () => {
  for (const subgroupSize of SUBGROUP_SIZES) {
    it(`take what their ops count, with subgroups of ${subgroupSize}`, () => {
      for (const dim of HEAD_DIMS.filter((dim) => dim <= largestHeadDim(subgroupSize))) {
        for (const dims of [[dim, dim], [dim, 8]] as const) {
          for (const [tiles, kernel, counted] of rowsOf(dims, subgroupSize)) {
            const what = `${kernel.label} K${dims[0]} Kv${dims[1]} by ${describeTiles(tiles)}`;
            const { workgroupBytes, storageBuffers, threads } = resourcesOf(kernel.source);
            const isExact = !COUNTS_MORE.includes(kernel.label) &&
              !kernel.source.includes("alias Four = vec4<f16>");
            if (isExact) assertEquals(workgroupBytes, counted, what);
            assertLessOrEqual(workgroupBytes, counted, what);
            assertEquals(storageBuffers, kernel.bindings.length, what);
            assertLessOrEqual(storageBuffers, WEBGPU_MINIMUM.maxStorageBuffersPerShaderStage, what);
            assertEquals(threads, tiles.threads, what);
            assertLessOrEqual(threads, WEBGPU_MINIMUM.maxComputeInvocationsPerWorkgroup, what);
          }
        }
      }
    });
  }
});
