import type { Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { roundedTo } from "../../../gpu/dtype.ts";
import {
  crossEntropy,
  crossEntropyGradient,
  type CrossEntropyOptions,
} from "../../../gpu/ops/cross_entropy.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { computed, randomValues, read } from "../_values.ts";

const device = await sharedDevice();
const PLAIN: CrossEntropyOptions = { labelSmoothing: 0, ignoreIndex: -100 };

/** exp, log and the sums are each off by some 10^-6 relative at most; see `elementwise_test.ts`. */
const TOLERANCE = { atol: 3e-6, rtol: 5e-6 };

function lossOf(logits: Tensor, targets: Tensor, options = PLAIN): Tensor {
  const arrays = [arrayOf(logits), arrayOf(targets)] as const;
  return computed(device, (runtime) => crossEntropy(runtime, ...arrays, options));
}

function gradientOf(g: Tensor, logits: Tensor, targets: Tensor, options = PLAIN): Tensor {
  const arrays = [arrayOf(g), arrayOf(logits), arrayOf(targets)] as const;
  return computed(device, (runtime) => crossEntropyGradient(runtime, ...arrays, options));
}

function naive(
  logits: ArrayLike<number>,
  targets: readonly number[],
  g: ArrayLike<number>,
  { labelSmoothing, ignoreIndex }: CrossEntropyOptions,
): { losses: number[]; gradient: number[] } {
  const classes = logits.length / targets.length;
  const losses: number[] = [];
  const gradient: number[] = [];
  for (const [n, target] of targets.entries()) {
    const row = Array.from({ length: classes }, (_, c) => logits[n * classes + c]!);
    const highest = Math.max(...row);
    const lse = highest + Math.log(row.reduce((sum, x) => sum + Math.exp(x - highest), 0));
    const isIgnored = target === ignoreIndex;
    const nll = lse - row[target]!;
    const mean = row.reduce((sum, x) => sum + lse - x, 0) / classes;
    losses.push(isIgnored ? 0 : (1 - labelSmoothing) * nll + labelSmoothing * mean);
    row.forEach((x, c) => {
      const wanted = labelSmoothing / classes + (c === target ? 1 - labelSmoothing : 0);
      gradient.push(isIgnored ? 0 : g[n]! * (Math.exp(x - lse) - wanted));
    });
  }
  return { losses, gradient };
}

describe("crossEntropy() and crossEntropyGradient()", () => {
  it("agree with 64-bit floats, with and without smoothing and ignored rows", async () => {
    await assertNoLeak(device, async () => {
      for (const [rows, classes] of [[1, 1], [5, 7], [3, 130]] as const) {
        const shape = [rows, classes];
        const values = randomValues(rows * classes, classes, -6, 6);
        const incoming = randomValues(rows, rows);
        const list = Array.from({ length: rows }, (_, n) => (5 * n + 2) % classes);
        using dense = device.tensor(values, { shape });
        using padded = nanPadded(device, values, shape);
        using targets = device.tensor(new Int32Array(list));
        using g = nanPadded(device, incoming, [rows]);
        for (const labelSmoothing of [0, 0.1, 1]) {
          for (const ignoreIndex of [-100, 2]) {
            const options = { labelSmoothing, ignoreIndex };
            const { losses, gradient } = naive(values, list, incoming, options);
            for (const logits of [dense, padded]) {
              using loss = lossOf(logits, targets, options);
              assertAllClose(await read(loss), { shape: [rows], data: losses }, TOLERANCE);
              using dLogits = gradientOf(g, logits, targets, options);
              assertAllClose(await read(dLogits), { shape, data: gradient }, TOLERANCE);
            }
          }
        }
      }
    });
  });

  it("do not overflow, and take classes of probability 0", async () => {
    using logits = device.tensor([[1e4, 1e4 + 1], [3e38, -3e38], [-Infinity, 0]]);
    using targets = device.tensor(new Int32Array([0, 0, 1]));
    using loss = lossOf(logits, targets);
    assertAllClose(await loss.data(), [Math.log(1 + Math.E), 0, 0], TOLERANCE);
    using g = device.ones([3]);
    using dLogits = gradientOf(g, logits, targets);
    const share = 1 / (1 + Math.E);
    assertAllClose(await dLogits.data(), [share - 1, 1 - share, 0, 0, 0, 0], TOLERANCE);
  });

  it("give 0 for ignored rows whatever they hold, NaN for targets out of range", async () => {
    using logits = device.tensor([[NaN, 1], [0, 0], [0, 0], [0, 0], [NaN, 1]]);
    using targets = device.tensor(new Int32Array([-1, -100, 2, 1, 1]));
    using g = device.tensor([NaN, 1, 1, 1, 1]);
    const options = { labelSmoothing: 0, ignoreIndex: -1 };
    using loss = lossOf(logits, targets, options);
    const expected = [0, NaN, NaN, Math.log(2), NaN];
    assertAllClose(await loss.data(), expected, { ...TOLERANCE, equalNan: true });
    using dLogits = gradientOf(g, logits, targets, options);
    const half = [0, 0, NaN, NaN, NaN, NaN, 0.5, -0.5, NaN, NaN];
    assertAllClose(await dLogits.data(), half, { ...TOLERANCE, equalNan: true });
  });

  it("give NaN for a row of -Infinity, which has no distribution", async () => {
    using logits = device.full([1, 3], -Infinity);
    using targets = device.tensor(new Int32Array([1]));
    using g = device.ones([1]);
    using loss = lossOf(logits, targets);
    using dLogits = gradientOf(g, logits, targets);
    assertEquals([...await loss.data(), ...await dLogits.data()], [NaN, NaN, NaN, NaN]);
  });

  it("take halves: losses are f32, the gradient is rounded once", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      using logits = nanPadded(device, randomValues(35, 3, -4, 4), [5, 7], dtype);
      using wideLogits = logits.to("f32");
      using targets = device.tensor(new Int32Array([0, 6, 3, 2, 2]));
      using g = device.tensor(randomValues(5, 4));
      const options = { labelSmoothing: 0.2, ignoreIndex: 3 };
      using loss = lossOf(logits, targets, options);
      using wideLoss = lossOf(wideLogits, targets, options);
      assertEquals([loss.dtype, await loss.data()], ["f32", await wideLoss.data()]);
      using half = gradientOf(g, logits, targets, options);
      using wide = gradientOf(g, wideLogits, targets, options);
      assertEquals(half.dtype, dtype);
      const expected = [...await wide.data()].map((value) => roundedTo(dtype, value));
      assertEquals([...await half.data()], expected);
    }
  });

  it("take no rows, and throw for operands of other shapes and types", async () => {
    using none = device.zeros([0, 3]);
    using noTargets = device.zeros([0], { dtype: "i32" });
    using g = device.zeros([0]);
    using loss = lossOf(none, noTargets);
    using dLogits = gradientOf(g, none, noTargets);
    assertEquals([loss.shape, dLogits.shape], [[0], [0, 3]]);
    assertEquals((await loss.data()).length + (await dLogits.data()).length, 0);
    const text = "Cannot compute a cross entropy: ";
    assertThrows(() => lossOf(g, noTargets), TypeError, `${text}logits have shape [0], expected`);
    assertThrows(() => lossOf(none, g), TypeError, `${text}targets have dtype f32 and shape [0]`);
    assertThrows(() => lossOf(noTargets, noTargets), TypeError, `${text}dtype is i32`);
    using two = device.zeros([2, 3]);
    assertThrows(() => lossOf(two, noTargets), RangeError, `${text}there are 0 targets for logits`);
  });
});
