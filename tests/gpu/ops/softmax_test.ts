import { requestDevice, type Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { roundedTo } from "../../../gpu/dtype.ts";
import { softmaxGradient } from "../../../gpu/ops/softmax.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import {
  computed,
  type HostArray,
  hostArray,
  indices,
  placeOf,
  randomValues,
  read,
} from "../_values.ts";

const device = await sharedDevice();

/** exp and the sum are each off by some 10^-6 relative at most; see `elementwise_test.ts`. */
const TOLERANCE = { atol: 1e-6, rtol: 5e-6 };

function naiveRows(
  host: HostArray,
  axis: number,
): { softmax: HostArray; logSumExp: HostArray } {
  const row = (index: readonly number[]) =>
    Array.from(
      { length: host.shape[axis]! },
      (_, i) => host.data[placeOf(index.with(axis, i), host.shape)]!,
    );
  const sum = (values: number[]) => values.reduce((total, x) => total + Math.exp(x), 0);
  const softmax = hostArray(host.shape, (index) => {
    return Math.exp(row(index)[index[axis]!]!) / sum(row(index));
  });
  const kept = host.shape.with(axis, 1);
  const logSumExp = {
    shape: host.shape.toSpliced(axis, 1),
    data: indices(kept).map((index) => Math.log(sum(row(index)))),
  };
  return { softmax, logSumExp };
}

describe("Tensor.softmax() and logSumExp()", () => {
  it("agree with the formula along any axis of dense and padded tensors", async () => {
    await assertNoLeak(device, async () => {
      for (const shape of [[5], [1, 1], [3, 4, 7], [2, 3, 1, 65], [4, 129]]) {
        const host: HostArray = {
          shape,
          data: [...randomValues(shape.reduce((a, b) => a * b), 9, -4, 4)],
        };
        using dense = device.tensor(new Float32Array(host.data), { shape });
        using padded = nanPadded(device, host.data, shape);
        for (let axis = 0; axis < shape.length; axis++) {
          const expected = naiveRows(host, axis);
          for (const x of [dense, padded]) {
            using softmax = x.softmax(axis);
            assertAllClose(await read(softmax), expected.softmax, TOLERANCE);
            using lse = x.logSumExp(axis - shape.length);
            assertAllClose(await read(lse), expected.logSumExp, TOLERANCE);
          }
        }
      }
    });
  });

  it("work along the last axis by default, and can keep it", async () => {
    using x = device.tensor([[0, 0], [0, Math.log(3)]]);
    using softmax = x.softmax();
    assertAllClose(await softmax.data(), [0.5, 0.5, 0.25, 0.75], TOLERANCE);
    using kept = x.logSumExp(-1, { keepDim: true });
    assertEquals(kept.shape, [2, 1]);
    assertAllClose(await kept.data(), [Math.log(2), Math.log(4)], TOLERANCE);
  });

  it("give 0 and -Infinity for rows of -Infinity, and ignore single ones", async () => {
    using x = device.tensor([[-Infinity, -Infinity, -Infinity], [-Infinity, 0, 0]]);
    using softmax = x.softmax();
    assertAllClose(await softmax.data(), [0, 0, 0, 0, 0.5, 0.5], TOLERANCE);
    using lse = x.logSumExp();
    assertAllClose(await lse.data(), [-Infinity, Math.log(2)], TOLERANCE);
  });

  it("do not overflow, at the largest floats either", async () => {
    using x = device.tensor([[1e4, 1e4], [-1e4, -1e4 - 1], [3e38, -3e38], [-3e38, -3.4e38]]);
    using softmax = x.softmax();
    const share = 1 / (1 + Math.exp(-1));
    assertAllClose(await softmax.data(), [0.5, 0.5, share, 1 - share, 1, 0, 1, 0], TOLERANCE);
    using lse = x.logSumExp();
    assertAllClose(
      await lse.data(),
      [1e4 + Math.log(2), -1e4 + Math.log(1 + Math.exp(-1)), 3e38, -3e38],
      { atol: 0, rtol: 1e-6 },
    );
  });

  it("are uniform for constant rows, of any length", async () => {
    for (const length of [1, 63, 64, 65, 1000]) {
      using x = device.full([2, length], 17);
      using softmax = x.softmax();
      assertAllClose(
        await softmax.data(),
        new Float32Array(2 * length).fill(1 / length),
        TOLERANCE,
      );
    }
  });

  it("give NaN for all of a row that holds NaN, and for no other", async () => {
    using x = device.tensor([[NaN, 1, 2], [0, 0, 0], [1, 2, NaN]]);
    using softmax = x.softmax();
    const third = 1 / 3;
    assertAllClose(await softmax.data(), [NaN, NaN, NaN, third, third, third, NaN, NaN, NaN], {
      ...TOLERANCE,
      equalNan: true,
    });
    using lse = x.logSumExp();
    assertAllClose(await lse.data(), [NaN, Math.log(3), NaN], { ...TOLERANCE, equalNan: true });
  });

  it("give Infinity for the sum of a row that holds Infinity, and NaN if NaN stands beside it", async () => {
    using x = device.tensor([[Infinity, 1, Infinity], [Infinity, 0, NaN]]);
    using lse = x.logSumExp();
    const [infinite, beside] = await lse.data();
    assertEquals([infinite, Number.isNaN(beside)], [Infinity, true]);
  });

  it("take empty tensors and rows", async () => {
    using x = device.zeros([2, 0]);
    using softmax = x.softmax();
    assertEquals([softmax.shape, (await softmax.data()).length], [[2, 0], 0]);
    using lse = x.logSumExp();
    assertEquals(await lse.data(), new Float32Array([-Infinity, -Infinity]));
    using none = x.logSumExp(0);
    assertEquals(none.shape, [0]);
  });

  it("spread their workgroups over three dimensions where one is too short", async () => {
    using narrow = await requestDevice({
      tune: false,
      limits: { maxComputeWorkgroupsPerDimension: 10 },
    });
    const host: HostArray = { shape: [301, 2], data: [...randomValues(602, 12)] };
    using x = narrow.tensor(new Float32Array(host.data), { shape: host.shape });
    const expected = naiveRows(host, 1);
    using softmax = x.softmax();
    assertAllClose(await read(softmax), expected.softmax, TOLERANCE);
    using lse = x.logSumExp();
    assertAllClose(await read(lse), expected.logSumExp, TOLERANCE);
  });

  it("throw for other dtypes and wrong axes", () => {
    using i = device.tensor(new Int32Array([1]));
    assertThrows(() => i.softmax(), TypeError, "Cannot softmax: dtype is i32, expected f32");
    assertThrows(() => i.logSumExp(), TypeError, "Cannot logSumExp: dtype is i32, expected f32");
    using x = device.zeros([2]);
    assertThrows(() => x.softmax(1), RangeError, "Cannot softmax: axis 1 is out of range");
  });
});

