import { noGrad, requestDevice, type Tensor, tidy } from "@denoformers/attention";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { record } from "../../../gpu/autograd/record.ts";

// A device of this file's own, so that the counts are exact.
const device = await requestDevice({ tune: false });

function leaf(data: number[]): Tensor {
  return device.tensor(data, { requiresGrad: true });
}

function allocated(): { allocatedBytes: number; tensors: number; buffers: number } {
  const { allocatedBytes, tensors, buffers } = device.memory();
  return { allocatedBytes, tensors, buffers };
}

/** The identity with a gradient of one's own. */
function withGradient(x: Tensor, backward: (gradient: Tensor) => Tensor): Tensor {
  const out = x.detach();
  record({
    name: "identity",
    inputs: [x],
    outputs: [out],
    backward: ([gradient]) => [backward(gradient!)],
  });
  return out;
}

describe("Tensor.backward()", () => {
  it("adds up over passes until zeroGrad()", async () => {
    using x = leaf([1, 2]);
    assertEquals(x.grad, undefined);
    for (const expected of [[2, 4], [4, 8]]) {
      tidy(() => x.square().sum().backward());
      assertEquals(await x.grad!.toArray(), expected);
    }
    assert(!x.grad!.requiresGrad);
    x.zeroGrad();
    assertEquals(x.grad, undefined);
    tidy(() => x.sum().backward());
    assertEquals(await x.grad!.toArray(), [1, 1]);
  });

  it("sums over all ways from a leaf to the result", async () => {
    using x = leaf([1, 2]);
    using w = leaf([3, 4]);
    tidy(() => {
      const shared = x.mul(w);
      const left = shared.mul(2);
      const right = shared.square();
      left.mul(right).add(shared).sum().backward(); // 2 (xw)^3 + xw
    });
    assertEquals(await x.grad!.toArray(), [3 * (6 * 9 + 1), 4 * (6 * 64 + 1)]);
    assertEquals(await w.grad!.toArray(), [1 * (6 * 9 + 1), 2 * (6 * 64 + 1)]);
  });

  it("takes a gradient of the result's shape, and starts anywhere", async () => {
    using x = leaf([1, 2]);
    using y = x.mul(3);
    using gradient = device.tensor([10, 100]);
    y.backward(gradient);
    assertEquals(await x.grad!.toArray(), [30, 300]);
    assert(!gradient.isDisposed);
    using scalar = leaf([5]);
    scalar.backward();
    assertEquals(await scalar.grad!.toArray(), [1]);
  });

  it("walks chains of thousands of operations", async () => {
    using x = leaf([1]);
    using end = tidy(() => {
      let y: Tensor = x;
      for (let i = 0; i < 5000; i++) y = y.unsqueeze(0).squeeze(0);
      return y;
    });
    end.backward();
    assertEquals(await x.grad!.toArray(), [1]);
    const dropped = tidy(() => {
      let y: Tensor = x;
      for (let i = 0; i < 5000; i++) y = y.unsqueeze(0).squeeze(0);
      return y;
    });
    dropped.dispose();
  });

  it("goes over a graph twice only with retainGraph", async () => {
    using x = leaf([1, 2]);
    using loss = tidy(() => x.exp().sum());
    loss.backward(undefined, { retainGraph: true });
    loss.backward();
    // e and e², twice, as near as the driver's exp() is.
    const [a, b] = await x.grad!.data();
    assert(Math.abs(a! - 2 * Math.E) < 1e-5 && Math.abs(b! - 2 * Math.E ** 2) < 1e-5);
    assertThrows(
      () => loss.backward(),
      Error,
      "through sum a second time: what it had saved was given back by the last backward(); pass { retainGraph: true } to all",
    );
    using copy = x.grad!.clone();
    assertEquals(await x.grad!.data(), await copy.data());
  });

  it("throws for what cannot be differentiated, before it changes anything", async () => {
    using x = leaf([1, 2]);
    using y = x.mul(2);
    using constant = device.tensor([1]);
    const none = "does not follow from one that requires gradients";
    assertThrows(() => constant.backward(), Error, none);
    assertThrows(
      () => y.backward(),
      RangeError,
      "Cannot backward: the tensor has shape [2], expected one element; sum() it, or pass its gradient",
    );
    assertThrows(
      () => y.backward(constant),
      RangeError,
      "gradient has shape [1], expected [2] as the tensor has",
    );
    using half = device.ones([2], { dtype: "f16" });
    assertThrows(
      () => y.backward(half),
      TypeError,
      "dtype f16, expected f32 on the tensor's device",
    );
    using disposed = device.ones([2]);
    disposed.dispose();
    assertThrows(() => y.backward(disposed), TypeError, "Cannot use a disposed tensor");
    assertEquals(x.grad, undefined);
    using ones = device.ones([2]);
    y.backward(ones);
    assertEquals(await x.grad!.toArray(), [2, 2]);
  });

  it("names what ended the gradients of an input that requires them", () => {
    using x = leaf([1, 2]);
    using done = leaf([1]);
    tidy(() => done.square().backward());
    const floats = "compute it of floats by what has one";
    const cases: [() => Tensor, string][] = [
      [() => noGrad(() => x.mul(2)), "mul ran in noGrad(); compute it outside"],
      [() => x.detach().exp(), "detach() ended them; leave it out"],
      [() => x.gt(1).to("f32"), `gt has no gradient; ${floats}`],
      [() => x.gt(1).logicalNot().sum().to("f32"), `gt has no gradient; ${floats}`],
      [() => x.to("i32").to("f32").mul(2), `to("i32") has no gradient; ${floats}`],
      [() => done.grad!.mul(1), "a gradient is not recorded itself; second derivatives are not"],
    ];
    for (const [make, reason] of cases) {
      assertThrows(
        () => tidy(() => make().sum().backward()),
        Error,
        `Cannot backward: the tensor of shape [] is cut off from gradients: ${reason}`,
      );
    }
    assertThrows(
      () => tidy(() => x.to("i32").sum().backward()),
      TypeError,
      "Cannot backward: the tensor of shape [] has dtype i32, expected f32, f16 or bf16; only floats",
    );
    assertEquals(x.grad, undefined);
  });

  it("throws if a tensor that it needs was changed in place", () => {
    using x = leaf([1, 2]);
    using scale = device.tensor([3, 4]);
    using loss = tidy(() => x.mul(scale).sum());
    using detached = x.detach();
    scale.copyFrom(detached);
    assertThrows(
      () => loss.backward(),
      Error,
      "Cannot backward through mul: a tensor that it needs was changed in place since",
    );
    assertEquals(x.grad, undefined);
  });

  it("leaves all gradients as they are if one fails, and gives back what it made", async () => {
    using x = leaf([1, 2]);
    tidy(() => x.sum().backward());
    const before = allocated();
    assertThrows(
      () =>
        tidy(() => {
          const bad = withGradient(x, (gradient) => gradient.reshape([2, 1]).expand([2, 3]));
          bad.add(x.mul(5)).sum().backward();
        }),
      RangeError,
      "Cannot backward through identity: its gradient has shape [2, 3], expected [2]",
    );
    assertThrows(
      () =>
        tidy(() => {
          const bad = withGradient(x, () => {
            throw new Error("mine");
          });
          bad.add(x.mul(5)).sum().backward();
        }),
      Error,
      "mine",
    );
    assertEquals(allocated(), before);
    assertEquals(await x.grad!.toArray(), [1, 1]);
  });

  it("sums gradients of a broadcast shape, and converts them to the tensor's dtype", async () => {
    using x = device.tensor([[1], [2]], { dtype: "f16", requiresGrad: true });
    tidy(() => {
      const y = withGradient(x, () => device.ones([3, 2, 4], { dtype: "f32" }));
      y.sum().backward();
    });
    assertEquals([x.grad!.shape, x.grad!.dtype], [[2, 1], "f16"]);
    assertEquals(await x.grad!.toArray(), [[12], [12]]);
  });

  it("gives the same bits each time", async () => {
    using x = device.randn([37, 21], { seed: 1, requiresGrad: true });
    using w = device.randn([21, 19], { seed: 2, requiresGrad: true });
    const grads: Float32Array<ArrayBuffer>[][] = [];
    for (let run = 0; run < 2; run++) {
      tidy(() => {
        const y = x.matmul(w).layerNorm().gelu();
        y.mul(y).add(y.softmax()).sum().backward();
      });
      grads.push([await x.grad!.data(), await w.grad!.data()]);
      x.zeroGrad();
      w.zeroGrad();
    }
    assertEquals(grads[0], grads[1]);
  });
});

