import { type DType, requestDevice, type Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { roundedTo } from "../../../gpu/dtype.ts";
import { indexAdd, indexSelect } from "../../../gpu/ops/index_select.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import {
  computed,
  type HostArray,
  hostArray,
  numel,
  placeOf,
  randomValues,
  read,
} from "../_values.ts";

const device = await sharedDevice();

function select(a: Tensor, axis: number, indices: Tensor): Tensor {
  return computed(a.device, (runtime) => indexSelect(runtime, arrayOf(a), axis, arrayOf(indices)));
}

function add(gradient: Tensor, axis: number, indices: Tensor, size: number): Tensor {
  return computed(
    gradient.device,
    (runtime) => indexAdd(runtime, arrayOf(gradient), axis, arrayOf(indices), size),
  );
}

function listOf(indices: readonly number[]): Tensor {
  return device.tensor(new Int32Array(indices));
}

describe("indexSelect()", () => {
  it("picks along any axis, in every type, of dense and strided arrays", async () => {
    await assertNoLeak(device, async () => {
      const shape = [3, 4, 5];
      const values = randomValues(60, 1, 0, 9).map(Math.round);
      for (const dtype of ["f32", "f16", "bf16", "i32", "u32", "bool"] as const) {
        using dense = device.tensor(values, { shape, dtype });
        using turned = dense.transpose(0, 2);
        for (const [a, axes] of [[dense, [0, 1, 2]], [turned, [0, 2]]] as const) {
          const host: HostArray = { shape: a.shape, data: [...await a.data()] };
          for (const axis of axes) {
            const wanted = [2, 0, 2, 1, 1, 0, 2];
            using indices = listOf(wanted);
            using picked = select(a, axis, indices);
            const expected = hostArray(
              a.shape.with(axis, 7),
              (index) => host.data[placeOf(index.with(axis, wanted[index[axis]!]!), host.shape)]!,
            );
            assertEquals<DType>(picked.dtype, dtype);
            assertEquals(await read(picked), { ...expected });
          }
        }
      }
    });
  });

  it("takes a strided list, and reads nothing beside either", async () => {
    using a = nanPadded(device, randomValues(12, 2), [4, 3]);
    using pairs = device.tensor(new Int32Array([3, 9, 0, 9, 3, 9]), { shape: [3, 2] });
    using list = pairs.select(1, 0);
    using picked = select(a, 0, list);
    const rows = await a.toArray() as number[][];
    assertEquals(await picked.toArray(), [rows[3]!, rows[0]!, rows[3]!]);
  });

  it("gives NaN for an index out of range, and 0 in types without NaN", async () => {
    using indices = listOf([-1, 0, 2, 2 ** 31 - 1]);
    for (const dtype of ["f32", "f16", "bf16", "i32", "u32", "bool"] as const) {
      using a = device.ones([2], { dtype });
      using picked = select(a, 0, indices);
      const missing = dtype.includes("f") ? NaN : 0;
      assertEquals([...await picked.data()], [missing, 1, missing, missing], dtype);
    }
  });

  it("takes empty lists and empty axes", async () => {
    using a = device.ones([2, 3]);
    using none = listOf([]);
    using empty = select(a, 0, none);
    assertEquals([empty.shape, (await empty.data()).length], [[0, 3], 0]);
    using nothing = device.ones([0, 2]);
    using one = listOf([0]);
    using missing = select(nothing, 0, one);
    assertEquals([...await missing.data()], [NaN, NaN]);
  });

  it("throws for indices that are no list of i32, and for what a binding cannot show", async () => {
    using a = device.ones([2, 3]);
    using floats = device.ones([2]);
    using table = device.ones([2, 2], { dtype: "i32" });
    const text = "Cannot indexSelect: indices have dtype";
    assertThrows(() => select(a, 0, floats), TypeError, `${text} f32 and shape [2], expected i32`);
    assertThrows(
      () => select(a, 0, table),
      TypeError,
      `${text} i32 and shape [2, 2], expected i32`,
    );
    using small = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: 2 ** 16 },
    });
    using large = small.zeros([150, 200]);
    using list = small.zeros([2], { dtype: "i32" });
    assertThrows(() => select(large, 0, list), RangeError, "split the tensor");
    assertThrows(() => add(large, 0, list, 3), RangeError, "there are 2 indices for axis 0");
  });
});