function gradientOf(gradient: Tensor, y: Tensor, axis: number): Tensor {
  return computed(
    y.device,
    (runtime) => softmaxGradient(runtime, arrayOf(gradient), arrayOf(y), axis),
  );
}

/** y (g - sum(g y)) along an axis. */
function naiveGradient(g: HostArray, y: HostArray, axis: number): HostArray {
  return hostArray(y.shape, (index) => {
    let sum = 0;
    for (let i = 0; i < y.shape[axis]!; i++) {
      const place = placeOf(index.with(axis, i), y.shape);
      sum += g.data[place]! * y.data[place]!;
    }
    const place = placeOf(index, y.shape);
    return y.data[place]! * (g.data[place]! - sum);
  });
}

describe("softmaxGradient()", () => {
  it("agrees with the formula along any axis of dense and padded arrays", async () => {
    await assertNoLeak(device, async () => {
      for (const shape of [[5], [3, 4, 7], [2, 129]]) {
        const size = shape.reduce((a, b) => a * b);
        const logits: HostArray = { shape, data: [...randomValues(size, 1, -4, 4)] };
        const g: HostArray = { shape, data: [...randomValues(size, 2, -2, 2)] };
        using dense = device.tensor(new Float32Array(g.data), { shape });
        using padded = nanPadded(device, g.data, shape);
        for (let axis = 0; axis < shape.length; axis++) {
          const y = naiveRows(logits, axis).softmax;
          using saved = nanPadded(device, y.data, shape);
          for (const gradient of [dense, padded]) {
            using actual = gradientOf(gradient, saved, axis);
            // Sums of at most 129 products below 2, of weights that sum to 1.
            assertAllClose(await read(actual), naiveGradient(g, y, axis), {
              atol: 1e-6,
              rtol: 1e-6,
            });
          }
        }
      }
    });
  });

  it("is 0 where the weight is, whatever the gradient is there", async () => {
    using y = device.tensor([[0, 0.25, 0.75], [0, 0, 0], [0, 0.5, 0.5]]);
    using g = device.tensor([[NaN, 1, 2], [NaN, Infinity, 1], [-Infinity, 3, NaN]]);
    using actual = gradientOf(g, y, 1);
    const share = 0.25 * 0.75;
    assertEquals([...await actual.data()], [0, -share, share, 0, 0, 0, 0, NaN, NaN]);
  });

  it("takes halves, computes in f32 and rounds once", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      using y = nanPadded(device, randomValues(35, 3, 0, 0.3), [5, 7], dtype);
      using g = nanPadded(device, randomValues(35, 4), [5, 7], dtype);
      using wideY = y.to("f32");
      using wideG = g.to("f32");
      using half = gradientOf(g, y, 1);
      using wide = gradientOf(wideG, wideY, 1);
      assertEquals(half.dtype, dtype);
      const expected = [...await wide.data()].map((value) => roundedTo(dtype, value));
      assertEquals([...await half.data()], expected);
    }
  });

  it("takes empty arrays, and throws for other types", async () => {
    for (const shape of [[0, 3], [3, 0]]) {
      using x = device.zeros(shape);
      using dx = gradientOf(x, x, 1);
      assertEquals([dx.shape, (await dx.data()).length], [shape, 0]);
    }
    using i = device.zeros([2], { dtype: "i32" });
    assertThrows(
      () => gradientOf(i, i, 0),
      TypeError,
      "Cannot compute softmax's gradient: dtype is i32, expected f32",
    );
  });
});
