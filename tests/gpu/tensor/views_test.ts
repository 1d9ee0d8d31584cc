import type { Tensor } from "@denoformers/attention";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

async function values(tensor: Tensor): Promise<number[]> {
  const data = [...await tensor.data()];
  tensor.dispose();
  return data;
}

/** `[2, 3, 4]`, counted from 0. */
function counted(): Tensor {
  return device.tensor(Float32Array.from({ length: 24 }, (_, i) => i), { shape: [2, 3, 4] });
}

describe("views of a tensor", () => {
  it("show the right elements", async () => {
    using x = counted();
    const cases: [Tensor, number[], number[]][] = [
      [x.select(0, 1).select(0, -1), [4], [20, 21, 22, 23]],
      [x.slice(2, 1, 3).select(0, 0), [3, 2], [1, 2, 5, 6, 9, 10]],
      [x.slice(2, -1).squeeze(2), [2, 3], [3, 7, 11, 15, 19, 23]],
      [x.slice(2, 0, 4, 3).select(1, 0), [2, 2], [0, 3, 12, 15]],
      [x.select(0, 0).transpose(0, 1), [4, 3], [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]],
      [x.permute([2, 0, 1]).select(0, 3), [2, 3], [3, 7, 11, 15, 19, 23]],
      [x.slice(0, 1).reshape([3, -1]).slice(1, 0, 1), [3, 1], [12, 16, 20]],
      [x.select(2, 0).unsqueeze(0).unsqueeze(-1), [1, 2, 3, 1], [0, 4, 8, 12, 16, 20]],
      [x.select(0, 0).select(0, 0).expand([2, 4]), [2, 4], [0, 1, 2, 3, 0, 1, 2, 3]],
      [x.slice(1, 1, 1), [2, 0, 4], []],
    ];
    for (const [view, shape, expected] of cases) {
      assertEquals(view.shape, shape);
      assertEquals(await values(view), expected);
    }
  });

  it("cost no bytes and no work, and count as tensors", () => {
    using x = counted();
    const before = device.memory();
    const views = [
      x.reshape([6, 4]),
      x.permute([2, 1, 0]),
      x.transpose(0, 2),
      x.slice(1, 0, 2),
      x.select(0, 1),
      x.unsqueeze(0),
      x.squeeze(),
      x.contiguous(),
      x.to("f32"),
      x.slice(0, 0, 1).expand([5, 3, 4]),
      ...x.unbind(1),
      ...x.chunk(2, 2),
    ];
    const { tensors, allocatedBytes, buffers, peakBytes } = device.memory();
    assertEquals(allocatedBytes, before.allocatedBytes);
    assertEquals(buffers, before.buffers);
    assertEquals(peakBytes, before.peakBytes);
    assert(tensors >= before.tensors + views.length);
    for (const view of views) view.dispose();
  });

  it("know whether they are contiguous", () => {
    using x = counted();
    assert(x.isContiguous());
    assert(x.slice(0, 1).isContiguous());
    assert(x.select(0, 1).isContiguous());
    assert(!x.slice(2, 0, 2).isContiguous());
    assert(!x.transpose(0, 1).isContiguous());
  });

  it("of bools may begin within a word", async () => {
    const list = Array.from({ length: 23 }, (_, i) => i % 3 === 0 || i % 7 === 0);
    using x = device.tensor(list);
    for (const [start, end, step] of [[1, 23, 1], [2, 9, 1], [3, 23, 2], [5, 6, 1]] as const) {
      const expected = list.slice(start, end).filter((_, i) => i % step === 0).map(Number);
      assertEquals(await values(x.slice(0, start, end, step)), expected);
      assertEquals(await values(x.slice(0, start, end, step).logicalNot().logicalNot()), expected);
    }
  });
});

