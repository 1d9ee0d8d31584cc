/** Layers. */
import {
  Attention,
  Block,
  crossEntropy,
  type Device,
  Dropout,
  DropPath,
  Embedding,
  LayerNorm,
  LayerScale,
  Linear,
  Mlp,
  mseLoss,
  MultiheadAttention,
  parameter,
} from "@denoformers/attention";
import { QKV } from "./_entries_attention.ts";
import { type Arguments, type Entry, entry, given, nothing, own } from "./_entry.ts";

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

export const LAYERS: readonly Entry[] = [
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
