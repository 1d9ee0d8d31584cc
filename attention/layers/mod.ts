/**
 * Layers, losses and optimisers, after PyTorch's and timm's; weights to and from files.
 *
 * @module
 */
export { Attention, type AttentionLayerOptions } from "./attention.ts";
export { Block, type BlockOptions } from "./block.ts";
export { DropPath } from "./drop_path.ts";
export { Dropout, type DropoutOptions } from "./dropout.ts";
export { Embedding, type EmbeddingOptions } from "./embedding.ts";
export { LayerNorm } from "./layer_norm.ts";
export { LayerScale } from "./layer_scale.ts";
export { Linear, type LinearOptions } from "./linear.ts";
export {
  crossEntropy,
  type CrossEntropyOptions,
  type LossOptions,
  mseLoss,
  type Reduction,
} from "./losses.ts";
export { Mlp, type MlpOptions } from "./mlp.ts";
export { Module, parameter } from "./module.ts";
export {
  MultiheadAttention,
  type MultiheadAttentionForwardOptions,
  type MultiheadAttentionOptions,
  type MultiheadAttentionResult,
} from "./multihead_attention.ts";
export { AdamW, type AdamWOptions } from "./optimizers/adamw.ts";
export { clipGradNorm, type ClipGradNormOptions } from "./optimizers/clip_grad_norm.ts";
export {
  type OptimizedParameters,
  Optimizer,
  type ParameterGroup,
  type UpdateSettings,
} from "./optimizers/optimizer.ts";
export { cosineSchedule, type CosineScheduleOptions } from "./optimizers/schedule.ts";
export { SGD, type SGDOptions } from "./optimizers/sgd.ts";
export type { OptimizerState } from "./optimizers/state.ts";
export {
  listSafetensors,
  loadSafetensors,
  type LoadSafetensorsOptions,
  readSafetensorsMetadata,
  type SafetensorsEntry,
  saveSafetensors,
  type SaveSafetensorsOptions,
} from "./safetensors.ts";
export type { LoadResult, StateDict } from "./state_dict.ts";
export { loadTrainingState, type TrainingState, trainingState } from "./training_state.ts";