describe("Tensor.reshape()", () => {
  it("copies where strides demand it", async () => {
    using x = counted();
    const { allocatedBytes } = device.memory();
    using turned = x.select(0, 0).transpose(0, 1).reshape([12]);
    assertEquals(device.memory().allocatedBytes, allocatedBytes + 48);
    assertEquals(await turned.data(), new Float32Array([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]));
  });

  it("goes to and from scalars", async () => {
    using one = device.tensor(5);
    assertEquals(await values(one.reshape([1, 1])), [5]);
    assertEquals(one.reshape([1, 1]).reshape([]).shape, []);
  });

  it("throws RangeError for what does not fit", () => {
    using x = counted();
    assertThrows(() => x.reshape([5, 5]), RangeError, "Cannot reshape [2, 3, 4] to [5, 5]");
    assertThrows(() => x.reshape([24, 1, 1, 1, 1, 1, 1, 1, 1]), RangeError, "has 9 axes");
  });
});

describe("Tensor.contiguous() and clone()", () => {
  it("give elements in row-major order", async () => {
    await assertNoLeak(device, async () => {
      using x = nanPadded(device, [1, 2, 3, 4, 5, 6], [2, 3]);
      using dense = x.contiguous();
      assert(!x.isContiguous());
      assert(dense.isContiguous());
      assertEquals(dense.strides, [3, 1]);
      assertEquals(await dense.data(), new Float32Array([1, 2, 3, 4, 5, 6]));
    });
  });

  it("copy always (clone) or only when needed (contiguous)", () => {
    using x = counted();
    const { allocatedBytes } = device.memory();
    using same = x.contiguous();
    assertEquals(device.memory().allocatedBytes, allocatedBytes);
    using copy = x.clone();
    assertEquals(device.memory().allocatedBytes, allocatedBytes + 96);
    assertEquals([same.shape, copy.shape], [[2, 3, 4], [2, 3, 4]]);
  });

  it("copy every dtype", async () => {
    using i = device.tensor(new Int32Array([1, -2, 3, -4]), { shape: [2, 2] });
    assertEquals(await values(i.transpose(0, 1).contiguous()), [1, 3, -2, -4]);
    using u = device.tensor(new Uint32Array([1, 2, 3, 2 ** 32 - 1]), { shape: [2, 2] });
    assertEquals(await values(u.transpose(0, 1).contiguous()), [1, 3, 2, 2 ** 32 - 1]);
    using b = device.tensor([[true, false, true], [false, false, true]]);
    assertEquals(await values(b.transpose(0, 1).contiguous()), [1, 0, 0, 0, 1, 1]);
  });

  it("keep every bit of a float, NaN and -0 included", async () => {
    const bits = new Uint32Array([0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x00000001]);
    using x = device.tensor(new Float32Array(bits.buffer));
    using copy = x.clone();
    const got = new Uint32Array((await copy.data()).buffer);
    // A copy may turn a NaN into another one, and devices may flush what is below 2^-126 to zero.
    assertEquals([...got].slice(0, 3), [...bits].slice(0, 3));
    assert(Number.isNaN((await copy.data())[3]!));
  });
});

describe("Tensor.chunk() and unbind()", () => {
  it("cut an axis, the last piece being smaller", async () => {
    using x = device.arange(7);
    assertEquals(x.chunk(3).map(({ shape }) => shape), [[3], [3], [1]]);
    assertEquals(x.chunk(7).length, 7);
    assertEquals(x.chunk(9).length, 7);
    assertEquals(await values(x.chunk(3)[1]!), [3, 4, 5]);
    using empty = device.zeros([0, 2]);
    assertEquals(empty.chunk(3).map(({ shape }) => shape), [[0, 2]]);
  });

  it("take a packed tensor apart without a copy, as for query, key and value", async () => {
    using x = counted();
    const { allocatedBytes } = device.memory();
    const [first, second, third] = x.unbind(1) as [Tensor, Tensor, Tensor];
    assertEquals(device.memory().allocatedBytes, allocatedBytes);
    assertEquals(await values(first), [0, 1, 2, 3, 12, 13, 14, 15]);
    assertEquals(await values(second), [4, 5, 6, 7, 16, 17, 18, 19]);
    assertEquals(await values(third), [8, 9, 10, 11, 20, 21, 22, 23]);
    assertEquals(x.unbind(-1).length, 4);
  });

  it("throw RangeError for a wrong count or axis", () => {
    using x = counted();
    for (const count of [0, -1, 1.5, NaN]) {
      assertThrows(() => x.chunk(count), RangeError, `Cannot chunk: count is ${count}`);
    }
    assertThrows(() => x.unbind(3), RangeError, "axis 3 is out of range");
  });
});
