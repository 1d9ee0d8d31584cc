/** Losses and their gradients against the formulas in float64. */
import {
  crossEntropy,
  type CrossEntropyOptions,
  mseLoss,
  type Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

/** Sums of exponentials of some ten numbers near 1, as the driver computes exp and log: some last bits. */
const TOLERANCE = { atol: 2e-6, rtol: 1e-5 };

/** Losses of rows of logits, and their derivatives by the logits. */
function expectedRows(
  logits: ArrayLike<number>,
  targets: readonly number[],
  { ignoreIndex = -100, labelSmoothing: e = 0 }: CrossEntropyOptions,
) {
  const C = logits.length / targets.length;
  const rows = targets.map((target, n) => {
    const row = Array.from(logits).slice(n * C, (n + 1) * C);
    const lse = Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0));
    if (target === ignoreIndex) return { loss: 0, gradient: row.map(() => 0) };
    const wanted = row.map((_, c) => e / C + (c === target ? 1 - e : 0));
    return {
      loss: row.reduce((sum, x, c) => sum + wanted[c]! * (lse - x), 0),
      gradient: row.map((x, c) => Math.exp(x - lse) - wanted[c]!),
    };
  });
  return { losses: rows.map(({ loss }) => loss), gradients: rows.flatMap((row) => row.gradient) };
}

