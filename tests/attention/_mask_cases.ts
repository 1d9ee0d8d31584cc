/** Masks of every class on awkward lengths: uneven, 0, more queries than keys, windows of 1 and Infinity. */
import {
  type AttentionBias,
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionPaddedKeysMask,
  BlockDiagonalCausalMask,
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  PagedBlockDiagonalCausalLocalPaddedKeysMask,
  PagedBlockDiagonalCausalWithOffsetGappyKeysMask,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  PagedBlockDiagonalGappyKeysMask,
  PagedBlockDiagonalPaddedKeysMask,
} from "@denoformers/attention";

/** A mask and sizes that it fits. */
export interface MaskCase {
  readonly mask: AttentionBias;
  readonly B: number;
  readonly Mq: number;
  readonly Mkv: number;
}

// The third block has more rows than a workgroup of the CPU drivers with subgroups of 8, and its keys
// begin and end within a tile; the second has no query, the fourth no key.
const Q = [5, 0, 70, 3, 1];
const KV = [9, 4, 66, 0, 1];
const packed = BlockDiagonalMask.fromSeqlens(Q, KV);

const SLOTS = [[4, 1, 3, 0, 9], 8, [5, 8, 0, 7, 6]] as const;
const padded = BlockDiagonalPaddedKeysMask.fromSeqlens(...SLOTS);

// The first two runs overlap, the third is empty, the last has more queries than keys; 9, 10, 15 and 16
// belong to none.
const RUNS = [[3, 4, 2, 6], [0, 2, 2, 11, 17], [6, 7, 0, 4]] as const;

// Two sequences share page 5; pages 0, 3, 4 and 8 belong to none.
const PAGES = [[5, 1, 7], [], [2, 6, 1], [5, 3]] as const;
const PAGED = [[4, 1, 6, 2], [9, 0, 5, 4]] as const;
const STARTS = [3, 0, 6, 1];

const dense = (mask: AttentionBias): MaskCase[] => [
  { mask, B: 2, Mq: 13, Mkv: 21 },
  { mask, B: 1, Mq: 21, Mkv: 13 },
  { mask, B: 1, Mq: 70, Mkv: 66 },
];

const cases: readonly MaskCase[] = [
  ...dense(new LowerTriangularMask()),
  ...dense(new LowerTriangularFromBottomRightMask()),
  ...[1, 3, Infinity].flatMap((size) =>
    dense(new LowerTriangularFromBottomRightMask().makeLocalAttention(size))
  ),
  ...([[0, 0], [2, 1], [Infinity, 2], [3, Infinity], [Infinity, Infinity]] as const).flatMap((
    [left, right],
  ) => dense(new LocalAttentionFromBottomRightMask(left, right))),
  ...[
    packed,
    BlockDiagonalCausalMask.fromSeqlens(Q, KV),
    BlockDiagonalCausalFromBottomRightMask.fromSeqlens(Q, KV),
    ...[1, 4, Infinity].map((size) => packed.makeLocalAttention(size)),
    ...[1, 4, Infinity].map((size) => packed.makeLocalAttentionFromBottomRight(size)),
  ].map((mask) => ({ mask, B: 1, Mq: 79, Mkv: 80 })),
  ...[
    padded,
    BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(...SLOTS),
    ...([[0, 0], [2, 1], [Infinity, 0]] as const).map(([left, right]) =>
      padded.makeLocalAttention(left, right)
    ),
    ...[1, 3, Infinity].map((size) =>
      BlockDiagonalCausalLocalAttentionPaddedKeysMask.fromSeqlensLocal(...SLOTS, size)
    ),
  ].map((mask) => ({ mask, B: 1, Mq: 17, Mkv: 40 })),
  ...[
    BlockDiagonalGappyKeysMask.fromSeqlens(...RUNS),
    BlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens(...RUNS),
    ...([[0, 0], [2, 1], [Infinity, 1]] as const).map(([left, right]) =>
      BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask.fromSeqlensLocalGappy(
        ...RUNS,
        left,
        right,
      )
    ),
  ].map((mask) => ({ mask, B: 1, Mq: 15, Mkv: 17 })),
  ...[
    PagedBlockDiagonalPaddedKeysMask.fromSeqlens(...PAGED, PAGES, 4),
    PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(...PAGED, PAGES, 4),
    ...[1, 3, Infinity].map((size) =>
      PagedBlockDiagonalCausalLocalPaddedKeysMask.fromSeqlensLocal(...PAGED, PAGES, 4, size)
    ),
    PagedBlockDiagonalGappyKeysMask.fromSeqlens(PAGED[0], STARTS, PAGED[1], PAGES, 4),
    PagedBlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens(
      PAGED[0],
      STARTS,
      PAGED[1],
      PAGES,
      4,
    ),
  ].map((mask) => ({ mask, B: 1, Mq: 13, Mkv: 36 })),
];

/**
 * One mask for each way in which kernels find queries and keys, in blocks of up to 5 queries: splitKF has a
 * kernel of its own for up to 16 rows, and three heads that share keys make 15.
 */
export const SHORT_BLOCKS: readonly MaskCase[] = [
  { mask: new LowerTriangularFromBottomRightMask(), B: 2, Mq: 5, Mkv: 21 },
  {
    mask: BlockDiagonalCausalFromBottomRightMask.fromSeqlens([5, 0, 4, 1], [9, 4, 2, 0]),
    B: 1,
    Mq: 10,
    Mkv: 15,
  },
  {
    mask: BlockDiagonalMask.fromSeqlens([5, 3], [9, 4]).makeLocalAttention(2),
    B: 1,
    Mq: 8,
    Mkv: 13,
  },
  {
    mask: BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([4, 1, 5], 8, [6, 8, 0]),
    B: 1,
    Mq: 10,
    Mkv: 24,
  },
  {
    mask: BlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens([3, 5], [1, 0, 9], [7, 4]),
    B: 1,
    Mq: 8,
    Mkv: 9,
  },
  {
    mask: PagedBlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens(
      [4, 1],
      [3, 5],
      [6, 1],
      [[3, 0, 2], [9, 3]],
      4,
    ),
    B: 1,
    Mq: 5,
    Mkv: 16,
  },
];

/** The cases by the name of their class. */
export const MASK_CASES: ReadonlyMap<string, readonly MaskCase[]> = Map.groupBy(
  [...cases, ...SHORT_BLOCKS],
  ({ mask }) => mask.constructor.name,
);

/** One mask for each way in which kernels find queries and keys, with blocks of any length. */
export const MASK_FAMILIES: readonly MaskCase[] = [
  "LowerTriangularFromBottomRightMask",
  "LocalAttentionFromBottomRightMask",
  "BlockDiagonalCausalFromBottomRightMask",
  "BlockDiagonalCausalWithOffsetPaddedKeysMask",
  "BlockDiagonalCausalWithOffsetGappyKeysMask",
  "PagedBlockDiagonalCausalWithOffsetPaddedKeysMask",
].map((name) => MASK_CASES.get(name)![0]!);
