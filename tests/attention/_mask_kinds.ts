/** The classes of masks: what makes each, and its formula, taken anew from xformers' definitions. */
import {
  type AttentionBias,
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionMask,
  BlockDiagonalCausalLocalAttentionPaddedKeysMask as CausalLocalPaddedKeysMask,
  BlockDiagonalCausalMask,
  BlockDiagonalCausalWithOffsetGappyKeysMask as CausalGappyKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask as CausalPaddedKeysMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalLocalAttentionFromBottomRightGappyKeysMask as LocalGappyKeysMask,
  BlockDiagonalLocalAttentionPaddedKeysMask as LocalPaddedKeysMask,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  PagedBlockDiagonalCausalLocalPaddedKeysMask as PagedCausalLocalMask,
  PagedBlockDiagonalCausalWithOffsetGappyKeysMask as PagedCausalGappyMask,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask as PagedCausalMask,
  PagedBlockDiagonalGappyKeysMask,
  PagedBlockDiagonalPaddedKeysMask,
} from "@denoformers/attention";

/** How sequences lie along M. */
export type Layout = "dense" | "packed" | "padded" | "gappy" | "paged" | "pagedGappy";

/** Whether query i of a block sees key j of it: d is Lk - Lq, w a window's size, wl and wr its sides. */
export type Rule = (
  at: { i: number; j: number; d: number; w: number; wl: number; wr: number },
) => boolean;

const ALL: Rule = () => true;
const CAUSAL: Rule = ({ i, j }) => j <= i;
const CAUSAL_END: Rule = ({ i, j, d }) => j <= i + d;
const CAUSAL_LOCAL: Rule = ({ i, j, w }) => i - w < j && j <= i;
const CAUSAL_LOCAL_END: Rule = ({ i, j, d, w }) => i + d - w < j && j <= i + d;
const LOCAL: Rule = ({ i, j, d, wl, wr }) => i + d - wl <= j && j <= i + d + wr;

/** What the masks are made of. */
export interface Parts {
  readonly q: number[];
  readonly k: number[];
  readonly padding: number;
  /** Where gappy keys begin, and the total. */
  readonly starts: number[];
  readonly tables: number[][];
  readonly size: number;
  readonly w: number;
  readonly wl: number;
  readonly wr: number;
  readonly derived: boolean;
}

/** How sequences lie, which keys are seen, and what makes the mask. */
export type Kind = readonly [Layout, Rule, (parts: Parts) => AttentionBias | undefined];

const packed = ({ q, k }: Parts) => BlockDiagonalMask.fromSeqlens(q, k);
const padded = ({ q, k, padding }: Parts) => BlockDiagonalPaddedKeysMask.fromSeqlens(q, padding, k);

/** Starts within pages as starts along M, where each sequence has a slot of so many whole pages. */
function slots({ starts, size, q, k }: Parts) {
  const notional = Math.ceil(Math.max(0, ...starts) / size) * size;
  const along = q.map((_, b) => b * notional + starts[b]!);
  return { notional, starts: [...along, q.length * notional], q, k };
}