describe("crossEntropy", () => {
  const [N, C] = [5, 7];
  const targets = [3, -100, 0, 6, 3];

  for (const labelSmoothing of [0, 0.1]) {
    it(`equals the formula, as do its gradients, with labelSmoothing ${labelSmoothing}`, async () => {
      using logits = device.randn([N, C], { seed: 1, requiresGrad: true });
      const { losses, gradients } = expectedRows(await logits.data(), targets, { labelSmoothing });
      const total = losses.reduce((a, b) => a + b, 0);
      for (
        const [reduction, value, factor] of [["sum", total, 1], ["mean", total / 4, 1 / 4]] as const
      ) {
        using loss = crossEntropy(logits, targets, { reduction, labelSmoothing });
        assertEquals([loss.shape, loss.dtype], [[], "f32"]);
        assertAllClose(await loss.data(), [value], TOLERANCE);
        loss.backward();
        assertAllClose(await logits.grad!.data(), gradients.map((g) => g * factor), TOLERANCE);
        logits.zeroGrad();
      }
      using each = crossEntropy(logits, targets, { reduction: "none", labelSmoothing });
      assertAllClose(await each.data(), losses, TOLERANCE);
      using weights = device.tensor([1, 2, 3, 4, 5]);
      each.backward(weights);
      const weighted = gradients.map((g, at) => g * (1 + Math.floor(at / C)));
      // Up to 5 times the others' error.
      assertAllClose(await logits.grad!.data(), weighted, { atol: 1e-5, rtol: 1e-5 });
    });
  }

  it("takes classes along axis 1 of [N, C, ...], and one sample without N", async () => {
    using logits = device.randn([2, C, 3], { seed: 2, requiresGrad: true });
    const nested = [[0, 1, 2], [3, 4, -100]];
    using loss = crossEntropy(logits, nested, { reduction: "none" });
    assertEquals(loss.shape, [2, 3]);
    const rows = await logits.permute([0, 2, 1]).data();
    const { losses, gradients } = expectedRows(rows, nested.flat(), {});
    assertAllClose(await loss.data(), losses, TOLERANCE);
    using sum = loss.sum();
    sum.backward();
    assertAllClose(await logits.grad!.permute([0, 2, 1]).data(), gradients, TOLERANCE);
    using one = device.tensor([1, 2, 3]);
    using single = crossEntropy(one, 2);
    assertEquals(single.shape, []);
    assertAllClose(await single.data(), expectedRows([1, 2, 3], [2], {}).losses, TOLERANCE);
  });

  it("takes targets as BigInts", async () => {
    using logits = device.randn([N, C], { seed: 1 });
    using expected = crossEntropy(logits, targets);
    for (const big of [targets.map(BigInt), BigInt64Array.from(targets, BigInt)]) {
      using loss = crossEntropy(logits, big);
      assertEquals(await loss.item(), await expected.item());
    }
  });

  it("takes targets in a tensor, with any ignoreIndex", async () => {
    using logits = device.randn([N, C], { seed: 1 });
    using target = device.tensor([3, 1, 0, 6, 3], { dtype: "i32" });
    using loss = crossEntropy(logits, target, { ignoreIndex: 3 });
    using plain = crossEntropy(logits, [-100, 1, 0, 6, -100]);
    assertEquals(await loss.data(), await plain.data());
  });

  it("is NaN as the mean of no targets, with no gradients, and 0 as their sum", async () => {
    using logits = device.randn([2, C], { seed: 1, requiresGrad: true });
    using mean = crossEntropy(logits, [-100, -100]);
    assertEquals(await mean.item(), NaN);
    mean.backward();
    assertEquals((await logits.grad!.data()).every((g) => g === 0), true);
    using sum = crossEntropy(logits, [-100, -100], { reduction: "sum" });
    assertEquals(await sum.item(), 0);
  });

  it("computes halves in f32", async () => {
    using logits = device.randn([N, C], { seed: 1, dtype: "bf16", requiresGrad: true });
    const { losses, gradients } = expectedRows(await logits.data(), targets, {});
    using loss = crossEntropy(logits, targets, { reduction: "none" });
    assertEquals(loss.dtype, "f32");
    assertAllClose(await loss.data(), losses, TOLERANCE);
    using sum = loss.sum();
    sum.backward();
    assertEquals(logits.grad!.dtype, "bf16");
    // Eight bits of a bf16: rounded once.
    assertAllClose(await logits.grad!.data(), gradients, { atol: 1e-6, rtol: 2 ** -8 });
  });

  it("leaves no tensor behind but its result", async () => {
    using logits = device.zeros([N, C], { requiresGrad: true });
    await assertNoLeak(device, () => {
      const loss = crossEntropy(logits, targets);
      loss.backward();
      loss.dispose();
      logits.zeroGrad();
    });
  });

  it("refuses what does not go together, before any work", () => {
    using logits = device.zeros([N, C]);
    const refuses = (
      target: Tensor | number[],
      message: string,
      options: CrossEntropyOptions = {},
    ) => assertThrows(() => crossEntropy(logits, target, options), Error, message);
    refuses([0, 0, 0, 0, 7], "target has 7, expected classes from 0 to 6, or -100");
    refuses([0, 0, 0, 0, -1], "target has -1, expected classes");
    const large = [0n, 0n, 0n, 0n, 2n ** 40n] as unknown as number[];
    refuses(large, "target has 1099511627776n, expected classes from 0 to 6, or -100");
    refuses([0, 1], "shapes [5, 7] and [2], expected [N, C, ...] and [N, ...]");
    using floats = device.zeros([N]);
    refuses(floats, 'target has dtype f32, expected i32, convert with .to("i32")');
    refuses(targets, "labelSmoothing is 2", { labelSmoothing: 2 });
    refuses(targets, "ignoreIndex is 0.5", { ignoreIndex: 0.5 });
    refuses(targets, 'reduction is "avg"', { reduction: "avg" as "sum" });
    using whole = device.zeros([N, C], { dtype: "i32" });
    assertThrows(() => crossEntropy(whole, targets), TypeError, "logits have dtype i32");
  });
});

describe("mseLoss", () => {
  it("is the mean, the sum or all of the squared differences, as are its gradients", async () => {
    using x = device.tensor([[1, 2], [3, 4]], { requiresGrad: true });
    using target = device.tensor([[0, 4], [3, 1]], { requiresGrad: true });
    for (
      const [reduction, value, dx] of [
        ["mean", 3.5, [[0.5, -1], [0, 1.5]]],
        ["sum", 14, [[2, -4], [0, 6]]],
        ["none", [[1, 4], [0, 9]], [[2, -4], [0, 6]]],
      ] as const
    ) {
      using loss = mseLoss(x, target, { reduction });
      assertEquals(await loss.toArray(), value);
      using sum = loss.sum();
      sum.backward();
      assertEquals(await x.grad!.toArray(), dx);
      assertEquals(await target.grad!.neg().toArray(), dx);
      x.zeroGrad();
      target.zeroGrad();
    }
  });

  it("refuses shapes that differ, also where they would broadcast", () => {
    using x = device.zeros([2, 3]);
    using y = device.zeros([3]);
    assertThrows(() => mseLoss(x, y), RangeError, "shapes [2, 3] and [3], expected the same");
  });
});
