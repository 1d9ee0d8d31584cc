/**
 * Memory-efficient attention: the functions, the masks and the ops.
 *
 * Letters in shapes: `B` batch, `M` (`Mq`, `Mkv`) sequence, `H` heads, `G` head groups, `K` head dim of
 * query and key, `Kv` head dim of the value.
 *
 * @module
 */
export { type AttentionFlops, attentionFlops } from "./flops.ts";
export type { AttentionOptions } from "./inputs.ts";
export * from "./masks/mod.ts";
export {
  type AttentionForwardOptions,
  type AttentionOps,
  type AttentionWithLse,
  memoryEfficientAttention,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  type MemoryEfficientAttentionOptions,
  memoryEfficientAttentionPartial,
} from "./memory_efficient_attention.ts";
export {
  type AttentionBackwardOptions,
  type AttentionGradients,
  memoryEfficientAttentionBackward,
} from "./memory_efficient_attention_backward.ts";
export {
  mergeAttentions,
  type MergeAttentionsOptions,
  type MergedAttention,
} from "./merge_attentions.ts";
export {
  ALL_BACKWARD_OPS,
  ALL_FORWARD_OPS,
  type AttentionBackwardOp,
  type AttentionForwardOp,
  type AttentionOp,
  FlashBackwardOp,
  FlashForwardOp,
  FlashHalfForwardOp,
  MathBackwardOp,
  MathForwardOp,
  ShuffleForwardOp,
  SplitKForwardOp,
} from "./ops/mod.ts";
export {
  scaledDotProductAttention,
  type ScaledDotProductAttentionOptions,
} from "./scaled_dot_product_attention.ts";
