/** Runs the kernel that joins partial results. */
import type { FloatDType } from "../../gpu/dtype.ts";
import type { DeviceArray } from "../../gpu/array.ts";
import type { Binding } from "../../gpu/runtime/kernels.ts";
import type { Runtime } from "../../gpu/runtime/runtime.ts";
import { MERGE_PARAMS, mergeKernel } from "../kernels/merge.ts";
import { isAligned } from "./operands.ts";
import type { Run } from "./plan.ts";

/** Partial results, and which rows of them to merge. */
export interface MergeWork {
  /** `[C, B, M, G, H, Kv]`: outputs. */
  readonly part: DeviceArray;
  /** `[C, B, M, G, H]`, f32: log-sum-exps. */
  readonly partLse: DeviceArray;
  /** What their rounding left out, with the same strides; `undefined` where that is not known. */
  readonly partLow: DeviceArray | undefined;
  /** Queries, counted through the batch. Default all. */
  readonly queries?: Run;
  /** Groups of heads. Default all. */
  readonly groups?: Run;
  /** Heads of each group. Default all. */
  readonly heads?: Run;
}

/** Dense outputs `[B, M, G, H, Kv]` and log-sum-exps `[B, G, H, M]` of two words, or what is bound of them. */
export interface MergeTarget {
  readonly dtype: FloatDType;
  readonly out: Binding;
  readonly lse: Binding | undefined;
  /** Elements before what is bound of the outputs. Default 0. */
  readonly outBase?: number;
  /** Elements before what is bound of the log-sum-exps. Default 0. */
  readonly lseBase?: number;
}

/** Enqueues the merge. */
export function runMerge(
  runtime: Runtime,
  { part, partLse, partLow, ...range }: MergeWork,
  { dtype, out, lse, outBase = 0, lseBase = 0 }: MergeTarget,
): void {
  const [chunks, B, M, G, H, Kv] = part.layout.shape as SixNumbers;
  const { queries = [0, B * M], groups = [0, G], heads = [0, H] } = range;
  const [groupCount, headCount] = [groups, heads].map(([begin, end]) => end - begin);
  const rows = (queries[1] - queries[0]) * groupCount! * headCount!;
  const [partChunk, partBatch, partRow, partGroup, partHead, step] = part.layout
    .strides as SixNumbers;
  const [lseChunk, lseBatch, lseRow, lseGroup, lseHead] = partLse.layout.strides as SixNumbers;
  const config = {
    valueDim: Kv,
    storage: part.dtype as FloatDType,
    output: dtype,
    aligned: isAligned(part),
    lowWords: partLow !== undefined,
    lse: lse !== undefined,
  };
  runtime.kernels.dispatch(mergeKernel(config), {
    storages: [
      part.storage,
      partLse.storage,
      ...(partLow ? [partLow.storage] : []),
      out,
      ...(lse ? [lse] : []),
    ],
    params: MERGE_PARAMS.pack({
      chunks,
      rows,
      queries: M,
      groups: G,
      heads: H,
      query_begin: queries[0],
      group_begin: groups[0],
      group_count: groupCount!,
      head_begin: heads[0],
      head_count: headCount!,
      part_offset: part.layout.offset,
      part_chunk: partChunk,
      part_batch: partBatch,
      part_row: partRow,
      part_group: partGroup,
      part_head: partHead,
      chunk_step: step,
      part_lse_offset: partLse.layout.offset,
      part_lse_chunk: lseChunk,
      part_lse_batch: lseBatch,
      part_lse_row: lseRow,
      part_lse_group: lseGroup,
      part_lse_head: lseHead,
      part_low_offset: partLow?.layout.offset ?? 0,
      out_base: outBase,
      lse_offset: -lseBase,
    }),
    workgroups: rows,
  });
}

type SixNumbers = [number, number, number, number, number, number];
