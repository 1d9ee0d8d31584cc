/** What errors say cannot be done where that is not the function's name; and wrong calls of single functions. */
import {
  AdamW,
  Attention,
  attentionFlops,
  Block,
  BlockDiagonalMask,
  cat,
  clipGradNorm,
  crossEntropy,
  customFunction,
  Device,
  Dropout,
  Embedding,
  LayerNorm,
  Linear,
  linear,
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  Mlp,
  mseLoss,
  MultiheadAttention,
  scaledDotProductAttention,
  SGD,
  stack,
  Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { progress } from "../notebooks/display/progress.ts";

/** By the beginning of an entry's name; several where it depends on the argument. */
const ACTIONS: readonly (readonly [name: RegExp, ...actions: string[]])[] = [
  [/^Device\.arange$/, "make a range", "create a tensor"],
  [/^Device\.(?!profile)/, "create a tensor"],
  [/^Tensor\.indexSelect$/, "use a disposed tensor", "compute with tensors of two devices"],
  [/^Tensor\.logical/, "compute logical "],
  [/^requestDevice$/, "request a device"],
  [/^Tensor\.to$/, "convert a tensor"],
  [/^customFunction$/, "make a function", "make the function", "run f"],
  [/^(Embedding\.forward|crossEntropy)$/, "run Embedding", "create a tensor"],
  [/^FlashForwardOp/, "run flashF"],
  [/^scaledDotProductAttention$/, "run memoryEfficientAttention"],
  [/^mergeAttentions$/, "merge attentions"],
  [/^attentionFlops$/, "count attention's operations"],
  [/^alibiSlopes$/, "compute ALiBi slopes"],
  [/Bias$/, "add a tensor bias"],
  [/fromTensorList/, "pack tensors"],
  [/^BlockDiagonalMask\.split/, "split a tensor"],
  [/makePaged$/, "make a paged mask", "make a PagedBlockDiagonalPaddedKeysMask"],
  [/(fromSeqlens|makeLocalAttention\w*)$/, "make a BlockDiagonal", "make a LowerTriangular"],
  [/^(Attention|Block)\.forward$/, "run Attention", "run Block", "run memoryEfficientAttention"],
  [/\.forward$/, "run "],
  [/^Module\.to$/, "convert Linear"],
  [/^Module\.loadStateDict$/, "load weights into Linear"],
  [/^(AdamW|SGD|parameter|Optimizer\.learningRate)$/, "make a", "set the learning rate"],
  [/^Optimizer\.loadStateDict$/, "load the state of AdamW"],
  [/^clipGradNorm$/, "clip gradients"],
  [/^cosineSchedule$/, "schedule"],
  [/^trainingState$/, "keep a training"],
  [/^loadTrainingState$/, "load a training"],
  [/^(load|read|list)Safetensors/, "load safetensors", "read safetensors"],
  [/^saveSafetensors$/, "save safetensors"],
  [/^assertAllClose$/, "compare tensors"],
  // Of the helpers of notebooks.
  [/^(table|heatmap)$/, "show a table", "show a heatmap"],
  [/^chooseSize$/, "choose sizes"],
  [/^sharedDevice$/, "share the device"],
];

/** What errors of an entry say cannot be done: one of these. */
export function actionsOf(name: string): string[] {
  const [, ...actions] = ACTIONS.find(([pattern]) => pattern.test(name)) ?? [];
  return [name.split(".").at(-1)!, ...actions, "use seed"];
}

// deno-lint-ignore no-explicit-any -- wrong calls have no type
type Call = (device: Device, x: any) => unknown;

// deno-lint-ignore no-explicit-any -- wrong calls have no type
const any = (value: unknown) => value as any;
const mask = () => any(new LowerTriangularMask());
const leaf = (device: Device): Tensor[] => [device.ones([2], { requiresGrad: true })];

/** By the name of the entry; `x` is a tensor `[1, 4, 2, 8]`. What the error must say, and the call. */
export const OWN_CALLS: Readonly<Record<string, readonly (readonly [says: string, call: Call])[]>> =
  {
    memoryEfficientAttention: [
      ["write { attnBias: mask }", (_, x) => memoryEfficientAttention(x, x, x, mask())],
      [
        "write { attnBias: tensor }",
        (d, x) => memoryEfficientAttention(x, x, x, any(d.ones([4, 4]))),
      ],
      ["write { p: 0.1 }", (_, x) => memoryEfficientAttention(x, x, x, any(0.1))],
      ["value is LowerTriangularMask", (_, x) => memoryEfficientAttention(x, x, mask())],
      ["value is undefined", (_, x) => any(memoryEfficientAttention)(x, x)],
      [
        "query is a list of 3",
        (_, x) => memoryEfficientAttention(any([x, x, x]), any({}), any({})),
      ],
      ["query is a Promise", (_, x) => memoryEfficientAttention(any(Promise.resolve(x)), x, x)],
      [
        'attnBias is "causal"',
        (_, x) => memoryEfficientAttention(x, x, x, { attnBias: any("causal") }),
      ],
      [
        "attnBias is a function",
        (_, x) => memoryEfficientAttention(x, x, x, { attnBias: any(LowerTriangularMask) }),
      ],
      [
        "write { attnBias, p: 0.1",
        (_, x) => any(memoryEfficientAttention)(x, x, x, undefined, 0.1),
      ],
      ["write { attnBias, p: 0.1", (_, x) => any(memoryEfficientAttention)(x, x, x, {}, 0, 0.5)],
      ["attnBias is true", (_, x) => memoryEfficientAttention(x, x, x, { attnBias: any(true) })],
    ],
    memoryEfficientAttentionForward: [[
      "argument 5 is 0.1",
      (_, x) => any(memoryEfficientAttentionForward)(x, x, x, undefined, 0.1),
    ]],
    memoryEfficientAttentionForwardRequiresGrad: [[
      "argument 5 is 0.1",
      (_, x) => any(memoryEfficientAttentionForwardRequiresGrad)(x, x, x, undefined, 0.1),
    ]],
    memoryEfficientAttentionPartial: [
      [
        "argument 5 is 0.1",
        (_, x) => any(memoryEfficientAttentionPartial)(x, x, x, undefined, 0.1),
      ],
      ["write { attnBias: mask }", (_, x) => memoryEfficientAttentionPartial(x, x, x, mask())],
      ['"q_seqinfo"', (_, x) => memoryEfficientAttentionPartial(x, x, x, any({ q_seqinfo: 1 }))],
    ],
    memoryEfficientAttentionBackward: [
      [
        "argument 8 is 0.1",
        (_, x) => any(memoryEfficientAttentionBackward)(x, x, x, x, x, x, undefined, 0.1),
      ],
      [
        "did you mean biasGrad?",
        (_, x) => memoryEfficientAttentionBackward(x, x, x, x, x, x, any({ bias_grad: true })),
      ],
      [
        "write { attnBias: mask }",
        (_, x) => memoryEfficientAttentionBackward(x, x, x, x, x, x, mask()),
      ],
    ],
    scaledDotProductAttention: [
      [
        "write { attnMask, dropoutP: 0.1, isCausal: true }",
        (_, x) => any(scaledDotProductAttention)(x, x, x, undefined, 0.1, true),
      ],
      ["write { attnMask: mask }", (_, x) => scaledDotProductAttention(x, x, x, mask())],
      ["write { attnMask: tensor }", (_, x) => scaledDotProductAttention(x, x, x, x)],
      [
        "did you mean enableGqa?",
        (_, x) => scaledDotProductAttention(x, x, x, any({ enable_gqa: true })),
      ],
    ],
    mergeAttentions: [
      ['argument 4 is "f32"', (_, x) => any(mergeAttentions)([x], [x], {}, "f32")],
      ["write { writeLse: false }", (_, x) => mergeAttentions([x], [x], any(false))],
      ["attnSplit[0] is a Promise", (_, x) => mergeAttentions([any(Promise.resolve(x))], [x])],
    ],
    attentionFlops: [["write { attnBias: mask }", (_, x) => attentionFlops(x, x, x, mask())]],
    "Device.tensor": [
      ["write { shape: [2, 3] }", (d) => d.tensor([1, 2, 3, 4, 5, 6], any([2, 3]))],
      ['write { dtype: "f16" }', (d) => d.tensor([1], any("f16"))],
    ],
    "Device.randn": [
      ["shape is 1, expected a list, as in [1, 2, 3]", (d) => any(d).randn(1, 2, 3)],
      ["write { seed: 7 }", (d) => d.randn([2], any(7))],
    ],
    "Device.arange": [
      ['"f32" stands where', (d) => d.arange(0, 4, 1, any("f32"))],
      ['argument 5 is "f32"', (d) => any(d).arange(0, 4, 1, {}, "f32")],
    ],
    "Device.zeros": [
      ["shape is 2, expected a list, as in [1, 2, 3]", (d) => any(d).zeros(2)],
      ["write { requiresGrad: true }", (d) => d.zeros([2], any(true))],
    ],
    "Tensor.sum": [
      ["write { axis: 0 }", (_, x) => x.sum(0)],
      ["write { axis: [0, -1] }", (_, x) => x.sum([0, -1])],
    ],
    "Tensor.softmax": [
      ["write x.to(dtype).softmax(axis)", (_, x) => x.softmax(-1, "f16")],
      ["axis Object is out of range", (_, x) => x.softmax({ dim: -1 })],
    ],
    "Tensor.add": [["write x.add(y.mul(alpha))", (_, x) => x.add(x, 2)]],
    "Tensor.sub": [["write x.sub(y.mul(alpha))", (_, x) => x.sub(x, { alpha: 2 })]],
    "Tensor.div": [['argument 2 is "floor"', (_, x) => x.div(x, "floor")]],
    "Tensor.to": [["argument 2 is true", (_, x) => x.to("f16", true)]],
    "Tensor.dropout": [
      ["true stands where options are expected", (_, x) => x.dropout(0.1, true)],
      ["argument 3 is true", (_, x) => x.dropout(0.1, {}, true)],
    ],
    "Tensor.squeeze": [["squeeze one axis at a time", (_, x) => x.squeeze(0, 1)]],
    "Tensor.mean": [["write { axis, keepDim: true }", (_, x) => x.mean(-1, true)]],
    "Tensor.max": [["write { axis: 1 }", (_, x) => x.max(1)]],
    "Tensor.logSumExp": [["write { keepDim: true }", (_, x) => x.logSumExp(1, true, 1)]],
    "Tensor.gelu": [['write { approximate: "tanh" }', (_, x) => x.gelu("tanh")]],
    "Tensor.layerNorm": [
      ["write { weight: tensor }", (d, x) => x.layerNorm(d.ones([8]))],
      ["the last axis is normalised", (_, x) => x.layerNorm({ normalized_shape: [8] })],
    ],
    "Tensor.reshape": [
      ["shape is 2", (_, x) => x.reshape(2, -1)],
      ["[2, 3]", (_, x) => x.reshape([2, 3])],
      ["-1", (_, x) => x.reshape([-1, -1])],
    ],
    "Tensor.permute": [["order is 0", (_, x) => x.permute(0, 2, 1, 3)]],
    "Tensor.transpose": [["undefined", (_, x) => x.transpose()]],
    "Tensor.matmul": [[
      "is a Promise that was not awaited",
      (_, x) => x.matmul(Promise.resolve(x)),
    ]],
    "DifferentiableTensor.backward": [
      ["write { retainGraph: true }", (d) => leaf(d)[0]!.sum().backward(undefined, any(true))],
      ["argument 3 is true", (d) => any(leaf(d)[0]!.sum()).backward(undefined, {}, true)],
      ["write backward(undefined", (d) => leaf(d)[0]!.sum().backward(any({ retain_graph: true }))],
    ],
    customFunction: [[
      '"setup_context"',
      () => customFunction(any({ name: "f", forward: () => 1, setup_context: () => 1 })),
    ]],
    cat: [["tensors is Tensor", (_, x) => cat(x, x)], [
      "axis",
      (_, x) => cat([x, x], any({ dim: 1 })),
    ], ["write cat([x, y], axis)", (_, x) => any(cat)(x, x, 0)]],
    stack: [["tensors is Tensor", (_, x) => stack(x, x)]],
    linear: [["x is Linear", (d, x) => linear(any(new Linear(d, 2, 2)), x)]],
    BlockDiagonalMask: [
      ["write { qSeqlen: [2, 3] }", () => new BlockDiagonalMask(any([2, 3]))],
      ["did you mean qSeqlen?", () => new BlockDiagonalMask(any({ q_seqlen: [2, 3] }))],
    ],
    Linear: [
      ["write { bias: false }", (d) => new (any(Linear))(d, 2, 3, {}, false)],
      ["device is 2", () => any(new Linear(any(2), 3, any(false)))],
      ["write { bias: false }", (d) => new Linear(d, 2, 3, any(false))],
      ["inFeatures is Device", (d) => new Linear(d, any(d), 3)],
    ],
    LayerNorm: [["write { epsilon: 0.001 }", (d) => new LayerNorm(d, 8, any(1e-3))], [
      "dim is a list of 1",
      (d) => new LayerNorm(d, any([8])),
    ]],
    Dropout: [["true stands where", () => new Dropout(0.1, any(true))]],
    "Embedding.forward": [["indices", (d) => new Embedding(d, 3, 2).forward(any([3]))]],
    Embedding: [["write { paddingIdx: 0 }", (d) => new Embedding(d, 3, 2, any(0))]],
    Mlp: [["write { hiddenFeatures: 16 }", (d) => new Mlp(d, 8, any(16))]],
    Attention: [
      ["write { numHeads: 4 }", (d) => new Attention(d, 16, any(4))],
      ["numHeads is -4", (d) => new Attention(d, 16, { numHeads: -4 })],
      ["device is 16", () => any(new Attention(any(16), any({ numHeads: 4 })))],
    ],
    Block: [["write { numHeads: 4 }", (d) => new Block(d, 16, any(4))]],
    MultiheadAttention: [
      ["write { dropout: 0.1 }", (d) => new MultiheadAttention(d, 16, 4, any(0.1))],
      ["numHeads is -4", (d) => new MultiheadAttention(d, 16, -4)],
    ],
    AdamW: [
      ["write { learningRate: 0.1 }", (d) => new AdamW(leaf(d), any(0.1))],
      ["did you mean parameters?", (d) => new AdamW(any([{ params: leaf(d) }]))],
      ["did you mean learningRate?", (d) => new AdamW(any([{ parameters: leaf(d), lr: 0.1 }]))],
      ["betas: [momentum, 0.999]", (d) => new AdamW(leaf(d), any({ momentum: 0.9 }))],
      ["parameters is Linear", (d) => new AdamW(any(new Linear(d, 2, 2)))],
      ["parameters is a function", (d) => new AdamW(any(new Linear(d, 2, 2).parameters))],
    ],
    SGD: [
      ["options are undefined", (d) => any(SGD) && new SGD(leaf(d), any(undefined))],
      ["write { learningRate: 0.1 }", (d) => new SGD(leaf(d), any(0.1))],
      ["learningRate is undefined", (d) => new SGD(leaf(d), any({}))],
    ],
    clipGradNorm: [["write { normType: 2 }", (d) => clipGradNorm(leaf(d), 1, any(2))]],
    crossEntropy: [
      ["a Tensor stands where", (d) => crossEntropy(d.ones([2, 3]), [0, 1], any(d.ones([3])))],
      ['write { reduction: "sum" }', (d) => crossEntropy(d.ones([2, 3]), [0, 1], any("sum"))],
    ],
    assertAllClose: [
      ["actual has a list of 1 at 0, expected numbers", () => assertAllClose(any([[1]]), [1])],
      ["actual is Map", () => assertAllClose(any(new Map()), [1])],
      ["expected is Map", (_, x) => assertAllClose(x, any(new Map()))],
      ["actual is a Promise", (_, x) => assertAllClose(x.data(), x)],
      ["argument 4 is 0.001", (_, x) => any(assertAllClose)(x, x, undefined, 1e-3)],
    ],
    mseLoss: [["did you mean reduction?", (_, x) => mseLoss(x, x, any({ size_average: true }))]],
  };

/** Of what takes nothing, is not made by hand, or is of notebooks. */
export const OTHER_CALLS: readonly (readonly [says: string, call: Call])[] = [
  ["use device.tensor()", () => new (any(Tensor))()],
  ["use await requestDevice()", () => new (any(Device))()],
  ["argument 1 is 0, expected none; write x.select", (_, x) => x.item(0)],
  ["argument 1 is Tensor, expected none; use addBias", (_, x) => new (any(LowerTriangularMask))(x)],
  ['total is "10"', () => progress(any("10"))],
  ['argument 3 is "steps"', () => any(progress)(10, "run", "steps")],
];
