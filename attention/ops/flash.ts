/** The op that keeps no scores: {@linkcode flashForward}. */
import { allocate, type DeviceArray } from "../../gpu/array.ts";
import { ceilDiv, numel } from "../../gpu/shape.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import {
  FLASH_FORWARD_PARAMS,
  flashForwardBlockRows,
  type FlashForwardConfig,
  flashForwardKernel,
  flashForwardScale,
  flashForwardWorkgroupBytes,
} from "../kernels/flash_forward.ts";
import { chooseTiles } from "../kernels/tile_config.ts";

/** Largest K and Kv: beyond, a row no longer fits the registers of the threads that share it. */
const MAX_HEAD_DIM = 256;

/**
 * Memory-efficient attention: one pass over the keys with a running softmax, after Dao et al.,
 * "FlashAttention" (2022). f32; any lengths; head dims up to 256; all masks and biases.
 * Memory O(B Mq H Kv) for the result, nothing else.
 */
export const flashForward: ForwardOp = {
  name: "flashF",

  notSupportedReasons({ sizes: { K, Kv }, p }: AttentionInputs): string[] {
    const reasons: string[] = [];
    for (const [letter, dim] of [["K", K], ["Kv", Kv]] as const) {
      if (dim > MAX_HEAD_DIM) reasons.push(`head dim ${letter} = ${dim} > ${MAX_HEAD_DIM}`);
    }
    if (p > 0) {
      reasons.push(
        `dropout p = ${p} > 0 is not implemented yet: pass p = 0, or call eval() on the layer`,
      );
    }
    return reasons;
  },

  forward(inputs: AttentionInputs, { lse: wantsLse }: { lse: boolean }): ForwardResult {
    const { runtime, sizes, query, key, value, bias, outShape, lseShape } = inputs;
    const { B, Mq, G, H, K, Kv } = sizes;
    const out = allocate(runtime, outShape, "f32");
    const lse = wantsLse ? allocate(runtime, lseShape, "f32") : undefined;
    const result = { out: own(inputs, out), lse: lse && own(inputs, lse) };
    if (B * Mq * G * H === 0) return result;

    const { subgroupSize, limits } = runtime.info;
    const config: FlashForwardConfig = {
      headDim: K,
      valueDim: Kv,
      ...chooseTiles(K, Kv, subgroupSize),
      aligned: { query: isAligned(query), key: isAligned(key), value: isAligned(value) },
      keyRange: inputs.mask.keyRangeWgsl,
      bias: !bias ? "none" : bias.dtype === "bool" ? "bool" : "added",
      lse: wantsLse,
    };
    const bytes = flashForwardWorkgroupBytes(config);
    if (bytes > limits.maxComputeWorkgroupStorageSize) {
      // Deno does not check this, and a driver that runs out of it gives wrong numbers.
      throw new RangeError(
        `Cannot run flashF: its tiles take ${bytes} bytes of workgroup memory, the device has ` +
          `${limits.maxComputeWorkgroupStorageSize}`,
      );
    }
    const rowBlocks = ceilDiv(Mq, flashForwardBlockRows(config));
    const jobs = B * G * H * rowBlocks;
    runtime.kernels.dispatch(flashForwardKernel(config), {
      storages: [query, key, value, bias, out, lse]
        .filter((array) => array !== undefined)
        .map((array) => array.storage),
      params: packParams(inputs, config, rowBlocks, jobs),
      workgroups: jobs,
    });
    return result;
  },
};

function own({ device, runtime }: AttentionInputs, array: DeviceArray): Tensor {
  return tensorFrom(device, runtime, array);
}

function packParams(
  { sizes, query, key, value, bias, scale }: AttentionInputs,
  config: FlashForwardConfig,
  rowBlocks: number,
  jobs: number,
): Uint32Array<ArrayBuffer> {
  const [q, k, v] = [query, key, value].map(({ layout }) => {
    const [batch, row, group, head, step] = layout.strides as FiveNumbers;
    return { offset: layout.offset, batch, row, group, head, step };
  }) as [Strides, Strides, Strides];
  const [biasBatch, biasGroup, biasHead, biasRow, biasKey] =
    (bias?.layout.strides ?? [0, 0, 0, 0, 0]) as FiveNumbers;
  return FLASH_FORWARD_PARAMS.pack({
    queries: sizes.Mq,
    keys: sizes.Mkv,
    groups: sizes.G,
    heads: sizes.H,
    row_blocks: rowBlocks,
    jobs,
    scale: flashForwardScale(config, scale),
    query_offset: q.offset,
    query_batch: q.batch,
    query_row: q.row,
    query_group: q.group,
    query_head: q.head,
    query_step: q.step,
    key_offset: k.offset,
    key_batch: k.batch,
    key_row: k.row,
    key_group: k.group,
    key_head: k.head,
    key_step: k.step,
    value_offset: v.offset,
    value_batch: v.batch,
    value_row: v.row,
    value_group: v.group,
    value_head: v.head,
    value_step: v.step,
    bias_offset: bias?.layout.offset ?? 0,
    bias_batch: biasBatch,
    bias_group: biasGroup,
    bias_head: biasHead,
    bias_row: biasRow,
    bias_key: biasKey,
  });
}

type FiveNumbers = [number, number, number, number, number];
type Strides = Record<"offset" | "batch" | "row" | "group" | "head" | "step", number>;

/** Whether every row starts at a multiple of four elements and is dense, so that vec4 reads work. */
function isAligned({ layout: { shape, strides, offset } }: DeviceArray): boolean {
  const dim = shape[4]!;
  return dim > 0 && dim % 4 === 0 && strides[4] === 1 && offset % 4 === 0 && numel(shape) > 0 &&
    strides.slice(0, 4).every((stride, axis) => shape[axis] === 1 || stride % 4 === 0);
}
