/**
 * Layers, after PyTorch's and timm's.
 *
 * @module
 */
export { Attention, type AttentionLayerOptions } from "./attention.ts";
export { Dropout, type DropoutOptions } from "./dropout.ts";
export { LayerNorm } from "./layer_norm.ts";
export { Linear, type LinearOptions } from "./linear.ts";
export { Module, type StateDict } from "./module.ts";
export {
  MultiheadAttention,
  type MultiheadAttentionForwardOptions,
  type MultiheadAttentionOptions,
  type MultiheadAttentionResult,
} from "./multihead_attention.ts";
