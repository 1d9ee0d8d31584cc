/**
 * Fields of the attention kernels' parameters: sizes, strides and offsets (in elements); letters are B batch,
 * M sequence, G head groups, H heads, K head dim. Offsets are relative to the bound ranges and wrap around, so they
 * may stand for negative numbers.
 */
import { paramStruct } from "../../gpu/runtime/params.ts";
import { WINDOW_FIELDS } from "../masks/window.ts";

/** What is bound of one of query, key, value and their like, `[B, M, G, H, K]`. */
function operandFields<const N extends string>(name: N) {
  const roles = ["offset", "batch", "row", "group", "head", "step"] as const;
  return Object.fromEntries(roles.map((role) => [`${name}_${role}`, "u32"])) as Readonly<
    Record<`${N}_${(typeof roles)[number]}`, "u32">
  >;
}

/** Sizes of the inputs, and which of their parts a launch is about. */
const SIZES = {
  queries: "u32",
  keys: "u32",
  groups: "u32",
  heads: "u32",
  jobs: "u32",
  tiles: "u32",
  row_blocks: "u32",
  /** Keys that this launch looks at, along M. */
  key_from: "u32",
  key_to: "u32",
  page_size: "u32",
  ...WINDOW_FIELDS,
  scale: "f32",
} as const;

/** A tensor bias, `[B, G, H, Mq, Mkv]`. */
const BIAS = {
  bias_offset: "u32",
  bias_batch: "u32",
  bias_group: "u32",
  bias_head: "u32",
  bias_row: "u32",
  bias_key: "u32",
} as const;

const DROPOUT = {
  drop_limit: "u32",
  seed_low: "u32",
  seed_high: "u32",
  keep_factor: "f32",
} as const;

/** ALiBi's slopes, `[B, G, H]`. */
export const ALIBI_FIELDS = {
  alibi_offset: "u32",
  alibi_batch: "u32",
  alibi_group: "u32",
  alibi_head: "u32",
} as const;

/** Parameters of the forward kernels. */
export const ATTENTION_PARAMS = paramStruct({
  ...SIZES,
  /** The first group and head of this launch, and how many heads of each group it takes. */
  group_begin: "u32",
  head_begin: "u32",
  head_count: "u32",
  ...operandFields("query"),
  ...operandFields("key"),
  ...operandFields("value"),
  ...BIAS,
  ...ALIBI_FIELDS,
  ...DROPOUT,
  /** Elements before the output's range. */
  out_base: "u32",
  lse_offset: "u32",
  lse_batch: "u32",
  lse_row: "u32",
  lse_head: "u32",
  /** Parts that the keys are cut into, each with outputs of its own, so many elements apart. */
  splits: "u32",
  out_split: "u32",
  lse_split: "u32",
  /** Heads of a group that a tile's rows run through, before they go on to the next query. */
  row_heads: "u32",
});

/** Values of all parameters. */
export type AttentionParams = Parameters<typeof ATTENTION_PARAMS.pack>[0];

/** Parameters of the backward kernels. */
export const BACKWARD_PARAMS = paramStruct({
  ...SIZES,
  ...operandFields("query"),
  ...operandFields("key"),
  ...operandFields("value"),
  ...operandFields("grad"),
  ...BIAS,
  ...DROPOUT,
  /** Where in the table key tiles begin, and the rows' statistics. */
  key_tiles_offset: "u32",
  stats_offset: "u32",
  /** Whether the weights of a row are to sum to 1, so that its factor follows from them: 0 or 1. */
  sums_to_one: "u32",
  /** What each output is summed over: sequences of the batch, groups, and heads of a group. */
  sum_batches: "u32",
  sum_groups: "u32",
  sum_heads: "u32",
  /** Where the gradient of a bias goes; 0 along an axis that is summed. */
  out_batch: "u32",
  out_group: "u32",
  out_head: "u32",
  out_row: "u32",
  out_key: "u32",
});

/** Values of all parameters. */
export type BackwardParams = Parameters<typeof BACKWARD_PARAMS.pack>[0];

/** Parameters of the kernel that prepares the rows' statistics. */
export const STATS_PARAMS = paramStruct({
  queries: "u32",
  groups: "u32",
  heads: "u32",
  rows: "u32",
  ...operandFields("grad"),
  ...operandFields("output"),
  lse_offset: "u32",
  lse_batch: "u32",
  lse_group: "u32",
  lse_head: "u32",
  lse_row: "u32",
  lse_grad_offset: "u32",
  lse_grad_batch: "u32",
  lse_grad_group: "u32",
  lse_grad_head: "u32",
  lse_grad_row: "u32",
  ...ALIBI_FIELDS,
  stats_offset: "u32",
});
