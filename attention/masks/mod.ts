/**
 * Masks, under xformers' names.
 *
 * @module
 */
export { alibiSlopes } from "./alibi.ts";
export { AttentionBias, type MaskBlock, MaskWithTensorBias, type Pages } from "./bias.ts";
export {
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionMask,
  BlockDiagonalCausalMask,
  BlockDiagonalMask,
  type PackedMaskClass,
  type PackedQkv,
  type PackedSequences,
} from "./block_diagonal.ts";
export type { Lengths } from "./checks.ts";
export {
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  LowerTriangularMaskWithTensorBias,
} from "./dense.ts";
export {
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask,
  type GappySequences,
} from "./gappy_keys.ts";
export type { PagedMaskClass, PagedSequences } from "./page_tables.ts";
export {
  PagedBlockDiagonalCausalLocalPaddedKeysMask,
  PagedBlockDiagonalCausalWithOffsetGappyKeysMask,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  PagedBlockDiagonalGappyKeysMask,
  PagedBlockDiagonalPaddedKeysMask,
  PagedMask,
} from "./paged.ts";
export {
  BlockDiagonalCausalLocalAttentionPaddedKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalLocalAttentionPaddedKeysMask,
  BlockDiagonalPaddedKeysMask,
  type PaddedSequences,
} from "./padded_keys.ts";
export type { KeyRange, Window } from "./window.ts";
