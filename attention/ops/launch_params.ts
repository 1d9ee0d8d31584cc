/** Values of the kernels' parameters that follow from the inputs alone, or from an operand. */
import type { DeviceArray } from "../../gpu/array.ts";
import type { AttentionInputs } from "../inputs.ts";
import { windowParams } from "../masks/window.ts";
import { dropLimit, keepFactor } from "../score_terms.ts";
import type { Bound, BoundOperand } from "./operands.ts";

/** Sizes, and the mask's window. */
export function sizeParams({ sizes, mask }: AttentionInputs) {
  return {
    queries: sizes.Mq,
    keys: sizes.Mkv,
    groups: sizes.G,
    heads: sizes.H,
    page_size: mask.pages?.size ?? 0,
    ...windowParams(mask.window),
  };
}

/** What is done to scores and weights. */
export function scoreParams(
  { scale, bias, dropout }: AttentionInputs,
  slopes: DeviceArray | undefined,
) {
  const [biasBatch, biasGroup, biasHead, biasRow, biasKey] = bias?.layout.strides ?? [];
  const [alibiBatch, alibiGroup, alibiHead] = slopes?.layout.strides ?? [];
  return {
    scale,
    bias_batch: biasBatch ?? 0,
    bias_group: biasGroup ?? 0,
    bias_head: biasHead ?? 0,
    bias_row: biasRow ?? 0,
    bias_key: biasKey ?? 0,
    alibi_offset: slopes?.layout.offset ?? 0,
    alibi_batch: alibiBatch ?? 0,
    alibi_group: alibiGroup ?? 0,
    alibi_head: alibiHead ?? 0,
    drop_limit: dropout ? dropLimit(dropout.p) : 0,
    keep_factor: dropout ? keepFactor(dropout.p) : 1,
    seed_low: dropout?.key[0] ?? 0,
    seed_high: dropout?.key[1] ?? 0,
  };
}

type StrideField = "offset" | "batch" | "row" | "group" | "head" | "step";

/** Where the rows of an operand lie in what is bound of it. */
export function stridesOf<N extends "query" | "key" | "value" | "grad" | "output">(
  name: N,
  { layout: { strides, offset } }: Pick<BoundOperand, "layout">,
  { base }: Pick<Bound, "base">,
): Record<`${N}_${StrideField}`, number> {
  const [batch, row, group, head, step] = strides;
  const fields: Record<StrideField, number | undefined> = {
    offset: offset - base,
    batch,
    row,
    group,
    head,
    step,
  };
  return Object.fromEntries(
    Object.entries(fields).map(([field, value]) => [`${name}_${field}`, value]),
  ) as Record<`${N}_${StrideField}`, number>;
}
