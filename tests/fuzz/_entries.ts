/** Public functions, each with arguments that are right, and of what kind each of these is. */
import {
  AdamW,
  alibiSlopes,
  Attention,
  type AttentionBias,
  attentionFlops,
  Block,
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalGappyKeysMask,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  cat,
  checkpoint,
  clipGradNorm,
  cosineSchedule,
  crossEntropy,
  customFunction,
  type Device,
  Dropout,
  DropPath,
  Embedding,
  FlashForwardOp,
  LayerNorm,
  LayerScale,
  Linear,
  linear,
  listSafetensors,
  loadSafetensors,
  loadTrainingState,
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
  Mlp,
  mseLoss,
  MultiheadAttention,
  noGrad,
  PagedBlockDiagonalPaddedKeysMask,
  parameter,
  readSafetensorsMetadata,
  requestDevice,
  saveSafetensors,
  scaledDotProductAttention,
  SGD,
  stack,
  type Tensor,
  tidy,
  trainingState,
} from "@denoformers/attention";
import { assertAllClose, gradCheck } from "@denoformers/attention/testing";
import type { Kind } from "./_junk.ts";

/** Arguments by name; `options` stands for all options at once. */
// deno-lint-ignore no-explicit-any -- arguments that are wrong have no type
export type Arguments = Record<string, any>;

/** A public function. */
export interface Entry {
  /** As `Class.method`, or the function's own. */
  readonly name: string;
  readonly kinds: Readonly<Record<string, Kind>>;
  /** Arguments that are right; those of options may be missing. */
  readonly right: (device: Device) => Arguments;
  readonly call: (args: Arguments, device: Device) => unknown;
}

const owned: { dispose(): void }[] = [];

/** A layer or an optimiser whose tensors no scope disposes: {@linkcode disposeOwned} does. */
function own<T extends { dispose(): void }>(made: T): T {
  owned.push(made);
  return made;
}

/** Disposes what calls have made that belongs to no scope. */
export function disposeOwned(): void {
  for (const made of owned.splice(0)) made.dispose();
}

/** All options as they were spoiled, or these. */
function given(args: Arguments, options: Record<string, unknown>): never {
  if ("options" in args) return args.options as never;
  const wanted = Object.entries(options).filter(([name, value]) =>
    value !== undefined || name in args
  );
  return Object.fromEntries(wanted) as never;
}

const entry = (
  name: string,
  kinds: Entry["kinds"],
  right: Entry["right"],
  call: Entry["call"],
): Entry => ({ name, kinds, right, call });

const nothing = () => ({});
const withX = (rest: Arguments = {}) => (device: Device) => ({ x: device.ones([2, 3]), ...rest });

const RANDOM: readonly Entry[] = (["rand", "randn"] as const).map((name) =>
  entry(
    `Device.${name}`,
    { shape: "shape", seed: "seed", dtype: "dtype", options: "options" },
    () => ({ shape: [2] }),
    (a, device) => device[name](a.shape, given(a, { seed: a.seed, dtype: a.dtype })),
  )
);

const FACTORIES: readonly Entry[] = [
  ...RANDOM,
  ...(["zeros", "ones"] as const).map((name) =>
    entry(
      `Device.${name}`,
      { shape: "shape", dtype: "dtype", options: "options" },
      () => ({ shape: [2] }),
      (a, device) => device[name](a.shape, given(a, { dtype: a.dtype })),
    )
  ),
  entry(
    "Device.full",
    { shape: "shape", value: "number", dtype: "dtype", options: "options" },
    () => ({ shape: [2], value: 1 }),
    (a, device) => device.full(a.shape, a.value, given(a, { dtype: a.dtype })),
  ),
  entry(
    "Device.arange",
    { start: "finite", end: "finite", step: "finite", dtype: "dtype", options: "options" },
    () => ({ start: 0, end: 3, step: 1 }),
    (a, device) => device.arange(a.start, a.end, a.step, given(a, { dtype: a.dtype })),
  ),
  entry(
    "Device.tensor",
    { data: "source", shape: "shape", dtype: "dtype", options: "options" },
    () => ({ data: [1, 2] }),
    (a, device) => device.tensor(a.data, given(a, { shape: a.shape, dtype: a.dtype })),
  ),
  entry("Device.profile", { fn: "fn" }, nothing, (a, device) => device.profile(a.fn)),
  entry(
    "requestDevice",
    { options: "options", tune: "tune", limits: "limits" },
    nothing,
    (a) => requestDevice(given(a, { tune: a.tune, limits: a.limits })),
  ),
];

