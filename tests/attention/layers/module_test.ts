/** What all layers do with their parameters. */
import {
  type Device,
  Linear,
  Module,
  MultiheadAttention,
  parameter,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertEquals, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

/** A layer with a parameter of its own, one within, and one that goes by two names. */
class Tied extends Module {
  readonly inner: Linear;
  gain: Tensor;

  constructor(device: Device) {
    super();
    this.inner = new Linear(device, 3, 2, { seed: 1 });
    this.gain = parameter(() => device.ones([2]).mul(2));
  }

  forward(x: Tensor): Tensor {
    return tidy(() => this.inner.forward(x).mul(this.gain));
  }

  protected override weights(): Record<string, Tensor> {
    return { gain: this.gain };
  }

  protected override setWeight(_name: string, tensor: Tensor): void {
    this.gain = tensor;
  }

  protected override children(): Record<string, Module> {
    return { inner: this.inner, "again.0": this.inner };
  }
}

describe("Module parameters", () => {
  it("parameters and namedParameters list each tensor once, stateDict by all its names", () => {
    using layer = new Tied(device);
    assertEquals(layer.namedParameters().map(([name]) => name), [
      "gain",
      "inner.weight",
      "inner.bias",
    ]);
    assertEquals(layer.parameters(), layer.namedParameters().map(([, tensor]) => tensor));
    assertEquals(Object.keys(layer.stateDict()), [
      "gain",
      "inner.weight",
      "inner.bias",
      "again.0.weight",
      "again.0.bias",
    ]);
  });

  it("are leaves to which gradients flow, until zeroGrad and setRequiresGrad", async () => {
    for (const layer of [new Tied(device), new MultiheadAttention(device, 4, 2)]) {
      for (const [name, tensor] of layer.namedParameters()) {
        assertEquals([tensor.isLeaf, tensor.requiresGrad], [true, true], name);
      }
      layer.dispose();
    }
    using layer = new Tied(device);
    using x = device.ones([4, 3]);
    using loss = tidy(() => layer.forward(x).sum());
    loss.backward();
    assertEquals(await layer.inner.bias!.grad!.toArray(), [8, 8]);
    layer.zeroGrad();
    assertEquals(layer.parameters().map(({ grad }) => grad), [undefined, undefined, undefined]);
    layer.setRequiresGrad(false);
    using frozen = layer.forward(x);
    assertEquals(frozen.requiresGrad, false);
    layer.setRequiresGrad(true);
    using thawed = layer.forward(x);
    assertEquals(thawed.requiresGrad, true);
  });

  it("belong to their layer and not to a tidy around its constructor", async () => {
    const layer = tidy(() => new Tied(device));
    assertEquals(layer.parameters().some(({ isDisposed }) => isDisposed), false);
    tidy(() => layer.to("bf16").to("f32"));
    assertEquals(layer.parameters().some(({ isDisposed }) => isDisposed), false);
    layer.dispose();
    await assertNoLeak(device, () => tidy(() => new Tied(device)).to("f16").dispose());
  });
});

describe("Module.to", () => {
  it("converts all parameters, keeps what is shared and frozen, and disposes the old ones", async () => {
    using layer = new Tied(device);
    const before = layer.parameters();
    const bias = await layer.inner.bias!.data();
    layer.inner.weight.requiresGrad = false;
    const { tensors } = device.memory();
    assertStrictEquals(layer.to("f16"), layer);
    assertEquals(device.memory().tensors, tensors);
    assertEquals(before.every(({ isDisposed }) => isDisposed), true);
    const state = layer.stateDict();
    assertEquals(Object.values(state).map(({ dtype }) => dtype), Array(5).fill("f16"));
    assertStrictEquals(state["again.0.bias"], state["inner.bias"]);
    assertEquals(layer.parameters().map((tensor) => tensor.requiresGrad), [true, false, true]);
    assertEquals(layer.parameters().map(({ isLeaf }) => isLeaf), [true, true, true]);
    assertEquals(await layer.inner.bias!.data(), bias.map(Math.f16round));
    const half = layer.gain;
    layer.to("f16");
    assertStrictEquals(layer.gain, half, "nothing to convert");
  });

  it("refuses other types", () => {
    using layer = new Tied(device);
    assertThrows(() => layer.to("i32"), TypeError, "Cannot convert Tied: dtype is i32");
  });
});

describe("Module.loadStateDict", () => {
  it("keeps the parameters' identity, dtype and need of gradients", async () => {
    using layer = new Linear(device, 3, 2);
    const { weight } = layer;
    layer.to("f32");
    using state = device.tensor([[1, 2, 3], [4, 5, 6.0001]], { dtype: "f32" });
    using bias = device.tensor([1, -1], { dtype: "i32" });
    assertEquals(layer.loadStateDict({ weight: state, bias }), { missing: [], unexpected: [] });
    assertStrictEquals(layer.weight, weight);
    assertEquals(layer.weight.requiresGrad && layer.weight.isLeaf, true);
    assertEquals(await layer.weight.data(), await state.data());
    assertEquals(await layer.bias!.data(), Float32Array.of(1, -1));
    layer.to("bf16").loadStateDict({ weight: state, bias });
    assertEquals(layer.weight.dtype, "bf16");
    assertEquals(await layer.weight.data(), Float32Array.of(1, 2, 3, 4, 5, 6));
  });

  it("leaves a layer that is loaded into itself as it is", async () => {
    using layer = new Linear(device, 3, 2);
    const before = await layer.weight.data();
    layer.loadStateDict(layer.stateDict());
    assertEquals(await layer.weight.data(), before);
  });

  it("without strict tells what is missing and unexpected, and still refuses wrong shapes", async () => {
    using layer = new Linear(device, 3, 2);
    const before = await layer.weight.data();
    using two = device.tensor([5, 6]);
    assertEquals(layer.loadStateDict({ bias: two, gain: two }, { strict: false }), {
      missing: ["weight"],
      unexpected: ["gain"],
    });
    assertEquals(await layer.bias!.toArray(), [5, 6]);
    assertEquals(await layer.weight.data(), before);
    assertThrows(
      () => layer.loadStateDict({ weight: two }, { strict: false }),
      RangeError,
      "weight has shape [2], expected [2, 3]",
    );
    assertThrows(
      () => layer.loadStateDict({ weight: two, gain: two }),
      RangeError,
      "missing bias [2]\n  unexpected gain [2]\n  weight has shape [2], expected [2, 3]",
    );
  });
});
