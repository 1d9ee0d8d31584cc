/** Attention and its masks. */
import {
  alibiSlopes,
  type AttentionBias,
  attentionFlops,
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  type Device,
  FlashForwardOp,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  LowerTriangularMaskWithTensorBias,
  MaskWithTensorBias,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  PagedBlockDiagonalPaddedKeysMask,
  scaledDotProductAttention,
} from "@denoformers/attention";
import { type Arguments, type Entry, entry, given, nothing } from "./_entry.ts";

const qkv = (d: Device): Arguments => ({
  query: d.ones([1, 2, 1, 4]),
  key: d.ones([1, 3, 1, 4]),
  value: d.ones([1, 3, 1, 4]),
});
/** Kinds of query, key and value. */
export const QKV = { query: "tensor", key: "tensor", value: "tensor" } as const;
const ATTENTION_KINDS = {
  ...QKV,
  attnBias: "mask",
  p: "probability",
  seed: "seed",
  scale: "finite",
  outputDtype: "dtype",
  alibiSlopes: "tensor",
  op: "choice",
  options: "options",
} as const satisfies Entry["kinds"];

const attentionOptions = (a: Arguments) =>
  given(a, {
    attnBias: a.attnBias,
    p: a.p,
    seed: a.seed,
    scale: a.scale,
    alibiSlopes: a.alibiSlopes,
    ...("outputDtype" in a && { outputDtype: a.outputDtype }),
    ...("op" in a && { op: a.op }),
  });

const FUNCTIONS = {
  memoryEfficientAttention,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
} as const;

const { op: _op, ...REASON_KINDS } = ATTENTION_KINDS;

export const ATTENTION: readonly Entry[] = [
  ...Object.entries(FUNCTIONS).map(([name, fn]) =>
    entry(name, ATTENTION_KINDS, qkv, (a) => fn(a.query, a.key, a.value, attentionOptions(a)))
  ),
  entry(
    "FlashForwardOp.notSupportedReasons",
    REASON_KINDS,
    qkv,
    (a) => FlashForwardOp.notSupportedReasons(a.query, a.key, a.value, attentionOptions(a)),
  ),
  entry(
    "memoryEfficientAttentionBackward",
    { ...ATTENTION_KINDS, outputDtype: "number", grad: "tensor", output: "tensor", lse: "tensor" },
    (d) => ({
      ...qkv(d),
      grad: d.ones([1, 2, 1, 4]),
      output: d.ones([1, 2, 1, 4]),
      lse: d.ones([1, 1, 2]),
    }),
    (a) => {
      // There is no element type of the result here; a wrong gradient stands in for it.
      const grad = "outputDtype" in a ? a.outputDtype : a.grad;
      const { outputDtype: _, ...rest } = a;
      const options = attentionOptions(rest);
      return memoryEfficientAttentionBackward(
        grad,
        a.output,
        a.lse,
        a.query,
        a.key,
        a.value,
        options,
      );
    },
  ),
  entry(
    "scaledDotProductAttention",
    {
      ...QKV,
      attnMask: "mask",
      dropoutP: "probability",
      scale: "finite",
      seed: "seed",
      op: "choice",
      options: "options",
    },
    (d) => ({ query: d.ones([1, 2, 4]), key: d.ones([1, 3, 4]), value: d.ones([1, 3, 4]) }),
    (a) =>
      scaledDotProductAttention(
        a.query,
        a.key,
        a.value,
        given(a, {
          attnMask: a.attnMask,
          dropoutP: a.dropoutP,
          scale: a.scale,
          seed: a.seed,
          op: a.op,
        }),
      ),
  ),
  entry(
    "mergeAttentions",
    { attnSplit: "tensors", lseSplit: "tensors", outputDtype: "dtype", options: "options" },
    (d) => ({ attnSplit: [d.ones([1, 2, 1, 4])], lseSplit: [d.ones([1, 1, 2])] }),
    (a) => mergeAttentions(a.attnSplit, a.lseSplit, given(a, { outputDtype: a.outputDtype })),
  ),
  entry(
    "attentionFlops",
    { query: "record", key: "record", value: "record", options: "options", attnBias: "choice" },
    qkv,
    (a) => attentionFlops(a.query, a.key, a.value, given(a, { attnBias: a.attnBias })),
  ),
  entry("alibiSlopes", { numHeads: "count" }, nothing, (a) => alibiSlopes(a.numHeads)),
];

const padded = () => ({ qSeqlen: [1, 2], kvPadding: 4, kvSeqlen: [2, 3] });
const gappy = () => ({ qSeqlen: [1, 2], kvSeqstarts: [0, 3, 6], kvSeqlen: [2, 3] });