const VIEWS: readonly Entry[] = [
  entry("Tensor.reshape", { shape: "sizes" }, withX({ shape: [6] }), (a) => a.x.reshape(a.shape)),
  entry(
    "Tensor.expand",
    { shape: "sizes" },
    withX({ shape: [1, 2, 3] }),
    (a) => a.x.expand(a.shape),
  ),
  entry(
    "Tensor.permute",
    { order: "order" },
    withX({ order: [1, 0] }),
    (a) => a.x.permute(a.order),
  ),
  entry(
    "Tensor.transpose",
    { a: "axis", b: "axis" },
    withX({ a: 0, b: 1 }),
    (a) => a.x.transpose(a.a, a.b),
  ),
  entry(
    "Tensor.slice",
    { axis: "axis", start: "index", end: "index", step: "count" },
    withX({ axis: 0, start: 0, step: 1 }),
    (a) => a.x.slice(a.axis, a.start, a.end, a.step),
  ),
  entry(
    "Tensor.select",
    { axis: "axis", index: "index" },
    withX({ axis: 0, index: 0 }),
    (a) => a.x.select(a.axis, a.index),
  ),
  entry("Tensor.unbind", { axis: "axis" }, withX({ axis: 0 }), (a) => a.x.unbind(a.axis)),
  entry(
    "Tensor.chunk",
    { count: "count", axis: "axis" },
    withX({ count: 2, axis: 0 }),
    (a) => a.x.chunk(a.count, a.axis),
  ),
  entry(
    "Tensor.indexSelect",
    { axis: "axis", indices: "indices" },
    withX({ axis: 0, indices: [1] }),
    (a) => a.x.indexSelect(a.axis, a.indices),
  ),
  entry(
    "Tensor.squeeze",
    { axis: "axis" },
    (d) => ({ x: d.ones([1, 3]), axis: 0 }),
    (a) => a.x.squeeze(a.axis),
  ),
  entry("Tensor.unsqueeze", { axis: "axis" }, withX({ axis: 0 }), (a) => a.x.unsqueeze(a.axis)),
  entry("Tensor.to", { dtype: "dtype" }, withX({ dtype: "i32" }), (a) => a.x.to(a.dtype)),
  entry(
    "cat",
    { tensors: "tensors", axis: "axis" },
    (d) => ({ tensors: [d.ones([2, 3])], axis: 0 }),
    (a) => cat(a.tensors, a.axis),
  ),
  entry(
    "stack",
    { tensors: "tensors", axis: "axis" },
    (d) => ({ tensors: [d.ones([2, 3])], axis: 0 }),
    (a) => stack(a.tensors, a.axis),
  ),
];

const BINARY_NAMES = [
  "add",
  "sub",
  "mul",
  "div",
  "pow",
  "maximum",
  "minimum",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
] as const;

