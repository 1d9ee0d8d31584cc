import type { Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runtimeOf } from "../../../gpu/device.ts";
import { roundedTo } from "../../../gpu/dtype.ts";
import { layerNormGradient } from "../../../gpu/ops/layer_norm.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { tensorFrom } from "../../../gpu/tensor/tensor.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { deviceAsGpu } from "../_forms.ts";
import { randomValues, read } from "../_values.ts";

const device = await sharedDevice();
const gpu = await deviceAsGpu();

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
  it("takes PyTorch's normalized_shape where it says the last axis, and no other", async () => {
    using x = device.tensor([1, 2, 4, 8, 3, 0], { shape: [2, 3] });
    assertEquals(await x.layerNorm([3]).data(), await x.layerNorm().data());
    for (const list of [[2], [2, 3], []]) {
      assertThrows(() => x.layerNorm(list), RangeError, "leave it out, or write [3]");
    }
  });

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
    // WGSL's division may miss the mean by 2.5 of its last places, and a row without spread is multiplied by
    // 1 / sqrt(epsilon).
    const atol = 2.5 * 2 ** -22 / Math.sqrt(1e-5);
    assertAllClose(await zero.data(), new Float32Array(10), { atol, rtol: 0 });
    using x = device.tensor([[1, -1]]);
    using out = x.layerNorm({ epsilon: 3 });
    assertAllClose(await out.data(), [0.5, -0.5]);
  });

  it("is the same for rows of any size, where epsilon does not count", async () => {
    const expected = [
      -1.3416407864998738,
      -0.4472135954999579,
      0.4472135954999579,
      1.3416407864998738,
    ];
    const forms = [[device, "f32"], [device, "bf16"], [gpu, "f32"]] as const;
    for (const [on, dtype] of forms) {
      for (const size of [1e-30, 1e-19, 1, 1e10, 1e19, 1e20, 1e37, 1e38, 2.25e38]) {
        using x = on.tensor([8, 9, 10, 11].map((v) => v / 8 * size), { dtype });
        using out = x.layerNorm({ epsilon: 0 });
        // A size that is no power of two is rounded to the type, by 2^-9 of it at most, eight times the spread.
        const atol = dtype === "f32" ? 2e-6 : 0.05;
        assertAllClose(await out.data(), expected, { atol, rtol: 0, message: `${size} ${dtype}` });
      }
    }
    using mixed = device.tensor([3e38, -3e38, 3e38, -3e38]);
    using signs = mixed.layerNorm();
    assertAllClose(await signs.data(), [1, -1, 1, -1], { atol: 1e-6, rtol: 0 });
    // Twelve elements a thread, or more: longer than what any device holds.
    const long = Float32Array.from({ length: 12_290 }, (_, i) => (i % 2 ? 2e38 : 1e38));
    for (const on of [device, gpu]) {
      using y = on.tensor(long).layerNorm();
      assertAllClose(await y.data(), long.map((v) => v > 1.5e38 ? 1 : -1), { atol: 1e-6, rtol: 0 });
    }
  });

  it("divides tiny rows by the root of epsilon", async () => {
    using x = device.tensor([1e-30, 2e-30, 3e-30, 2e-30]);
    using out = x.layerNorm({ epsilon: 1e-5 });
    const root = Math.sqrt(1e-5);
    const expected = [-1e-30 / root, 0, 1e-30 / root, 0];
    assertAllClose(await out.data(), expected, { atol: 1e-34, rtol: 2e-6 });
  });

  it("gives 0 for constant rows of any size", async () => {
    for (const value of [0, 1e-30, 3, 1e4, 1e7, 1e20, 3e38]) {
      using x = device.full([2, 50], value);
      using out = x.layerNorm();
      assertEquals(await out.data(), new Float32Array(100), `${value}`);
    }
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

const NAMES = ["input", "weight", "bias"] as const;
type Gradients<T> = Partial<Record<typeof NAMES[number], T>>;

function gradientsOf(
  g: Tensor,
  x: Tensor,
  weight: Tensor | undefined,
  { names = NAMES, epsilon = 1e-5 }: { names?: readonly string[]; epsilon?: number } = {},
): Gradients<Tensor> {
  const needs = {
    input: names.includes("input"),
    weight: names.includes("weight"),
    bias: names.includes("bias"),
  };
  const runtime = runtimeOf(device);
  const scale = weight && arrayOf(weight);
  const found = layerNormGradient(runtime, arrayOf(g), arrayOf(x), scale, epsilon, needs);
  return Object.fromEntries(
    Object.entries(found).map(([name, array]) => [name, tensorFrom(device, runtime, array)]),
  );
}

function disposeAll(gradients: Gradients<Tensor>): void {
  for (const tensor of Object.values(gradients)) tensor.dispose();
}

/** In 64-bit floats, row by row. */
function naiveGradients(
  g: ArrayLike<number>,
  x: ArrayLike<number>,
  length: number,
  weight?: ArrayLike<number>,
  epsilon = 1e-5,
): Required<Gradients<number[]>> {
  const input: number[] = [];
  const sums = {
    weight: new Array<number>(length).fill(0),
    bias: new Array<number>(length).fill(0),
  };
  for (let start = 0; start < x.length; start += length) {
    const row = Array.from({ length }, (_, i) => x[start + i]!);
    const mean = row.reduce((a, b) => a + b, 0) / length;
    const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / length;
    const rstd = 1 / Math.sqrt(variance + epsilon);
    const normalized = row.map((v) => (v - mean) * rstd);
    const gw = normalized.map((_, i) => g[start + i]! * (weight?.[i] ?? 1));
    const meanOf = (list: number[]) => list.reduce((a, b) => a + b, 0) / length;
    const slope = meanOf(gw.map((v, i) => v * normalized[i]!));
    const offset = meanOf(gw);
    normalized.forEach((v, i) => {
      input.push(rstd * (gw[i]! - offset - v * slope));
      sums.weight[i]! += g[start + i]! * v;
      sums.bias[i]! += g[start + i]!;
    });
  }
  return { input, ...sums };
}

describe("layerNormGradient()", () => {
  it("agrees with 64-bit floats, for few and many rows of any length", async () => {
    await assertNoLeak(device, async () => {
      for (const [rows, length] of [[1, 1], [5, 7], [3, 130], [130, 65], [700, 3]] as const) {
        const values = randomValues(rows * length, length, -3, 3);
        const incoming = randomValues(rows * length, rows);
        const weight = randomValues(length, 8, 0.5, 2);
        const shape = [rows, length];
        using x = nanPadded(device, values, shape);
        using g = device.tensor(incoming, { shape });
        using w = nanPadded(device, weight, [length]);
        for (const scale of [undefined, w]) {
          const actual = gradientsOf(g, x, scale);
          const expected = naiveGradients(incoming, values, length, scale && weight);
          // Rows of a few elements may have a variance of 0.01 or less, and with it slopes of 10 and more.
          const tolerance = { atol: 2e-5, rtol: 2e-5 };
          assertAllClose(await read(actual.input!), { shape, data: expected.input }, tolerance);
          for (const name of ["weight", "bias"] as const) {
            const data = expected[name];
            assertAllClose(await read(actual[name]!), { shape: [length], data }, tolerance);
          }
          disposeAll(actual);
        }
      }
    });
  });

  it("is that of rows of size 1 over the size, in the weight the same", async () => {
    const [x, g, weight] = [[8, 9, 10, 11], [1, -2, 0.5, 3], [1, 2, 1, 0.5]];
    const options = { atol: 0, rtol: 4e-6 };
    for (const size of [1e-30, 1e19, 1e20, 1e37]) {
      const values = x.map((v) => v * size).map(Math.fround);
      const expected = naiveGradients(g, values, 4, weight, 0);
      using scaled = device.tensor(values, { shape: [1, 4] });
      using incoming = device.tensor(g, { shape: [1, 4] });
      using w = device.tensor(weight);
      const actual = gradientsOf(incoming, scaled, w, { epsilon: 0 });
      for (const name of NAMES) {
        const message = `${name} at ${size}`;
        assertAllClose(await actual[name]!.data(), expected[name], { ...options, message });
      }
      disposeAll(actual);
    }
  });

  it("takes rows of several strided axes, and more than 256 slices have room for", async () => {
    // 20,000 rows: slices of 79 rows each.
    const shape = [40, 500, 3];
    const values = randomValues(60_000, 1, -3, 3);
    const incoming = randomValues(60_000, 2);
    using dense = device.tensor(values, { shape });
    using x = dense.transpose(0, 1).contiguous().transpose(0, 1);
    using g = nanPadded(device, incoming, shape);
    // So large an epsilon keeps rows of nearly equal elements from slopes of hundreds.
    const actual = gradientsOf(g, x, undefined, { epsilon: 1 });
    const expected = naiveGradients(incoming, values, 3, undefined, 1);
    for (const name of NAMES) {
      // Sums of 20,000 terms below 1 that end near 100: their roundings sum to some 10^-4.
      const tolerance = { atol: name === "input" ? 3e-6 : 2e-4, rtol: 3e-6 };
      assertAllClose(await actual[name]!.data(), expected[name], { ...tolerance, message: name });
    }
    disposeAll(actual);
  });

  it("computes what is needed only, the same bits as together", async () => {
    using x = device.tensor(randomValues(40, 1), { shape: [8, 5] });
    using g = device.tensor(randomValues(40, 2), { shape: [8, 5] });
    using w = device.tensor(randomValues(5, 3));
    const all = gradientsOf(g, x, w);
    for (const name of NAMES) {
      const one = gradientsOf(g, x, w, { names: [name] });
      assertEquals(Object.keys(one), [name]);
      assertEquals(await one[name]!.data(), await all[name]!.data());
      disposeAll(one);
    }
    assertEquals(gradientsOf(g, x, w, { names: [] }), {});
    disposeAll(all);
  });

  it("sums halves in f32, and rounds to the types of input and weight", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      using x = nanPadded(device, randomValues(35 * 9, 3, -2, 2), [35, 9], dtype);
      using g = nanPadded(device, randomValues(35 * 9, 4), [35, 9], dtype);
      using w = device.tensor(randomValues(9, 5), { dtype });
      using wideX = x.to("f32");
      using wideG = g.to("f32");
      using wideW = w.to("f32");
      const half = gradientsOf(g, x, w);
      const mixed = gradientsOf(g, x, wideW);
      const wide = gradientsOf(wideG, wideX, wideW);
      assertEquals([mixed.input!.dtype, mixed.weight!.dtype, mixed.bias!.dtype], [
        dtype,
        "f32",
        "f32",
      ]);
      for (const name of NAMES) {
        assertEquals(half[name]!.dtype, dtype);
        const expected = [...await wide[name]!.data()].map((value) => roundedTo(dtype, value));
        assertEquals([...await half[name]!.data()], expected, name);
      }
      for (const gradients of [half, mixed, wide]) disposeAll(gradients);
    }
  });

  it("of no rows are zeros, of no columns empty", async () => {
    await assertNoLeak(device, async () => {
      for (const shape of [[0, 4], [4, 0]] as const) {
        using x = device.zeros(shape);
        const actual = gradientsOf(x, x, undefined);
        assertEquals([actual.input!.shape, (await actual.input!.data()).length], [shape, 0]);
        for (const name of ["weight", "bias"] as const) {
          assertEquals(await actual[name]!.data(), new Float32Array(shape[1]));
        }
        disposeAll(actual);
      }
    });
  });

  it("throws for a weight of another size, before any work", async () => {
    using x = device.zeros([2, 4]);
    using three = device.zeros([3]);
    await assertNoLeak(device, () => {
      assertThrows(
        () => gradientsOf(x, x, three),
        RangeError,
        "weight has shape [3], expected [4]",
      );
    });
  });
});
