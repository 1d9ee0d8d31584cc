import { cat, stack, type Tensor } from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { type HostArray, hostArray, nested } from "../_values.ts";

const device = await sharedDevice();

/** Numbers that tell the part and the index they belong to. */
function part(shape: readonly number[], which: number): HostArray {
  return hostArray(shape, (index) => index.reduce((x, i) => 10 * x + i, which));
}

describe("cat()", () => {
  it("joins dense and padded tensors along any axis", async () => {
    await assertNoLeak(device, async () => {
      for (let axis = 0; axis < 3; axis++) {
        const hosts = [1, 3, 2].map((size, i) => part([2, 3, 4].with(axis, size), i + 1));
        using a = nanPadded(device, hosts[0]!.data, hosts[0]!.shape);
        using b = device.tensor(nested(hosts[1]!));
        using c = nanPadded(device, hosts[2]!.data, hosts[2]!.shape);
        const expected = hostArray([2, 3, 4].with(axis, 6), (index) => {
          const at = index[axis]!;
          const [which, start] = at < 1 ? [0, 0] : at < 4 ? [1, 1] : [2, 4];
          return index.with(axis, at - start).reduce((x, i) => 10 * x + i, which + 1);
        });
        using joined = cat([a, b, c], axis);
        assertEquals(await joined.toArray(), nested(expected));
        using same = cat([a, b, c], axis - 3);
        assertEquals(await same.data(), await joined.data());
      }
    });
  });

  it("joins bools, which share words", async () => {
    await assertNoLeak(device, async () => {
      for (const lengths of [[1, 1], [3, 2], [4, 5, 1], [1, 2, 3, 4, 5]]) {
        const lists = lengths.map((length, k) =>
          Array.from({ length }, (_, i) => (i + k) % 2 === 0)
        );
        const tensors = lists.map((list) => device.tensor(list));
        using joined = cat(tensors);
        assertEquals([joined.dtype, await joined.toArray()], ["bool", lists.flat()]);
        using column = joined.unsqueeze(1);
        using pair = cat([column, column], 1);
        assertEquals(await pair.toArray(), lists.flat().map((x) => [x, x]));
        for (const tensor of tensors) tensor.dispose();
      }
    });
  });

  it("joins integers exactly, one tensor, and empty ones", async () => {
    using i = device.tensor(new Int32Array([2 ** 31 - 1, -(2 ** 31)]));
    using twice = cat([i, i]);
    assertEquals([twice.dtype, [...await twice.data()]], [
      "i32",
      [2 ** 31 - 1, -(2 ** 31), 2 ** 31 - 1, -(2 ** 31)],
    ]);
    using alone = cat([i]);
    assertEquals(await alone.data(), await i.data());
    using empty = device.zeros([0], { dtype: "i32" });
    using with0 = cat([empty, i, empty]);
    assertEquals(await with0.data(), await i.data());
    using none = cat([empty, empty]);
    assertEquals(none.shape, [0]);
  });

  it("puts pieces together that chunk() took apart", async () => {
    using x = nanPadded(device, Array.from({ length: 35 }, (_, i) => i), [5, 7]);
    for (const axis of [0, 1]) {
      const pieces = x.chunk(3, axis);
      using joined = cat(pieces, axis);
      assertEquals(await joined.data(), await x.data());
      for (const piece of pieces) piece.dispose();
    }
  });

  it("throws for no tensors, and for dtypes and sizes that differ", () => {
    using a = device.zeros([2, 3]);
    using b = device.zeros([2, 4]);
    using i = device.zeros([2, 3], { dtype: "i32" });
    using row = device.zeros([3]);
    assertThrows(() => cat([]), RangeError, "Cannot cat no tensors: at least one is needed");
    assertThrows(() => cat([a, i]), TypeError, "Cannot cat: dtypes f32 and i32 differ");
    const shapes = "Cannot cat along axis 0: shapes [2, 3] and [2, 4] differ elsewhere";
    assertThrows(() => cat([a, b], 0), RangeError, shapes);
    assertThrows(() => cat([a, row]), RangeError, "shapes [2, 3] and [3] differ elsewhere");
    assertThrows(() => cat([a], 2), RangeError, "Cannot cat: axis 2 is out of range");
  });
});

describe("stack()", () => {
  it("joins along a new axis", async () => {
    using a = nanPadded(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    using b = device.tensor([[-1, -2, -3], [-4, -5, -6]]);
    const cases: [number, number[][][]][] = [
      [0, [[[1, 2, 3], [4, 5, 6]], [[-1, -2, -3], [-4, -5, -6]]]],
      [1, [[[1, 2, 3], [-1, -2, -3]], [[4, 5, 6], [-4, -5, -6]]]],
      [-1, [[[1, -1], [2, -2], [3, -3]], [[4, -4], [5, -5], [6, -6]]]],
    ];
    for (const [axis, expected] of cases) {
      using stacked = stack([a, b], axis);
      assertEquals(await stacked.toArray(), expected);
    }
  });

  it("joins scalars and bools, and is undone by unbind()", async () => {
    const scalars = [1, 2, 3].map((value) => device.tensor(value));
    using vector = stack(scalars);
    assertEquals(await vector.toArray(), [1, 2, 3]);
    using bools = stack([device.tensor([true, false]), device.tensor([false, false])], 1);
    assertEquals(await bools.toArray(), [[true, false], [false, false]]);
    const parts = vector.unbind() as [Tensor, Tensor, Tensor];
    assertEquals(await Promise.all(parts.map((tensor) => tensor.item())), [1, 2, 3]);
  });

  it("throws for shapes that differ", () => {
    using a = device.zeros([2]);
    using b = device.zeros([3]);
    assertThrows(() => stack([a, b]), RangeError, "shapes [1, 2] and [1, 3] differ elsewhere");
    assertThrows(() => stack([]), RangeError, "Cannot stack no tensors");
    assertThrows(() => stack([a], 2), RangeError, "Cannot stack: axis 2 is out of range");
  });
});
