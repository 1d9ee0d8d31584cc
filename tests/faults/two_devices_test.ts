/** Tensors of two devices in one call: refused by every function that takes several. */
import {
  Attention,
  BlockDiagonalMask,
  cat,
  checkpoint,
  clipGradNorm,
  crossEntropy,
  customFunction,
  Embedding,
  LayerNorm,
  Linear,
  linear,
  LowerTriangularMaskWithTensorBias,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  mseLoss,
  MultiheadAttention,
  requestDevice,
  scaledDotProductAttention,
  SGD,
  stack,
  type Tensor,
} from "@denoformers/attention";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const here = await sharedDevice();
const there = await requestDevice({ tune: false });
const SHAPE = [1, 4, 2, 8];
const [x, away] = [here, there].map((device) =>
  device.randn(SHAPE, { seed: 1, requiresGrad: true })
) as [Tensor, Tensor];
const flags = there.ones([8], { dtype: "bool" });
const indices = there.tensor([0, 1], { dtype: "i32" });

const add = customFunction({
  name: "add",
  forward: (_, a: Tensor, b: Tensor) => a.add(b),
  backward: (_, gradient) => [gradient, gradient],
});

/** A layer, in which no test may change anything. */
const layer = new Linear(here, 8, 8);
const lse = (device: typeof here) => device.zeros([1, 2, 4]);

const USES: Record<string, () => unknown> = {
  "arithmetic": () => x.add(away),
  "comparison": () => x.gt(away),
  "maximum": () => x.maximum(away),
  "where": () => x.gt(0).where(x, away),
  "where, the condition": () => flags.where(x, x),
  "maskedFill": () => x.maskedFill(flags, 0),
  "cat": () => cat([x, away], 1),
  "stack": () => stack([x, away]),
  "matmul": () => x.matmul(away.transpose(2, 3)),
  "linear, the weight": () => linear(x, there.ones([3, 8])),
  "linear, the bias": () => linear(x, here.ones([3, 8]), there.ones([3])),
  "indexSelect": () => x.indexSelect(1, indices),
  "backward": () => x.square().backward(away),
  "a custom function": () => add(x, away),
  "a checkpoint": () => checkpoint((a: Tensor, b: Tensor) => a.mul(b), x, away),
  "attention, the key": () => memoryEfficientAttention(x, away, x),
  "attention, the value": () => memoryEfficientAttention(x, x, away),
  "attention, the bias": () =>
    memoryEfficientAttention(x, x, x, { attnBias: there.ones([1, 2, 4, 4]) }),
  "attention, a mask's bias": () =>
    memoryEfficientAttention(x, x, x, {
      attnBias: new LowerTriangularMaskWithTensorBias(there.ones([1, 2, 4, 4])),
    }),
  "attention forward": () => memoryEfficientAttentionForward(x, away, x),
  "attention for its sums": () => memoryEfficientAttentionForwardRequiresGrad(x, x, away),
  "attention in parts": () => memoryEfficientAttentionPartial(x, away, away),
  "attention's gradients": () => memoryEfficientAttentionBackward(away, x, lse(here), x, x, x),
  "attention's gradients, the sums": () =>
    memoryEfficientAttentionBackward(x, x, lse(there), x, x, x),
  "a merge": () => mergeAttentions([x, away], [lse(here), lse(there)]),
  "a merge, the sums": () => mergeAttentions([x, x], [lse(here), lse(there)]),
  "PyTorch's attention": () => scaledDotProductAttention(x, x, away),
  "PyTorch's attention, the mask": () =>
    scaledDotProductAttention(x, x, x, { attnMask: there.ones([2, 2]) }),
  "Linear": () => layer.forward(away),
  "LayerNorm": () => new LayerNorm(here, 8).forward(away),
  "Embedding": () => new Embedding(here, 4, 2).forward(indices),
  "Attention": () => new Attention(here, 8, { numHeads: 2 }).forward(away.reshape([2, 4, 8])),
  "MultiheadAttention": () =>
    new MultiheadAttention(here, 8, 2).forward(
      x.reshape([8, 8]),
      away.reshape([8, 8]),
      away.reshape([8, 8]),
    ),
  "loadStateDict": () => layer.loadStateDict({ weight: there.ones([8, 8]), bias: there.ones([8]) }),
  "crossEntropy": () => crossEntropy(x.reshape([8, 8]), there.zeros([8], { dtype: "i32" })),
  "mseLoss": () => mseLoss(x, away),
  "a block mask's split": () => BlockDiagonalMask.fromTensorList([x, away]),
};

describe("tensors of two devices", () => {
  for (const [name, use] of Object.entries(USES)) {
    it(`are refused by ${name}`, async () => {
      const error = assertThrows(use);
      assert(error instanceof TypeError, `${error}`);
      assert(/two devices|another device/.test(error.message), error.message);
      // Both go on working.
      await Promise.all([here.sync(), there.sync()]);
    });
  }

  it("are trained by one optimiser, each where it is, and not clipped together", async () => {
    const weights = [here, there].map((device) => device.ones([2], { requiresGrad: true }));
    for (const weight of weights) weight.sum().backward();
    assertThrows(() => clipGradNorm(weights, 1), TypeError, "two devices");
    new SGD(weights, { learningRate: 0.5 }).step();
    for (const weight of weights) assertEquals(await weight.data(), new Float32Array([0.5, 0.5]));
  });
});
