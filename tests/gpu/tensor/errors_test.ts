import { cat, requestDevice, stack, Tensor } from "@denoformers/attention";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("a disposed tensor", () => {
  const text = "Cannot use a disposed tensor: shape [2, 3], dtype f32";

  it("throws TypeError wherever it is used", async () => {
    const x = device.zeros([2, 3]);
    x.dispose();
    assert(x.isDisposed);
    using y = device.zeros([2, 3]);
    using mask = device.zeros([2, 3], { dtype: "bool" });
    const uses: (() => unknown)[] = [
      () => x.add(1),
      () => y.add(x),
      () => x.neg(),
      () => x.reshape([6]),
      () => x.permute([1, 0]),
      () => x.slice(0, 0, 1),
      () => x.select(0, 0),
      () => x.expand([2, 3]),
      () => x.unbind(),
      () => x.chunk(2),
      () => x.contiguous(),
      () => x.isContiguous(),
      () => x.clone(),
      () => x.to("i32"),
      () => x.sum(),
      () => x.softmax(),
      () => x.layerNorm(),
      () => x.matmul(y),
      () => y.matmul(x),
      () => x.where(mask, 0),
      () => y.where(mask, x),
      () => x.maskedFill(mask, 0),
      () => cat([x, y]),
      () => cat([y, x]),
      () => stack([y, x]),
    ];
    for (const use of uses) assertThrows(use, TypeError, text);
    for (const read of ["data", "toArray", "format", "print"] as const) {
      await assertRejects(() => x[read](), TypeError, text);
    }
  });

  it("still tells its shape, dtype and size, and may be disposed again", () => {
    const x = device.zeros([2, 3]);
    const { tensors } = device.memory();
    x.dispose();
    x.dispose();
    x[Symbol.dispose]();
    assertEquals(device.memory().tensors, tensors - 1);
    assertEquals([x.shape, x.dtype, x.size, x.ndim], [[2, 3], "f32", 6, 2]);
  });
});

describe("tensors of two devices", () => {
  it("throw TypeError that names where they are, and the remedy", async () => {
    using other = await requestDevice({ tune: false });
    using x = device.ones([2, 2]);
    using y = other.ones([2, 2]);
    using mask = other.ones([2, 2], { dtype: "bool" });
    const { adapter } = device.info;
    const text = `Cannot compute with tensors of two devices, both on "${adapter}": make a tensor`;
    const uses: (() => unknown)[] = [
      () => x.add(y),
      () => x.matmul(y),
      () => x.where(mask, 0),
      () => x.maskedFill(mask, 0),
      () => x.layerNorm({ weight: y.select(0, 0) }),
      () => cat([x, y]),
      () => stack([x, y]),
    ];
    for (const use of uses) assertThrows(use, TypeError, text);
  });
});

describe("what is no tensor", () => {
  it("throws TypeError with a remedy", () => {
    using x = device.ones([2]);
    for (const wrong of ["1", null, undefined, [1, 2], {}]) {
      assertThrows(
        () => x.add(wrong as unknown as Tensor),
        TypeError,
        `Cannot compute with ${typeof wrong}: expected a Tensor, make one with device.tensor()`,
      );
    }
  });

  it("cannot be made by hand", () => {
    assertThrows(() => new (Tensor as unknown as new () => Tensor)(), TypeError);
  });
});
