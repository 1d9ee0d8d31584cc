/** Work after the end: of a tensor, or of its device. */
import {
  AdamW,
  Attention,
  Block,
  cat,
  clipGradNorm,
  crossEntropy,
  customFunction,
  type Device,
  DeviceLostError,
  Dropout,
  Embedding,
  LayerNorm,
  Linear,
  loadSafetensors,
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForwardRequiresGrad,
  mergeAttentions,
  MultiheadAttention,
  requestDevice,
  saveSafetensors,
  scaledDotProductAttention,
  SGD,
  stack,
  type Tensor,
} from "@denoformers/attention";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const DISPOSED = "GPU device was disposed: create a new one with requestDevice()";

const double = customFunction({
  name: "double",
  forward: (_, x: Tensor) => x.add(x),
  backward: (_, gradient) => gradient.mul(2),
});

/** Uses of a tensor `[1, 4, 2, 8]`, one or more of every family. */
const USES: Record<string, (x: Tensor) => unknown> = {
  "arithmetic": (x) => x.add(1),
  "a second operand": (x) => x.mul(x),
  "a unary function": (x) => x.exp(),
  "a view": (x) => x.slice(1, 0, 2),
  "another view": (x) => x.permute([0, 2, 1, 3]),
  "a copy": (x) => x.transpose(1, 2).contiguous(),
  "a conversion": (x) => x.to("f16"),
  "a reduction": (x) => x.sum(),
  "softmax": (x) => x.softmax(),
  "a product": (x) => x.matmul(x.transpose(2, 3)),
  "a choice": (x) => x.gt(0).where(x, 0),
  "dropout": (x) => x.dropout(0.5),
  "cat": (x) => cat([x, x]),
  "stack": (x) => stack([x, x]),
  "detach": (x) => x.detach(),
  "a custom function": (x) => double(x),
  "backward": (x) => x.backward(),
  "attention": (x) => memoryEfficientAttention(x, x, x),
  "causal attention": (x) =>
    memoryEfficientAttention(x, x, x, { attnBias: new LowerTriangularMask() }),
  "attention and its sums": (x) => memoryEfficientAttentionForwardRequiresGrad(x, x, x),
  "attention's gradients": (x) => memoryEfficientAttentionBackward(x, x, x.select(3, 0), x, x, x),
  "PyTorch's attention": (x) => scaledDotProductAttention(x, x, x),
  "a merge": (x) => mergeAttentions(x.unsqueeze(0), x.select(3, 0).unsqueeze(0)),
  "cross entropy": (x) => crossEntropy(x.reshape([8, 8]), x.reshape([64]).slice(0, 0, 8).to("i32")),
};

/** Reads of a tensor. */
const READS: Record<string, (x: Tensor) => Promise<unknown>> = {
  "data": (x) => x.data(),
  "toArray": (x) => x.toArray(),
  "format": (x) => x.format(),
  "safetensors": (x) => saveSafetensors({ x }),
};

/** What needs a device. */
const DEVICE_USES: Record<string, (device: Device) => unknown> = {
  "tensor": (device) => device.tensor([1]),
  "an empty tensor": (device) => device.tensor([]),
  "zeros": (device) => device.zeros([2]),
  "ones": (device) => device.ones([2]),
  "full": (device) => device.full([2], 3),
  "arange": (device) => device.arange(3),
  "rand": (device) => device.rand([2]),
  "randn": (device) => device.randn([2]),
  "Linear": (device) => new Linear(device, 2, 2),
  "LayerNorm": (device) => new LayerNorm(device, 2),
  "Embedding": (device) => new Embedding(device, 2, 2),
  "Attention": (device) => new Attention(device, 4, { numHeads: 2 }),
  "MultiheadAttention": (device) => new MultiheadAttention(device, 4, 2),
  "Block": (device) => new Block(device, 4, { numHeads: 2 }),
};

function input(device: Device): Tensor {
  return device.randn([1, 4, 2, 8], { seed: 1, requiresGrad: true });
}