/** Every class by a short name. */
export const KINDS = {
  none: ["dense", ALL, () => undefined],
  causal: ["dense", CAUSAL, () => new LowerTriangularMask()],
  causalEnd: ["dense", CAUSAL_END, () => new LowerTriangularFromBottomRightMask()],
  causalLocalEnd: [
    "dense",
    CAUSAL_LOCAL_END,
    ({ w, derived }) =>
      derived
        ? new LowerTriangularFromBottomRightMask().makeLocalAttention(w)
        : new LowerTriangularFromBottomRightLocalAttentionMask(w),
  ],
  local: ["dense", LOCAL, ({ wl, wr }) => new LocalAttentionFromBottomRightMask(wl, wr)],

  packed: ["packed", ALL, packed],
  packedCausal: [
    "packed",
    CAUSAL,
    (parts) =>
      parts.derived
        ? packed(parts).makeCausal()
        : BlockDiagonalCausalMask.fromSeqlens(parts.q, parts.k),
  ],
  packedCausalEnd: [
    "packed",
    CAUSAL_END,
    (parts) =>
      parts.derived
        ? packed(parts).makeCausalFromBottomRight()
        : BlockDiagonalCausalFromBottomRightMask.fromSeqlens(parts.q, parts.k),
  ],
  packedCausalLocal: [
    "packed",
    CAUSAL_LOCAL,
    (parts) =>
      parts.derived
        ? packed(parts).makeLocalAttention(parts.w)
        : new BlockDiagonalCausalLocalAttentionMask(packed(parts), parts.w),
  ],
  packedCausalLocalEnd: [
    "packed",
    CAUSAL_LOCAL_END,
    (parts) =>
      parts.derived
        ? packed(parts).makeLocalAttentionFromBottomRight(parts.w)
        : new BlockDiagonalCausalLocalAttentionFromBottomRightMask(packed(parts), parts.w),
  ],

  padded: ["padded", ALL, padded],
  paddedCausal: [
    "padded",
    CAUSAL_END,
    ({ q, k, padding }) => CausalPaddedKeysMask.fromSeqlens(q, padding, k),
  ],
  paddedLocal: [
    "padded",
    LOCAL,
    (parts) =>
      parts.derived
        ? padded(parts).makeLocalAttention(parts.wl, parts.wr)
        : LocalPaddedKeysMask.fromSeqlensLocal(
          parts.q,
          parts.padding,
          parts.k,
          parts.wl,
          parts.wr,
        ),
  ],
  paddedCausalLocal: [
    "padded",
    CAUSAL_LOCAL_END,
    ({ q, k, padding, w }) => CausalLocalPaddedKeysMask.fromSeqlensLocal(q, padding, k, w),
  ],

  gappy: ["gappy", ALL, ({ q, k, starts }) => BlockDiagonalGappyKeysMask.fromSeqlens(q, starts, k)],
  gappyCausal: [
    "gappy",
    CAUSAL_END,
    ({ q, k, starts }) => CausalGappyKeysMask.fromSeqlens(q, starts, k),
  ],
  gappyLocal: [
    "gappy",
    LOCAL,
    ({ q, k, starts, wl, wr }) => LocalGappyKeysMask.fromSeqlensLocalGappy(q, starts, k, wl, wr),
  ],

  paged: [
    "paged",
    ALL,
    (parts) =>
      parts.derived
        ? padded(parts).makePaged(parts.tables, parts.size, PagedBlockDiagonalPaddedKeysMask)
        : PagedBlockDiagonalPaddedKeysMask.fromSeqlens(parts.q, parts.k, parts.tables, parts.size),
  ],
  pagedCausal: ["paged", CAUSAL_END, (parts) => {
    const { q, k, tables, size, derived } = parts;
    if (!derived) return PagedCausalMask.fromSeqlens(q, k, tables, size);
    return CausalPaddedKeysMask.fromSeqlens(q, parts.padding, k)
      .makePaged(tables, size, PagedCausalMask);
  }],
  pagedCausalLocal: ["paged", CAUSAL_LOCAL_END, (parts) => {
    const { q, k, tables, size, w, derived } = parts;
    if (!derived) return PagedCausalLocalMask.fromSeqlensLocal(q, k, tables, size, w);
    return CausalLocalPaddedKeysMask.fromSeqlensLocal(q, parts.padding, k, w)
      .makePaged(tables, size, PagedCausalLocalMask);
  }],
  pagedGappy: ["pagedGappy", ALL, (parts) => {
    const { q, k, starts, tables, size } = parts;
    const type = PagedBlockDiagonalGappyKeysMask;
    if (!parts.derived) return type.fromSeqlens(q, starts.slice(0, -1), k, tables, size);
    const along = slots(parts);
    return BlockDiagonalGappyKeysMask.fromSeqlens(q, along.starts, k)
      .makePaged(tables, size, along.notional, type);
  }],
  pagedCausalGappy: ["pagedGappy", CAUSAL_END, (parts) => {
    const { q, k, starts, tables, size } = parts;
    const type = PagedCausalGappyMask;
    if (!parts.derived) return type.fromSeqlens(q, starts.slice(0, -1), k, tables, size);
    const along = slots(parts);
    return CausalGappyKeysMask.fromSeqlens(q, along.starts, k)
      .makePaged(tables, size, along.notional, type);
  }],
} satisfies Record<string, Kind>;

/** A class of masks. */
export type MaskName = keyof typeof KINDS;

/** All of them. */
export const MASK_NAMES = Object.keys(KINDS) as readonly MaskName[];
