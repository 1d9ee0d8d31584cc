import type { ReduceOptions, Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import {
  axisSubsets,
  type HostArray,
  hostArray,
  indices,
  placeOf,
  randomValues,
  read,
} from "../_values.ts";

const device = await sharedDevice();

const REDUCTIONS: Record<
  string,
  [(x: Tensor, options?: ReduceOptions) => Tensor, (values: number[]) => number]
> = {
  sum: [(x, options) => x.sum(options), (values) => values.reduce((a, b) => a + b, 0)],
  mean: [
    (x, options) => x.mean(options),
    (values) => values.reduce((a, b) => a + b, 0) / values.length,
  ],
  max: [(x, options) => x.max(options), (values) => Math.max(...values)],
  min: [(x, options) => x.min(options), (values) => Math.min(...values)],
};

function naive(
  { shape, data }: HostArray,
  axes: readonly number[],
  keepDim: boolean,
  join: (values: number[]) => number,
): HostArray {
  const kept = shape.map((size, axis) => axes.includes(axis) ? 1 : size);
  const groups = new Map<number, number[]>();
  for (const [place, index] of indices(shape).entries()) {
    const target = placeOf(index.map((i, axis) => axes.includes(axis) ? 0 : i), kept);
    groups.set(target, [...groups.get(target) ?? [], data[place]!]);
  }
  const out = hostArray(kept, (index) => join(groups.get(placeOf(index, kept)) ?? []));
  return keepDim ? out : { ...out, shape: shape.filter((_, axis) => !axes.includes(axis)) };
}

describe("reductions", () => {
  for (const [name, [apply, join]] of Object.entries(REDUCTIONS)) {
    it(`${name}() reduces any axes of dense, permuted and padded tensors`, async () => {
      await assertNoLeak(device, async () => {
        const host: HostArray = { shape: [3, 1, 4, 5], data: [...randomValues(60, 8)] };
        using dense = device.tensor(new Float32Array(host.data), { shape: host.shape });
        using padded = nanPadded(device, host.data, host.shape);
        const order = [2, 0, 3, 1];
        using permuted = dense.permute(order);
        const turned = hostArray(permuted.shape, (index) => {
          const from = order.map((_, axis) => index[order.indexOf(axis)]!);
          return host.data[placeOf(from, host.shape)]!;
        });
        for (const axis of axisSubsets(4)) {
          for (
            const [tensor, values] of [[dense, host], [padded, host], [permuted, turned]] as const
          ) {
            for (const keepDim of [false, true]) {
              using result = apply(tensor, { axis, keepDim });
              // 59 additions of numbers below 1, each rounded by at most 2^-24 of a sum below 8.
              assertAllClose(await read(result), naive(values, axis, keepDim, join), {
                atol: 1e-6,
                rtol: 1e-6,
              });
            }
          }
        }
      });
    });
  }

  it("take one axis, negative axes, and all by default", async () => {
    using x = device.tensor([[1, 2, 3], [4, 5, 6]]);
    using last = x.sum({ axis: -1 });
    assertEquals([last.shape, [...await last.data()]], [[2], [6, 15]]);
    using all = x.max();
    assertEquals([all.shape, await all.item()], [[], 6]);
    using none = x.sum({ axis: [] });
    assertEquals(await none.toArray(), [[1, 2, 3], [4, 5, 6]]);
    using scalar = device.tensor(3);
    using same = scalar.mean();
    assertEquals(await same.item(), 3);
  });

  it("join several pieces where few outputs have many inputs", async () => {
    for (const length of [16_384, 16_385, 50_021]) {
      const values = randomValues(2 * length, length, -8, 8).map(Math.round);
      const half = [...values.subarray(0, length)];
      using x = device.tensor(values, { shape: [2, length] });
      using row = x.select(0, 0);
      using columns = x.transpose(0, 1);
      using sum = row.sum();
      assertEquals(await sum.item(), half.reduce((a, b) => a + b, 0), `sum of ${length}`);
      using sums = columns.sum({ axis: 0 });
      assertEquals((await sums.data())[0], half.reduce((a, b) => a + b, 0));
      using mean = x.mean();
      const total = values.reduce((a, b) => a + b, 0);
      assertAllClose(await mean.data(), [total / (2 * length)], { atol: 1e-7, rtol: 1e-6 });
      using bumped = x.add(100);
      using least = bumped.min({ axis: 1 });
      assertEquals(await least.data(), new Float32Array([92, 92]));
      using most = x.sub(100).max();
      assertEquals(await most.item(), -92);
    }
  });

  it("find an extreme or NaN in any piece", async () => {
    const length = 40_000;
    for (const at of [0, 16_383, 16_384, 39_999]) {
      const values = new Float32Array(length).fill(-Infinity);
      values[at] = -5;
      using x = device.tensor(values);
      using most = x.max();
      assertEquals(await most.item(), -5, `at ${at}`);
      values[at] = NaN;
      using y = device.tensor(values);
      using withNan = y.min();
      assertEquals(await withNan.item(), NaN, `at ${at}`);
    }
  });

  it("have more outputs than one dimension has workgroups", async () => {
    const rows = 66_000;
    const values = Float32Array.from({ length: 2 * rows }, (_, i) => i % 1009);
    using x = device.tensor(values, { shape: [rows, 2] });
    using sums = x.sum({ axis: 1 });
    const data = await sums.data();
    assertEquals(data.length, rows);
    const wrong = [...data].findIndex((sum, i) => sum !== values[2 * i]! + values[2 * i + 1]!);
    assertEquals(wrong, -1);
  });

  it("keep infinities, and give NaN for NaN", async () => {
    using x = device.tensor([[-Infinity, -Infinity], [Infinity, 1], [NaN, 1], [1, NaN]]);
    using most = x.max({ axis: 1 });
    assertEquals([...await most.data()], [-Infinity, Infinity, NaN, NaN]);
    using least = x.min({ axis: 1 });
    assertEquals([...await least.data()], [-Infinity, 1, NaN, NaN]);
    using sum = x.sum({ axis: 1 });
    assertEquals([...await sum.data()], [-Infinity, Infinity, NaN, NaN]);
  });

  it("of no elements are 0, NaN or an error", async () => {
    using x = device.zeros([2, 0, 3]);
    using sum = x.sum({ axis: 1 });
    assertEquals(await sum.toArray(), [[0, 0, 0], [0, 0, 0]]);
    using mean = x.mean({ axis: 1 });
    assertEquals([...await mean.data()], new Array(6).fill(NaN));
    using empty = x.max({ axis: 0 });
    assertEquals([empty.shape, (await empty.data()).length], [[0, 3], 0]);
    assertThrows(
      () => x.max({ axis: 1 }),
      RangeError,
      "Cannot compute max of no elements: shape is [2, 0, 3]",
    );
    assertThrows(() => x.min(), RangeError, "Cannot compute min of no elements");
  });

  it("count bools, keep integers, and average in f32", async () => {
    using b = device.tensor([[true, true, false], [false, true, false]]);
    using count = b.sum({ axis: 1 });
    assertEquals([count.dtype, [...await count.data()]], ["i32", [2, 1]]);
    using share = b.mean();
    assertAllClose(await share.data(), [0.5]);
    using i = device.tensor(new Int32Array([2 ** 30 + 1, -(2 ** 31), 2 ** 30 + 2]));
    using total = i.sum();
    assertEquals([total.dtype, await total.item()], ["i32", 3]);
    using least = i.min();
    assertEquals([least.dtype, await least.item()], ["i32", -(2 ** 31)]);
    using average = device.tensor(new Uint32Array([1, 2])).mean();
    assertEquals([average.dtype, await average.item()], ["f32", 1.5]);
    using most = device.tensor(new Uint32Array([1, 2 ** 32 - 1])).max();
    assertEquals([most.dtype, await most.item()], ["u32", 2 ** 32 - 1]);
    assertThrows(
      () => b.max(),
      TypeError,
      'Cannot compute max: dtype is bool, convert with .to("i32")',
    );
  });

  it("throw RangeError for wrong axes", () => {
    using x = device.zeros([2, 3]);
    assertThrows(() => x.sum({ axis: 2 }), RangeError, "Cannot sum: axis 2 is out of range");
    assertThrows(() => x.mean({ axis: [0, 0] }), RangeError, "Cannot mean: axes [0,0] name one");
  });
});
