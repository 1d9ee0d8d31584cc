import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues, read } from "../_values.ts";

const device = await sharedDevice();

/** In 64-bit floats, row by row. */
function naive(
  values: ArrayLike<number>,
  length: number,
  { weight, bias, epsilon = 1e-5 }: {
    weight?: ArrayLike<number>;
    bias?: ArrayLike<number>;
    epsilon?: number;
  } = {},
): number[] {
  const out: number[] = [];
  for (let start = 0; start < values.length; start += length) {
    const row = Array.from({ length }, (_, i) => values[start + i]!);
    const mean = row.reduce((a, b) => a + b, 0) / length;
    const variance = row.reduce((sum, x) => sum + (x - mean) ** 2, 0) / length;
    row.forEach((x, i) =>
      out.push((x - mean) / Math.sqrt(variance + epsilon) * (weight?.[i] ?? 1) + (bias?.[i] ?? 0))
    );
  }
  return out;
}

describe("Tensor.layerNorm()", () => {
  it("agrees with 64-bit floats, for rows of any length", async () => {
    await assertNoLeak(device, async () => {
      for (const length of [1, 2, 7, 63, 64, 65, 384]) {
        const values = randomValues(3 * 2 * length, length, -3, 3);
        const shape = [3, 2, length];
        using dense = device.tensor(values, { shape });
        using padded = nanPadded(device, values, shape);
        const expected = { shape, data: naive(values, length) };
        for (const x of [dense, padded]) {
          using out = x.layerNorm();
          assertAllClose(await read(out), expected, { atol: 3e-6, rtol: 3e-6 });
        }
      }
    });
  });

  it("applies weight and bias, which may be views", async () => {
    const values = randomValues(4 * 9, 1);
    const weight = randomValues(9, 2);
    const bias = randomValues(9, 3);
    using x = device.tensor(values, { shape: [4, 9] });
    using w = nanPadded(device, weight, [9]);
    // A column of a matrix: its elements lie apart, with NaN between.
    using columns = nanPadded(device, [...bias].flatMap((b) => [b, NaN]), [9, 2]);
    using b = columns.select(1, 0);
    const options = { atol: 3e-6, rtol: 3e-6 };
    using both = x.layerNorm({ weight: w, bias: b });
    assertAllClose(await both.data(), naive(values, 9, { weight, bias }), options);
    using weighted = x.layerNorm({ weight: w });
    assertAllClose(await weighted.data(), naive(values, 9, { weight }), options);
    using biased = x.layerNorm({ bias: b });
    assertAllClose(await biased.data(), naive(values, 9, { bias }), options);
  });

  it("normalises rows that lie along another axis of memory", async () => {
    const values = randomValues(5 * 6, 4);
    using x = device.tensor(values, { shape: [5, 6] });
    using turned = x.transpose(0, 1);
    using out = turned.layerNorm();
    using dense = turned.contiguous();
    assertAllClose(await out.data(), naive(await dense.data(), 5), { atol: 3e-6, rtol: 3e-6 });
  });

  it("does not lose the variance beside a large mean", async () => {
    const values = randomValues(4 * 256, 5).map((x) => 1000 + x);
    using x = device.tensor(values, { shape: [4, 256] });
    using out = x.layerNorm();
    // The mean is off by some 2^-24 * 1000 = 6e-5, the deviations' scale is 0.58.
    assertAllClose(await out.data(), naive(values, 256), { atol: 4e-4, rtol: 0 });
  });

  it("gives 0 for constant rows, and uses epsilon", async () => {
    using constant = device.full([2, 5], 3);
    using zero = constant.layerNorm();
    assertEquals(await zero.data(), new Float32Array(10));
    using x = device.tensor([[1, -1]]);
    using out = x.layerNorm({ epsilon: 3 });
    assertAllClose(await out.data(), [0.5, -0.5]);
  });

  it("takes empty tensors", async () => {
    using x = device.zeros([0, 4]);
    using out = x.layerNorm();
    assertEquals([out.shape, (await out.data()).length], [[0, 4], 0]);
    using y = device.zeros([4, 0]);
    assertEquals(y.layerNorm().shape, [4, 0]);
  });

  it("throws for a scalar, other dtypes and vectors of another size", () => {
    using x = device.zeros([2, 4]);
    using scalar = device.tensor(1);
    using i = device.zeros([4], { dtype: "i32" });
    using three = device.zeros([3]);
    using row = device.zeros([1, 4]);
    assertThrows(() => scalar.layerNorm(), RangeError, "a scalar has no axis to normalise");
    assertThrows(() => i.layerNorm(), TypeError, "Cannot layerNorm: dtype is i32, expected f32");
    assertThrows(() => x.layerNorm({ weight: i }), TypeError, "with this weight: dtype is i32");
    assertThrows(
      () => x.layerNorm({ bias: three }),
      RangeError,
      "bias has shape [3], expected [4] to match the last axis of [2, 4]",
    );
    assertThrows(() => x.layerNorm({ weight: row }), RangeError, "weight has shape [1, 4]");
  });
});
