import { noGrad } from "@denoformers/attention";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("Tensor.copyFrom()", () => {
  it("overwrites the elements in place, from any strides and dtype", async () => {
    using x = device.zeros([2, 3]);
    using view = x.reshape([6]);
    using source = nanPadded(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    await assertNoLeak(device, async () => {
      const { allocatedBytes } = device.memory();
      assert(x.copyFrom(source) === x);
      assertEquals(device.memory().allocatedBytes, allocatedBytes);
      assertEquals(await view.toArray(), [1, 2, 3, 4, 5, 6]);
    });
    using integers = device.tensor(new Int32Array([7, 8, 9]));
    using half = device.zeros([3], { dtype: "f16" });
    half.copyFrom(integers);
    assertEquals(await half.toArray(), [7, 8, 9]);
    using square = device.tensor([[1, 2], [3, 4]]);
    square.copyFrom(square.transpose(0, 1));
    assertEquals(await square.toArray(), [[1, 3], [2, 4]]);
  });

  it("changes a leaf that requires gradients only within noGrad(), and a computed tensor never", async () => {
    using w = device.ones([2], { requiresGrad: true });
    using next = device.tensor([3, 4]);
    assertThrows(
      () => w.copyFrom(next),
      Error,
      "Cannot copyFrom: the tensor is a leaf that requires gradients, change it within noGrad()",
    );
    noGrad(() => w.copyFrom(next));
    assertEquals(await w.toArray(), [3, 4]);
    assert(w.requiresGrad && w.isLeaf);
    using y = w.mul(2);
    assertThrows(() => y.copyFrom(next), Error, "the tensor was computed by mul");
    assertThrows(() => noGrad(() => y.copyFrom(next)), Error, "the tensor was computed by mul");
    using target = device.zeros([2]);
    assertThrows(() => target.copyFrom(w), Error, "gradients flow to the source and would be lost");
    noGrad(() => target.copyFrom(w));
    assertEquals(await target.toArray(), [3, 4]);
  });

  it("throws for another shape, for a view that is not dense and for what is no tensor", () => {
    using x = device.zeros([2, 3]);
    using row = device.zeros([3]);
    assertThrows(
      () => x.copyFrom(row),
      RangeError,
      "Cannot copyFrom: source has shape [3], expected [2, 3]",
    );
    assertThrows(
      () => x.select(0, 1).copyFrom(row),
      RangeError,
      "Cannot copyFrom: the tensor of shape [3] is a view whose elements do not fill its memory in order",
    );
    assertThrows(() => row.copyFrom([1, 2, 3] as never), TypeError, "expected a Tensor");
  });
});
