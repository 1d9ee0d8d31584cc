/**
 * Memory-efficient attention: the functions, the masks and the ops.
 *
 * Letters in shapes: `B` batch, `M` (`Mq`, `Mkv`) sequence, `H` heads, `G` head groups, `K` head dim of
 * query and key, `Kv` head dim of the value.
 *
 * @module
 */
export type { AttentionOptions } from "./inputs.ts";
export { AttentionBias, type KeyRange, LowerTriangularMask } from "./masks.ts";
export {
  type AttentionWithLse,
  memoryEfficientAttention,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  type MemoryEfficientAttentionOptions,
} from "./memory_efficient_attention.ts";
export {
  ALL_FORWARD_OPS,
  type AttentionForwardOp,
  FlashForwardOp,
  MathForwardOp,
} from "./ops/mod.ts";
