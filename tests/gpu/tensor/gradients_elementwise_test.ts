import { type Tensor, tidy } from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();

function leaf(shape: readonly number[], seed: number, low = -1, high = 1): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const x = nanPadded(device, randomValues(count, seed, low, high), shape);
  x.requiresGrad = true;
  return x;
}

/** Functions of one operand, and bounds between which they are smooth. */
const UNARY: Record<string, [(x: Tensor) => Tensor, number, number]> = {
  neg: [(x) => x.neg(), -1, 1],
  abs: [(x) => x.abs(), 0.1, 1],
  square: [(x) => x.square(), -1, 1],
  exp: [(x) => x.exp(), -1, 1],
  log: [(x) => x.log(), 0.5, 2],
  sqrt: [(x) => x.sqrt(), 0.5, 2],
  rsqrt: [(x) => x.rsqrt(), 0.5, 2],
  sin: [(x) => x.sin(), -3, 3],
  cos: [(x) => x.cos(), -3, 3],
  tanh: [(x) => x.tanh(), -2, 2],
  sigmoid: [(x) => x.sigmoid(), -3, 3],
  gelu: [(x) => x.gelu(), -2, 2],
  geluTanh: [(x) => x.gelu({ approximate: "tanh" }), -2, 2],
  "dropout with a seed": [(x) => x.dropout(0.5, { seed: 3 }), -1, 1],
  "dropout without": [(x) => x.dropout(0.5), -1, 1],
  "dropout of all": [(x) => x.dropout(1), -1, 1],
  "dropout of none": [(x) => x.dropout(0), -1, 1],
};

/** Functions of two operands, where both are from 0.5 to 2. */
const BINARY = ["add", "sub", "mul", "div", "pow"] as const;

describe("gradients of elementwise functions", () => {
  for (const [name, [fn, low, high]] of Object.entries(UNARY)) {
    it(`${name} agrees with differences`, async () => {
      using x = leaf([2, 5], 2, low, high);
      await gradCheck(fn, x);
    });
  }

  for (const name of BINARY) {
    it(`${name}() of tensors that broadcast, and of a number, agrees with differences`, async () => {
      using a = leaf([3, 4], 3, 0.5, 2);
      using b = leaf([2, 1, 4], 4, 0.5, 2);
      await gradCheck((a, b) => a[name](b), [a, b], { maxElements: 6 });
      await gradCheck((a) => a[name](1.5), [a], { maxElements: 4 });
    });
  }

  it("maximum() and minimum() go to the operand that is taken, by halves to equal ones", async () => {
    using a = device.tensor([1, 2, 3], { requiresGrad: true });
    using b = device.tensor([2, 2, 2], { requiresGrad: true });
    tidy(() => a.maximum(b).sum().backward());
    assertEquals(await a.grad!.toArray(), [0, 0.5, 1]);
    assertEquals(await b.grad!.toArray(), [1, 0.5, 0]);
    a.zeroGrad();
    b.zeroGrad();
    tidy(() => a.minimum(b).mul(4).sum().backward());
    assertEquals(await a.grad!.toArray(), [4, 2, 0]);
    assertEquals(await b.grad!.toArray(), [0, 2, 4]);
    a.zeroGrad();
    tidy(() => a.maximum(2.5).sum().backward());
    assertEquals(await a.grad!.toArray(), [0, 0, 1]);
  });

  it("relu() and abs() have slope 0 at 0", async () => {
    using x = device.tensor([-1, 0, 2], { requiresGrad: true });
    tidy(() => x.relu().add(x.abs()).sum().backward());
    assertEquals(await x.grad!.toArray(), [-1, 0, 2]);
  });

  it("an operand used twice gets both", async () => {
    using x = device.tensor([1, -2, 3], { requiresGrad: true });
    tidy(() => x.mul(x).sub(x).sum().backward());
    assertEquals(await x.grad!.toArray(), [1, -5, 5]);
  });

  it("integers take part without a gradient", async () => {
    using x = device.tensor([1, 2, 3], { requiresGrad: true });
    using n = device.tensor(new Int32Array([4, 5, 6]));
    tidy(() => x.mul(n).add(n).div(n).sum().backward());
    assertEquals(await x.grad!.toArray(), [1, 1, 1]);
    assertEquals(n.grad, undefined);
  });

  it("halves meet f32 and each leaf gets its own dtype", async () => {
    using x = device.tensor([[1, 2], [3, 4]], { dtype: "bf16", requiresGrad: true });
    using y = device.tensor([3, 5], { requiresGrad: true });
    tidy(() => x.mul(y).sum().backward());
    assertEquals([x.grad!.dtype, y.grad!.dtype], ["bf16", "f32"]);
    assertEquals(await x.grad!.toArray(), [[3, 5], [3, 5]]);
    assertEquals(await y.grad!.toArray(), [4, 6]);
  });

  it("comparisons and logical functions have none", () => {
    using x = device.tensor([1, 2], { requiresGrad: true });
    tidy(() => {
      const results = [x.eq(1), x.ne(x), x.lt(1), x.le(1), x.gt(x), x.ge(1)];
      for (const result of [...results, results[0]!.logicalNot()]) assert(!result.requiresGrad);
    });
  });
});

describe("gradients of where() and maskedFill()", () => {
  it("go to what was picked", async () => {
    using a = leaf([2, 3], 5);
    using b = leaf([3], 6);
    using mask = device.tensor([[true], [false]]);
    await gradCheck((a, b) => a.where(mask, b).square(), [a, b]);
    await gradCheck((a) => a.where(mask, 2).add(a.maskedFill(mask, 3)).square(), a);
  });

  it("do not let NaN through from what was not picked", async () => {
    using x = device.tensor([-1, 0, 4], { requiresGrad: true });
    tidy(() => {
      const isGood = x.gt(0);
      // The slope of sqrt() is infinite at 0, NaN below.
      const safe = x.where(isGood, 1).sqrt();
      safe.where(isGood, 0).sum().backward();
    });
    assertEquals(await x.grad!.toArray(), [0, 0, 0.25]);
    x.zeroGrad();
    using gradient = device.tensor([NaN, 2, NaN]);
    tidy(() => x.maskedFill(x.ne(0), 0).backward(gradient));
    assertEquals(await x.grad!.toArray(), [0, 2, 0]);
  });
});

describe("what elementwise functions save", () => {
  /** Bytes that stay when results are disposed of but the last. */
  function kept(fn: () => Tensor): number {
    const before = device.memory().allocatedBytes;
    using _out = tidy(fn);
    return device.memory().allocatedBytes - before;
  }

  it("is nothing, an operand that a wanted gradient needs, or the result", () => {
    const bytes = 4 * 1000;
    using x = device.ones([1000], { requiresGrad: true });
    using y = device.ones([1000]);
    const cases: [string, () => Tensor, number][] = [
      ["sums and products with numbers", () => x.add(1).mul(2).sub(3).neg().add(x), 1],
      ["a product with a constant", () => x.add(1).mul(y), 1],
      ["a product that needs both", () => x.add(1).mul(x.add(2)), 3],
      ["a function saved by its result", () => x.add(1).relu(), 1],
      ["a function saved by its operand", () => x.add(1).gelu(), 2],
      ["dropout", () => x.add(1).dropout(0.5), 1],
    ];
    for (const [what, fn, tensors] of cases) assertEquals(kept(fn), tensors * bytes, what);
  });
});