export const MASKS: readonly Entry[] = [
  entry(
    "AttentionBias.materialize",
    { shape: "shape" },
    () => ({ shape: [2, 3] }),
    (a) => new LowerTriangularMask().materialize(a.shape),
  ),
  entry(
    "AttentionBias.addBias",
    { tensor: "kept" },
    nothing,
    (a) => new LowerTriangularFromBottomRightMask().addBias(a.tensor),
  ),
  entry(
    "LowerTriangularMask.addBias",
    { tensor: "kept" },
    nothing,
    (a) => new LowerTriangularMask().addBias(a.tensor),
  ),
  entry(
    "LowerTriangularMaskWithTensorBias",
    { tensor: "kept" },
    nothing,
    (a) => new LowerTriangularMaskWithTensorBias(a.tensor),
  ),
  entry(
    "MaskWithTensorBias",
    { mask: "instance", tensor: "kept" },
    (d) => ({ mask: new LowerTriangularMask(), tensor: d.ones([2, 3]) }),
    (a) => new MaskWithTensorBias(a.mask as AttentionBias, a.tensor),
  ),
  entry(
    "LowerTriangularFromBottomRightMask.makeLocalAttention",
    { w: "count" },
    nothing,
    (a) =>
      new LowerTriangularFromBottomRightMask().makeLocalAttention(a.w === Infinity ? NaN : a.w),
  ),
  entry(
    "LowerTriangularFromBottomRightLocalAttentionMask",
    { w: "count" },
    nothing,
    (a) => new LowerTriangularFromBottomRightLocalAttentionMask(a.w === Infinity ? NaN : a.w),
  ),
  entry(
    "LocalAttentionFromBottomRightMask",
    { l: "positive", r: "positive" },
    () => ({ l: 1, r: 1 }),
    (a) => new LocalAttentionFromBottomRightMask(a.l, a.r),
  ),
  entry(
    "BlockDiagonalMask",
    { options: "options" },
    nothing,
    (a) => new BlockDiagonalMask(given(a, {})),
  ),
  entry(
    "BlockDiagonalMask.fromSeqlens",
    { q: "lengths", k: "lengths" },
    () => ({ q: [1], k: [1] }),
    (a) => BlockDiagonalMask.fromSeqlens(a.q, a.k),
  ),
  entry(
    "BlockDiagonalMask.fromTensorList",
    { tensors: "tensors" },
    nothing,
    (a) => BlockDiagonalMask.fromTensorList(a.tensors),
  ),
  entry(
    "BlockDiagonalMask.fromTensorListsQkv",
    { q: "tensors", k: "tensors", v: "tensors" },
    (d) => ({ q: [d.ones([1, 2, 1, 4])], k: [d.ones([1, 3, 1, 4])] }),
    (a) => BlockDiagonalMask.fromTensorListsQkv(a.q, a.k, a.v),
  ),
  ...(["split", "splitQueries", "splitKv"] as const).map((name) =>
    entry(
      `BlockDiagonalMask.${name}`,
      { tensor: "tensor" },
      nothing,
      (a) => BlockDiagonalMask.fromSeqlens([1, 2])[name](a.tensor),
    )
  ),
  ...(["makeLocalAttention", "makeLocalAttentionFromBottomRight"] as const).map((name) =>
    entry(
      `BlockDiagonalMask.${name}`,
      { w: "count" },
      nothing,
      (a) => BlockDiagonalMask.fromSeqlens([1, 2])[name](a.w === Infinity ? NaN : a.w),
    )
  ),
  entry(
    "BlockDiagonalCausalFromBottomRightMask.makeLocalAttention",
    { w: "count" },
    nothing,
    (a) =>
      BlockDiagonalCausalFromBottomRightMask.fromSeqlens([1]).makeLocalAttention(
        a.w === Infinity ? NaN : a.w,
      ),
  ),
  entry(
    "BlockDiagonalPaddedKeysMask",
    { options: "options" },
    nothing,
    (a) => new BlockDiagonalPaddedKeysMask(given(a, {})),
  ),
  entry(
    "BlockDiagonalPaddedKeysMask.fromSeqlens",
    { qSeqlen: "lengths", kvSeqlen: "lengths", kvPadding: "count" },
    padded,
    (a) => BlockDiagonalPaddedKeysMask.fromSeqlens(a.qSeqlen, a.kvPadding, a.kvSeqlen),
  ),
  entry(
    "BlockDiagonalPaddedKeysMask.makePaged",
    { tables: "tensors", pageSize: "count", type: "fn" },
    () => ({ tables: [[0, 1], [2, 3]], pageSize: 2, type: PagedBlockDiagonalPaddedKeysMask }),
    (a) => {
      const { qSeqlen, kvPadding, kvSeqlen } = padded();
      const mask = BlockDiagonalPaddedKeysMask.fromSeqlens(qSeqlen, kvPadding, kvSeqlen);
      return mask.makePaged(a.tables, a.pageSize, a.type);
    },
  ),
  entry(
    "BlockDiagonalGappyKeysMask",
    { options: "options" },
    nothing,
    (a) => new BlockDiagonalGappyKeysMask(given(a, {})),
  ),
  entry(
    "BlockDiagonalGappyKeysMask.fromSeqlens",
    { qSeqlen: "lengths", kvSeqstarts: "lengths", kvSeqlen: "lengths" },
    gappy,
    (a) => BlockDiagonalGappyKeysMask.fromSeqlens(a.qSeqlen, a.kvSeqstarts, a.kvSeqlen),
  ),
];