describe("indexAdd()", () => {
  it("adds by index along any axis, indices out of range left out", async () => {
    await assertNoLeak(device, async () => {
      // 300 elements of an index are more than a workgroup takes, 2,500 indices more than it has bits for.
      const cases: [number[], number, number][] = [
        [[7, 5], 0, 3],
        [[2, 9, 3], 1, 4],
        [[4, 6], 1, 11],
        [[5, 300], 0, 2],
        [[2500, 3], 0, 5],
      ];
      for (const [shape, axis, size] of cases) {
        const values = randomValues(numel(shape), 3);
        const list = [...randomValues(shape[axis]!, 4, -1, size + 1)].map(Math.floor);
        const sums = new Array<number>(numel(shape.with(axis, size))).fill(0);
        hostArray(shape, (index) => {
          const at = list[index[axis]!]!;
          if (at < 0 || at >= size) return 0;
          const place = placeOf(index.with(axis, at), shape.with(axis, size));
          return sums[place]! += values[placeOf(index, shape)]!;
        });
        using gradient = nanPadded(device, values, shape);
        using indices = listOf(list);
        using out = add(gradient, axis, indices, size);
        const expected = { shape: shape.with(axis, size), data: sums };
        // Up to 400 terms below 1, whose sums on the way are below 32, each rounded by 2^-20 at most.
        assertAllClose(await read(out), expected, { atol: 2e-5, rtol: 1e-6 });
      }
    });
  });

  it("is the gradient of indexSelect()", async () => {
    using a = device.tensor(randomValues(12, 4), { shape: [4, 3] });
    using g = device.tensor(randomValues(15, 5), { shape: [5, 3] });
    using indices = listOf([3, 1, 3, 0, 1]);
    using picked = select(a, 0, indices);
    using gradient = add(g, 0, indices, 4);
    const dot = (x: ArrayLike<number>, y: ArrayLike<number>) =>
      Array.from(x).reduce((sum, v, i) => sum + v * y[i]!, 0);
    const [left, right] = [
      dot(await picked.data(), await g.data()),
      dot(await a.data(), await gradient.data()),
    ];
    // Only the sums of two in f32 are rounded.
    assertAllClose([left], [right], { atol: 1e-6, rtol: 0 });
  });

  it("spreads its workgroups over three dimensions where one is too short", async () => {
    using narrow = await requestDevice({
      tune: false,
      limits: { maxComputeWorkgroupsPerDimension: 4 },
    });
    using g = narrow.tensor(randomValues(60, 6), { shape: [60, 1] });
    using indices = narrow.tensor(Int32Array.from({ length: 60 }, (_, n) => 2 * n));
    using out = add(g, 0, indices, 59);
    const expected = Array.from({ length: 59 }, (_, i) => i % 2 === 0 ? i / 2 : -1);
    const values = await g.data();
    assertEquals([...await out.data()], expected.map((n) => n < 0 ? 0 : values[n]!));
  });

  it("sums halves in f32 and rounds once", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      using g = device.full([5000, 3], 0.25, { dtype });
      using indices = device.zeros([5000], { dtype: "i32" });
      using out = add(g, 0, indices, 2);
      assertEquals(out.dtype, dtype);
      const sum = roundedTo(dtype, 1250);
      assertEquals([...await out.data()], [sum, sum, sum, 0, 0, 0]);
    }
  });

  it("of no indices is zeros, and empty for no size", async () => {
    using none = listOf([]);
    using nothing = device.zeros([0, 2]);
    using zeros = add(nothing, 0, none, 2);
    assertEquals([...await zeros.data()], [0, 0, 0, 0]);
    using one = listOf([0]);
    using row = device.ones([1, 2]);
    using empty = add(row, 0, one, 0);
    assertEquals([empty.shape, (await empty.data()).length], [[0, 2], 0]);
  });
});