const ARITHMETIC: readonly Entry[] = [
  ...BINARY_NAMES.map((name) =>
    entry(`Tensor.${name}`, { other: "operand" }, withX({ other: 1 }), (a) => a.x[name](a.other))
  ),
  ...(["logicalAnd", "logicalOr"] as const).map((name) =>
    entry(
      `Tensor.${name}`,
      { other: "tensor" },
      (d) => ({ x: d.ones([2, 3], { dtype: "bool" }), other: d.ones([2, 3], { dtype: "bool" }) }),
      (a) => a.x[name](a.other),
    )
  ),
  entry(
    "Tensor.gelu",
    { approximate: "choice", options: "options" },
    withX(),
    (a) => a.x.gelu(given(a, { approximate: a.approximate })),
  ),
  entry(
    "Tensor.where",
    { condition: "tensor", other: "operand" },
    (d) => ({ x: d.ones([2, 3]), condition: d.ones([2, 3], { dtype: "bool" }), other: 0 }),
    (a) => a.x.where(a.condition, a.other),
  ),
  entry(
    "Tensor.maskedFill",
    { mask: "tensor", value: "number" },
    (d) => ({ x: d.ones([2, 3]), mask: d.ones([2, 3], { dtype: "bool" }), value: 0 }),
    (a) => a.x.maskedFill(a.mask, a.value),
  ),
  entry(
    "Tensor.dropout",
    { p: "probability", seed: "seed", options: "options" },
    withX({ p: 0.5 }),
    (a) => a.x.dropout(a.p, given(a, { seed: a.seed })),
  ),
  ...(["sum", "mean", "max", "min"] as const).map((name) =>
    entry(
      `Tensor.${name}`,
      { axis: "axes", options: "options" },
      withX(),
      (a) => a.x[name](given(a, { axis: a.axis })),
    )
  ),
  entry("Tensor.softmax", { axis: "axis" }, withX({ axis: 0 }), (a) => a.x.softmax(a.axis)),
  entry(
    "Tensor.logSumExp",
    { axis: "axis", options: "options" },
    withX({ axis: 0 }),
    (a) => a.x.logSumExp(a.axis, given(a, {})),
  ),
  entry(
    "Tensor.matmul",
    { other: "tensor" },
    (d) => ({ x: d.ones([2, 3]), other: d.ones([3, 2]) }),
    (a) => a.x.matmul(a.other),
  ),
  entry(
    "Tensor.layerNorm",
    { weight: "tensor", bias: "tensor", epsilon: "positive", options: "options" },
    withX(),
    (a) => a.x.layerNorm(given(a, { weight: a.weight, bias: a.bias, epsilon: a.epsilon })),
  ),
  entry(
    "linear",
    { x: "tensor", weight: "tensor", bias: "tensor" },
    (d) => ({ x: d.ones([2, 3]), weight: d.ones([4, 3]) }),
    (a) => linear(a.x, a.weight, a.bias),
  ),
  entry("Tensor.copyFrom", { source: "tensor" }, withX(), (a) => a.x.copyFrom(a.source)),
];

const AUTOGRAD: readonly Entry[] = [
  entry(
    "DifferentiableTensor.backward",
    { gradient: "tensor", options: "options" },
    (d) => ({ x: d.ones([2, 3], { requiresGrad: true }) }),
    (a, d) => a.x.mul(2).backward("gradient" in a ? a.gradient : d.ones([2, 3]), given(a, {})),
  ),
  entry("noGrad", { fn: "fn" }, nothing, (a) => noGrad(a.fn)),
  entry("tidy", { fn: "fn" }, nothing, (a) => tidy(a.fn)),
  entry(
    "checkpoint",
    { fn: "fn", inputs: "input" },
    (d) => ({ fn: (x: Tensor) => x.exp(), inputs: d.ones([2]) }),
    (a) => checkpoint(a.fn, a.inputs),
  ),
  entry(
    "customFunction",
    { definition: "options", forward: "fn", backward: "fn", input: "input" },
    (d) => ({
      forward: (_: unknown, x: Tensor) => x.exp(),
      backward: (_: unknown, g: Tensor) => g,
      input: d.ones([2]),
    }),
    (a) =>
      customFunction(
        "definition" in a ? a.definition : { name: "f", forward: a.forward, backward: a.backward },
      )(a.input),
  ),
];

const qkv = (d: Device): Arguments => ({
  query: d.ones([1, 2, 1, 4]),
  key: d.ones([1, 3, 1, 4]),
  value: d.ones([1, 3, 1, 4]),
});
const QKV = { query: "tensor", key: "tensor", value: "tensor" } as const;
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