describe("a disposed tensor", () => {
  it("throws TypeError wherever it is used or read", async () => {
    const device = await sharedDevice();
    const x = input(device);
    x.dispose();
    const text = "Cannot use a disposed tensor: shape [1, 4, 2, 8], dtype f32";
    const { allocatedBytes } = device.memory();
    for (const [name, use] of Object.entries(USES)) {
      const error = assertThrows(() => use(x), TypeError);
      assert(error.message.includes(text), `${name}: ${error.message}`);
    }
    for (const [name, read] of Object.entries(READS)) {
      const error = await assertRejects(() => read(x), TypeError);
      assert(/disposed/.test(error.message), `${name}: ${error.message}`);
    }
    assertEquals(device.memory().allocatedBytes, allocatedBytes);
  });

  it("may be disposed again, by hand and at the end of a block, and by itself alone", async () => {
    const device = await sharedDevice();
    using base = device.tensor([1, 2, 3, 4]);
    const { tensors, buffers } = device.memory();
    {
      using x = base.slice(0, 1, 3);
      using y = x;
      y.dispose();
      x.dispose();
      assert(x.isDisposed);
    }
    assertEquals([device.memory().tensors, device.memory().buffers], [tensors, buffers]);
    using next = device.full([4], 7); // Would take the buffer of `base`, had it been given back.
    assertEquals(await base.data(), new Float32Array([1, 2, 3, 4]));
    assertEquals(await next.data(), new Float32Array([7, 7, 7, 7]));
  });

  it("gives its values to every read that began before", async () => {
    const device = await sharedDevice();
    const x = device.full([2000], 4);
    const reads = [x.data(), x.slice(0, 0, 5).data(), x.toArray()];
    x.dispose();
    using other = device.full([2000], 9);
    const [whole, part, list] = await Promise.all(reads) as [Float32Array, Float32Array, number[]];
    assert(whole.length === 2000 && whole.every((value) => value === 4));
    assertEquals([...part], [4, 4, 4, 4, 4]);
    assertEquals(list[1999], 4);
    assertEquals((await other.data())[0], 9);
  });
});

describe("a disposed device", () => {
  it("throws DeviceLostError in all that would need it", async () => {
    const device = await requestDevice({ tune: false });
    const x = input(device);
    const empty = device.zeros([0, 3]);
    const file = await saveSafetensors({ x });
    const tokens = device.ones([1, 4, 8]);
    const layers = [
      new Linear(device, 8, 8),
      new LayerNorm(device, 8),
      new Attention(device, 8, { numHeads: 2 }),
      new Block(device, 8, { numHeads: 2 }),
      new Dropout(0.5),
    ];
    const { weight } = layers[0] as Linear;
    const optimizers = [new SGD([weight], { learningRate: 1 }), new AdamW([weight])];
    tokens.matmul(weight).sum().backward();
    await device.sync();
    device.dispose();

    const uses: Record<string, () => unknown> = {
      "an empty tensor": () => empty.add(1),
      "loadSafetensors": () => loadSafetensors(device, file),
      "zeroGrad": () => weight.grad!.add(1),
      "clipGradNorm": () => clipGradNorm([weight], 1),
    };
    for (const [name, use] of Object.entries(USES)) uses[name] = () => use(x);
    for (const [name, use] of Object.entries(DEVICE_USES)) uses[name] = () => use(device);
    for (const layer of layers) uses[layer.constructor.name] = () => layer.forward(tokens);
    for (const optimizer of optimizers) {
      uses[optimizer.constructor.name] = () => optimizer.step();
    }
    for (const [name, use] of Object.entries(uses)) {
      const error = assertThrows(use);
      assert(error instanceof DeviceLostError, `${name}: ${error}`);
      assertEquals(error.message, DISPOSED, name);
    }
    const waits: Record<string, () => Promise<unknown>> = {
      "sync": () => device.sync(),
      "profile": () => device.profile(() => {}),
      "an empty tensor's data": () => empty.data(),
    };
    for (const [name, read] of Object.entries(READS)) waits[name] = () => read(x);
    for (const [name, wait] of Object.entries(waits)) {
      const error = await assertRejects(wait);
      assert(error instanceof DeviceLostError, `${name}: ${error}`);
    }
  });

  it("still tells what it was, and lets go of what it had", async () => {
    const device = await requestDevice({ tune: false });
    const x = input(device);
    device.dispose();
    device.dispose();
    assertEquals(device.toString(), `Device("${device.info.adapter}")`);
    assertEquals(device.tuning(), []);
    device.resetPeakMemory();
    device.emptyCache();
    x.dispose();
    x.dispose();
    assertEquals([x.isDisposed, device.memory().tensors], [true, 0]);
  });
});