describe("memory of gradients", () => {
  const step = (x: Tensor, w: Tensor): Tensor =>
    x.matmul(w).gelu().layerNorm().softmax().mul(x).square().sum();

  it("comes back with backward() and dispose(), with or without a tidy around", () => {
    using x = device.ones([8, 8], { requiresGrad: true });
    using w = device.ones([8, 8], { requiresGrad: true });
    const before = allocated();
    for (const withTidy of [true, false]) {
      if (withTidy) tidy(() => step(x, w).backward());
      else {
        using loss = tidy(() => step(x, w));
        loss.backward();
      }
      const bytes = 2 * 8 * 8 * 4;
      assertEquals(allocated(), {
        allocatedBytes: before.allocatedBytes + bytes,
        tensors: before.tensors + 2,
        buffers: before.buffers + 2,
      });
      assert(!x.grad!.isDisposed);
      x.zeroGrad();
      w.zeroGrad();
      assertEquals(allocated(), before);
    }
  });

  it("comes back when the result is disposed without backward(), whatever was disposed before", () => {
    using w = device.ones([8, 8], { requiresGrad: true });
    const before = allocated();
    const x = device.ones([8, 8], { requiresGrad: true });
    const loss = tidy(() => step(x, w));
    x.dispose(); // The graph keeps what it saved.
    loss.backward();
    assertEquals(w.grad!.shape, [8, 8]);
    w.zeroGrad();
    loss.dispose();
    const again = tidy(() => step(w, w));
    again.dispose();
    assertEquals(allocated(), before);
  });

  it("belongs to the leaf: a gradient goes with it", () => {
    const before = allocated();
    const x = device.ones([8], { requiresGrad: true });
    tidy(() => x.sum().backward());
    const { grad } = x;
    x.dispose();
    assert(grad!.isDisposed);
    assertEquals(allocated(), before);
  });

  it("is given back node by node as the pass goes", () => {
    using x = device.ones([1000], { requiresGrad: true });
    using loss = tidy(() => {
      let y: Tensor = x;
      for (let i = 0; i < 20; i++) y = y.tanh();
      return y.sum();
    });
    const { allocatedBytes } = device.memory();
    device.resetPeakMemory();
    loss.backward();
    // Two gradients and two saved results at a time, whose sum stays below what was saved at the start.
    assert(device.memory().peakBytes <= allocatedBytes + 4 * 4000);
    assert(device.memory().allocatedBytes <= allocatedBytes - 19 * 4000);
  });

  it("is not used under noGrad(): a chain needs two results at a time", () => {
    using x = device.ones([1000], { requiresGrad: true });
    const { allocatedBytes } = device.memory();
    device.resetPeakMemory();
    using _out = noGrad(() => {
      let y = x.tanh();
      for (let i = 0; i < 49; i++) {
        const next = y.tanh();
        y.dispose();
        y = next;
      }
      return y;
    });
    assertEquals(device.memory().peakBytes, allocatedBytes + 2 * 4000);
  });
});
