import {
  cat,
  checkpoint,
  customFunction,
  linear,
  noGrad,
  requestDevice,
  stack,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assert, assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import v8 from "node:v8";
import vm from "node:vm";

// A device of this file's own, so that the counts are exact.
const device = await requestDevice({ tune: false });

describe("requiresGrad", () => {
  it("comes from factories, and goes from operands to results", () => {
    using x = device.zeros([2], { requiresGrad: true });
    using y = device.rand([2]);
    assertEquals([x.requiresGrad, x.isLeaf, y.requiresGrad, y.isLeaf], [true, true, false, true]);
    using z = y.add(x);
    assertEquals([z.requiresGrad, z.isLeaf], [true, false]);
    using constant = y.add(y);
    assertEquals([constant.requiresGrad, constant.isLeaf], [false, true]);
  });

  it("can be set on leaves of floats alone", () => {
    using x = device.zeros([2], { requiresGrad: true });
    using y = x.mul(2);
    y.requiresGrad = true;
    assertThrows(
      () => y.requiresGrad = false,
      Error,
      "Cannot set requiresGrad to false: the tensor was computed by mul, use detach()",
    );
    x.requiresGrad = false;
    assert(!x.requiresGrad);
    using n = device.zeros([2], { dtype: "i32" });
    assertThrows(() => n.requiresGrad = true, TypeError, "dtype is i32, expected f32, f16 or bf16");
    assertThrows(
      () => device.zeros([2], { dtype: "bool", requiresGrad: true }),
      TypeError,
      "Cannot set requiresGrad: dtype is bool",
    );
  });

  it("detach() gives the same elements without history, and shares their memory", async () => {
    using x = device.tensor([1, 2], { requiresGrad: true });
    using y = x.mul(3);
    const { allocatedBytes } = device.memory();
    using z = y.detach();
    assertEquals(device.memory().allocatedBytes, allocatedBytes);
    assertEquals([z.requiresGrad, z.isLeaf], [false, true]);
    assertEquals(await z.toArray(), [3, 6]);
  });
});

const double = customFunction({
  name: "double",
  forward(context, x: Tensor) {
    context.save(x);
    return x.mul(2);
  },
  backward: (_, gradient) => gradient.mul(2),
});
const square = (x: Tensor): Tensor => x.square();

/** All operations that are recorded, of a leaf `[4, 4]`. */
const OPERATIONS: Record<string, (x: Tensor) => (Tensor | Tensor[])[]> = {
  views: (x) => [
    x.reshape([16]),
    x.transpose(0, 1).reshape([2, 8]),
    x.slice(0, 1),
    x.select(0, 1),
    x.unbind(),
    x.chunk(2),
    x.expand([2, 4, 4]),
    x.unsqueeze(0).squeeze(),
    x.contiguous(),
    x.clone(),
    x.to("f16"),
    x.indexSelect(0, [1]),
    x.indexSelect(1, device.zeros([3], { dtype: "i32" })),
  ],
  elementwise: (x) => [
    x.add(1),
    x.sub(x),
    x.mul(x.neg()),
    x.div(2),
    x.pow(x),
    x.maximum(0),
    x.exp(),
    x.relu(),
    x.gelu(),
    x.where(x.gt(0), x),
    x.maskedFill(x.gt(0), 0),
    x.dropout(0.5),
  ],
  reductions: (x) => [x.sum(), x.mean({ axis: 0 }), x.max(), x.softmax(), x.logSumExp()],
  products: (
    x,
  ) => [x.matmul(x), linear(x, x, x.select(0, 0)), x.layerNorm({ weight: x.select(0, 0) })],
  functions: (x) => [double(x.neg()), checkpoint(square, x.neg())],
  joins: (x) => [cat([x, x]), stack([x, x])],
};

describe("a graph whose tensors are forgotten", () => {
  v8.setFlagsFromString("--expose-gc");
  const collect: () => void = vm.runInNewContext("gc");

  async function collectedTo(tensors: number): Promise<void> {
    const start = performance.now();
    while (device.memory().tensors > tensors && performance.now() - start < 10_000) {
      collect();
      await new Promise((done) => setTimeout(done, 1));
    }
    // Garbage of other tests may have gone with it.
    assertLessOrEqual(device.memory().tensors, tensors);
  }

  for (const [name, fn] of Object.entries(OPERATIONS)) {
    it(`of ${name} holds on to none of them`, async () => {
      const before = device.memory();
      const make = () => fn(device.ones([4, 4], { requiresGrad: true })).flat();
      const kept = make();
      assert(device.memory().tensors > before.tensors + kept.length);
      await collectedTo(before.tensors + kept.length);
      assertEquals(kept.map(({ requiresGrad }) => requiresGrad), kept.map(() => true));
      kept.length = 0;
      await collectedTo(before.tensors);
      assertLessOrEqual(device.memory().allocatedBytes, before.allocatedBytes);
    });
  }
});

describe("a graph in a tidy", () => {
  for (const [name, fn] of Object.entries(OPERATIONS)) {
    it(`of ${name} is gone with it`, () => {
      const { tensors, allocatedBytes } = device.memory();
      tidy(() => void fn(device.ones([4, 4], { requiresGrad: true })));
      noGrad(() => tidy(() => void fn(device.ones([4, 4], { requiresGrad: true }))));
      const after = device.memory();
      assertEquals([after.tensors, after.allocatedBytes], [tensors, allocatedBytes]);
    });
  }
});