const ATTENTION: readonly Entry[] = [
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

const MASKS: readonly Entry[] = [
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

const forward = (
  name: string,
  kinds: Entry["kinds"],
  // deno-lint-ignore no-explicit-any -- forward() of a layer takes what the layer says
  make: (d: Device) => any,
  rest: Arguments = {},
): Entry =>
  entry(
    `${name}.forward`,
    { x: "tensor", ...kinds },
    (d) => ({ x: d.ones([1, 2, 4]), ...rest }),
    (a, d) => {
      return own(make(d)).forward(a.x, given(a, { attnBias: a.attnBias }));
    },
  );

const mha = (d: Device) => own(new MultiheadAttention(d, 4, 2, { seed: 1 }));

const LAYERS: readonly Entry[] = [
  entry(
    "Linear",
    { device: "device", i: "count", o: "count", seed: "seed", options: "options" },
    (d) => ({ device: d, i: 2, o: 3 }),
    (a) => own(new Linear(a.device, a.i, a.o, given(a, { seed: a.seed }))),
  ),
  entry(
    "LayerNorm",
    { device: "device", dim: "count", epsilon: "positive", options: "options" },
    (d) => ({ device: d, dim: 2 }),
    (a) => own(new LayerNorm(a.device, a.dim, given(a, { epsilon: a.epsilon }))),
  ),
  entry(
    "LayerScale",
    { device: "device", dim: "count", initValues: "number", options: "options" },
    (d) => ({ device: d, dim: 2 }),
    (a) => own(new LayerScale(a.device, a.dim, given(a, { initValues: a.initValues }))),
  ),
  entry(
    "Embedding",
    {
      device: "device",
      n: "count",
      dim: "count",
      seed: "seed",
      paddingIdx: "index",
      options: "options",
    },
    (d) => ({ device: d, n: 3, dim: 2 }),
    (a) =>
      own(
        new Embedding(a.device, a.n, a.dim, given(a, { seed: a.seed, paddingIdx: a.paddingIdx })),
      ),
  ),
  entry(
    "Dropout",
    { p: "probability", seed: "seed", options: "options" },
    () => ({ p: 0.5 }),
    (a) => new Dropout(a.p, given(a, { seed: a.seed })),
  ),
  entry(
    "DropPath",
    { p: "probability", seed: "seed", options: "options" },
    () => ({ p: 0.5 }),
    (a) => new DropPath(a.p, given(a, { seed: a.seed })),
  ),
  entry(
    "Mlp",
    {
      device: "device",
      dim: "count",
      hiddenFeatures: "count",
      outFeatures: "count",
      drop: "probability",
      seed: "seed",
      options: "options",
    },
    (d) => ({ device: d, dim: 2 }),
    (a) =>
      own(
        new Mlp(
          a.device,
          a.dim,
          given(a, {
            hiddenFeatures: a.hiddenFeatures,
            outFeatures: a.outFeatures,
            drop: a.drop,
            seed: a.seed,
          }),
        ),
      ),
  ),
  entry(
    "Attention",
    {
      device: "device",
      dim: "count",
      numHeads: "count",
      attnDrop: "probability",
      projDrop: "probability",
      normEpsilon: "positive",
      seed: "seed",
      attention: "choice",
      options: "options",
    },
    (d) => ({ device: d, dim: 8 }),
    (a) =>
      own(
        new Attention(
          a.device,
          a.dim,
          given(a, {
            numHeads: a.numHeads,
            attnDrop: a.attnDrop,
            projDrop: a.projDrop,
            normEpsilon: a.normEpsilon,
            qkNorm: true,
            seed: a.seed,
            attention: a.attention,
          }),
        ),
      ),
  ),
  entry(
    "Block",
    {
      device: "device",
      dim: "count",
      mlpRatio: "count",
      dropPath: "probability",
      initValues: "number",
      normEpsilon: "positive",
      seed: "seed",
      options: "options",
    },
    (d) => ({ device: d, dim: 8 }),
    (a) =>
      own(
        new Block(
          a.device,
          a.dim,
          given(a, {
            mlpRatio: a.mlpRatio === 1.5 ? -1.5 : a.mlpRatio,
            dropPath: a.dropPath,
            initValues: a.initValues,
            normEpsilon: a.normEpsilon,
            seed: a.seed,
          }),
        ),
      ),
  ),
  entry(
    "MultiheadAttention",
    {
      device: "device",
      dim: "count",
      heads: "count",
      dropout: "probability",
      kdim: "count",
      vdim: "count",
      seed: "seed",
      options: "options",
    },
    (d) => ({ device: d, dim: 4, heads: 2 }),
    (a) =>
      own(
        new MultiheadAttention(
          a.device,
          a.dim,
          a.heads,
          given(a, { dropout: a.dropout, kdim: a.kdim, vdim: a.vdim, seed: a.seed }),
        ),
      ),
  ),
  forward("Linear", {}, (d) => new Linear(d, 4, 2, { seed: 1 })),
  forward("LayerNorm", {}, (d) => new LayerNorm(d, 4)),
  forward("LayerScale", {}, (d) => new LayerScale(d, 4)),
  forward("Mlp", {}, (d) => new Mlp(d, 4, { seed: 1 })),
  forward("Dropout", { x: "input" }, () => new Dropout(0.5)),
  forward("DropPath", { x: "input" }, () => new DropPath(0.5)),
  forward(
    "Attention",
    { attnBias: "mask", options: "options" },
    (d) => new Attention(d, 4, { numHeads: 2, seed: 1 }),
  ),
  forward(
    "Block",
    { attnBias: "mask", options: "options" },
    (d) => new Block(d, 4, { numHeads: 2, seed: 1 }),
  ),
  entry(
    "Embedding.forward",
    { indices: "source" },
    nothing,
    (a, d) => own(new Embedding(d, 3, 2)).forward(a.indices),
  ),
  entry(
    "MultiheadAttention.forward",
    { ...QKV, attnMask: "tensor", keyPaddingMask: "tensor", options: "options" },
    (d) => ({ query: d.ones([2, 1, 4]), key: d.ones([3, 1, 4]), value: d.ones([3, 1, 4]) }),
    (a, d) =>
      mha(d).forward(
        a.query,
        a.key,
        a.value,
        given(a, { attnMask: a.attnMask, keyPaddingMask: a.keyPaddingMask }),
      ),
  ),
  entry("Module.to", { dtype: "dtype" }, nothing, (a, d) => own(new Linear(d, 2, 2)).to(a.dtype)),
  entry(
    "Module.loadStateDict",
    { state: "record", weight: "tensor", options: "options" },
    (d) => ({ weight: d.ones([2, 2]) }),
    (a, d) =>
      own(new Linear(d, 2, 2, { bias: false })).loadStateDict(
        "state" in a ? a.state : { weight: a.weight },
        given(a, {}),
      ),
  ),
  entry("parameter", { make: "fn" }, nothing, (a) => own(parameter(a.make))),
  entry(
    "crossEntropy",
    {
      logits: "input",
      target: "source",
      reduction: "choice",
      ignoreIndex: "finite",
      labelSmoothing: "probability",
      options: "options",
    },
    (d) => ({ logits: d.ones([2, 3]), target: [0, 1] }),
    (a) =>
      crossEntropy(
        a.logits,
        a.target,
        given(a, {
          reduction: a.reduction,
          ignoreIndex: a.ignoreIndex,
          labelSmoothing: a.labelSmoothing,
        }),
      ),
  ),
  entry(
    "mseLoss",
    { input: "tensor", target: "tensor", reduction: "choice", options: "options" },
    (d) => ({ input: d.ones([2, 3]), target: d.ones([2, 3]) }),
    (a) => mseLoss(a.input, a.target, given(a, { reduction: a.reduction })),
  ),
];

const leaf = (d: Device) => ({ parameters: [d.ones([2], { requiresGrad: true })] });

const TRAINING: readonly Entry[] = [
  entry(
    "SGD",
    {
      parameters: "tensors",
      learningRate: "positive",
      momentum: "positive",
      dampening: "finite",
      weightDecay: "positive",
      options: "options",
    },
    (d) => ({ ...leaf(d), learningRate: 1 }),
    (a) =>
      new SGD(
        a.parameters,
        given(a, {
          learningRate: a.learningRate,
          momentum: a.momentum,
          dampening: a.dampening,
          weightDecay: a.weightDecay,
        }),
      ),
  ),
  entry(
    "AdamW",
    {
      parameters: "tensors",
      learningRate: "positive",
      betas: "tensors",
      epsilon: "positive",
      weightDecay: "positive",
      options: "options",
    },
    leaf,
    (a) =>
      new AdamW(
        a.parameters,
        given(a, {
          learningRate: a.learningRate,
          betas: a.betas,
          epsilon: a.epsilon,
          weightDecay: a.weightDecay,
        }),
      ),
  ),
  entry(
    "Optimizer.learningRate",
    { rate: "positive" },
    leaf,
    (a) => new SGD(a.parameters, { learningRate: 1 }).learningRate = a.rate,
  ),
  entry(
    "Optimizer.loadStateDict",
    { state: "record", tensors: "record", numbers: "record" },
    leaf,
    (a) =>
      new AdamW(a.parameters).loadStateDict(
        "state" in a ? a.state : { tensors: {}, numbers: { learningRate: 1 }, ...a } as never,
      ),
  ),
  entry(
    "clipGradNorm",
    { parameters: "tensors", maxNorm: "positive", normType: "choice", options: "options" },
    (d) => ({ ...leaf(d), maxNorm: 1 }),
    (a) => clipGradNorm(a.parameters, a.maxNorm, given(a, { normType: a.normType })),
  ),
  entry(
    "cosineSchedule",
    {
      step: "positive",
      warmupSteps: "positive",
      totalSteps: "positive",
      peak: "finite",
      floor: "finite",
      options: "options",
    },
    () => ({ step: 1, totalSteps: 3, peak: 1 }),
    (a) =>
      cosineSchedule(
        a.step,
        given(a, {
          totalSteps: a.totalSteps,
          peak: a.peak,
          warmupSteps: a.warmupSteps,
          floor: a.floor,
        }),
      ),
  ),
  entry(
    "trainingState",
    { model: "record", optimizer: "record" },
    (d) => ({ model: own(new Linear(d, 2, 2)), ...leaf(d) }),
    (a, d) =>
      trainingState(
        "model" in a ? a.model : own(new Linear(d, 2, 2)),
        "optimizer" in a ? a.optimizer : new AdamW(a.parameters),
      ),
  ),
  entry(
    "loadTrainingState",
    { state: "record", tensors: "record", metadata: "record", model: "record" },
    (d) => ({ ...leaf(d), tensors: {}, metadata: {} }),
    (a, d) =>
      loadTrainingState(
        "state" in a ? a.state : { tensors: a.tensors, metadata: a.metadata },
        "model" in a ? a.model : own(new Linear(d, 2, 2)),
        new AdamW(a.parameters),
      ),
  ),
  entry(
    "loadSafetensors",
    { device: "device", file: "bytes", filter: "fn", options: "options" },
    (d) => ({ device: d }),
    (a) => loadSafetensors(a.device, a.file ?? new Uint8Array(8), given(a, { filter: a.filter })),
  ),
  entry("listSafetensors", { file: "bytes" }, nothing, (a) => listSafetensors(a.file)),
  entry(
    "readSafetensorsMetadata",
    { file: "bytes" },
    nothing,
    (a) => readSafetensorsMetadata(a.file),
  ),
  entry(
    "saveSafetensors",
    { tensors: "record", tensor: "input", options: "options", metadata: "record" },
    (d) => ({ tensor: d.ones([2]) }),
    (a) =>
      saveSafetensors(
        "tensors" in a ? a.tensors : { x: a.tensor },
        given(a, { metadata: a.metadata }),
      ),
  ),
  entry(
    "gradCheck",
    { fn: "fn", inputs: "tensors", options: "options" },
    (d) => ({ fn: (x: Tensor) => x.mul(2), inputs: [d.ones([2])] }),
    (a) => gradCheck(a.fn, a.inputs, given(a, {})),
  ),
  entry(
    "assertAllClose",
    { actual: "instance", options: "options", atol: "positive" },
    () => ({ actual: [1] }),
    (a) =>
      assertAllClose(a.actual, [1], given(a, { atol: a.atol, rtol: "atol" in a ? 0 : undefined })),
  ),
];

/** All of them. */
export const ENTRIES: readonly Entry[] = [
  ...FACTORIES,
  ...VIEWS,
  ...ARITHMETIC,
  ...AUTOGRAD,
  ...ATTENTION,
  ...MASKS,
  ...LAYERS,
  ...TRAINING,
];
