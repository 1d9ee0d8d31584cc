import { linear, type Tensor, tidy } from "@denoformers/attention";
import { assertAllClose, gradCheck } from "@denoformers/attention/testing";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();

function leaf(shape: readonly number[], seed: number): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const x = nanPadded(device, randomValues(count, seed), shape);
  x.requiresGrad = true;
  return x;
}

describe("gradients of matmul()", () => {
  const shapes: [string, number[], number[]][] = [
    ["matrices", [3, 4], [4, 2]],
    ["batches", [2, 3, 4], [2, 4, 2]],
    ["a batch by one matrix", [2, 2, 3, 4], [4, 2]],
    ["one matrix by a batch", [3, 4], [2, 4, 2]],
    ["batches that broadcast", [2, 1, 3, 4], [3, 4, 2]],
  ];
  for (const [name, a, b] of shapes) {
    it(`of ${name} agree with differences`, async () => {
      using x = leaf(a, 1);
      using y = leaf(b, 2);
      await gradCheck((x, y) => x.matmul(y), [x, y], { maxElements: 6 });
    });
  }

  it("of transposed views and of halves keep dtype and shape", async () => {
    const values = randomValues(12, 3);
    using x = device.tensor(values, { shape: [4, 3], dtype: "f16", requiresGrad: true });
    using y = device.tensor(values, { shape: [4, 3], dtype: "f16" });
    tidy(() => x.transpose(0, 1).matmul(y).sum().backward());
    assertEquals([x.grad!.dtype, x.grad!.shape], ["f16", [4, 3]]);
    const host = await y.data();
    const sums = Array.from(
      { length: 4 },
      (_, i) => host[3 * i]! + host[3 * i + 1]! + host[3 * i + 2]!,
    );
    // Sums of 3 numbers below 1, rounded to halves, of 11 bits.
    const expected = sums.flatMap((sum) => [sum, sum, sum]);
    assertAllClose(await x.grad!.data(), expected, { atol: 2 ** -10, rtol: 0 });
  });

  it("are computed, and operands saved, only where they are wanted", () => {
    using x = device.ones([64, 64], { requiresGrad: true });
    using y = device.ones([64, 64]);
    const before = device.memory().allocatedBytes;
    using _out = tidy(() => x.mul(2).matmul(y));
    assertEquals(device.memory().allocatedBytes - before, 64 * 64 * 4);
  });
});

describe("linear()", () => {
  it("agrees with matmul() and add(), gradients with differences", async () => {
    using x = leaf([2, 3, 4], 4);
    using weight = leaf([5, 4], 5);
    using bias = leaf([5], 6);
    using out = linear(x, weight, bias);
    using expected = tidy(() => x.matmul(weight.transpose(0, 1)).add(bias));
    assertEquals(out.shape, [2, 3, 5]);
    // Sums of 4 products below 1, with the bias before or behind the last.
    assertAllClose(await out.data(), await expected.data(), { atol: 1e-6, rtol: 0 });
    await gradCheck(linear, [x, weight, bias], { maxElements: 6 });
    await gradCheck(linear, [x, weight], { maxElements: 4 });
  });

  it("takes one row, and no rows", async () => {
    using x = leaf([4], 4);
    using weight = leaf([5, 4], 5);
    await gradCheck(linear, [x, weight], { maxElements: 4 });
    using none = device.zeros([0, 4], { requiresGrad: true });
    tidy(() => linear(none, weight).sum().backward());
    assertEquals(none.grad!.shape, [0, 4]);
    assert((await weight.grad!.data()).every((value) => value === 0));
  });

  it("throws RangeError for sizes that do not fit, TypeError for dtypes", () => {
    using x = device.ones([2, 4]);
    using weight = device.ones([5, 4]);
    using bias = device.ones([4]);
    using half = device.ones([2, 4], { dtype: "f16" });
    assertThrows(
      () => linear(x, weight, bias),
      RangeError,
      "Cannot linear: x, weight and bias have shapes [2, 4], [5, 4], [4], expected [..., in], [out, in], [out]",
    );
    assertThrows(() => linear(x, bias), RangeError, "[2, 4], [4], expected [..., in], [out, in]");
    assertThrows(() => linear(weight, x.transpose(0, 1)), RangeError, "[5, 4], [4, 2]");
    assertThrows(() => linear(half, weight), TypeError, "dtypes are f16 and f32");
  });
});

describe("gradients of layerNorm()", () => {
  it("agree with differences, with weight and bias or without", async () => {
    using x = leaf([2, 2, 5], 7);
    using weight = leaf([5], 8);
    using bias = leaf([5], 9);
    await gradCheck(
      (x, weight, bias) => x.layerNorm({ weight: weight, bias: bias }),
      [x, weight, bias],
      { maxElements: 6 },
    );
    await gradCheck((x) => x.layerNorm({ epsilon: 0.1 }), x, { maxElements: 6 });
    using constant = x.detach();
    await gradCheck((bias) => constant.layerNorm({ bias }), bias);
  });
});
