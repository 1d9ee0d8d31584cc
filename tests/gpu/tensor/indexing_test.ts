import { type Tensor, tidy } from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("Tensor.indexSelect()", () => {
  it("picks along any axis, by a list that may count from the end or by a tensor", async () => {
    using x = nanPadded(device, [1, 2, 3, 4, 5, 6], [2, 3]);
    using u32 = device.tensor(new Uint32Array([2, 2, 0]));
    using every = device.tensor(new Int32Array([0, 9, 1, 9, 0]));
    await assertNoLeak(device, async () => {
      using rows = x.indexSelect(0, [1, -2, 1]);
      assertEquals(await rows.toArray(), [[4, 5, 6], [1, 2, 3], [4, 5, 6]]);
      using columns = x.indexSelect(-1, u32);
      assertEquals(await columns.toArray(), [[3, 3, 1], [6, 6, 4]]);
      using strided = every.slice(0, 0, 5, 2);
      using others = x.indexSelect(1, strided);
      assertEquals(await others.toArray(), [[1, 2, 1], [4, 5, 4]]);
      using none = x.indexSelect(0, []);
      for (const list of [[1n, -2n], new BigInt64Array([1n, -2n]), new Int32Array([1, 0])]) {
        using same = x.indexSelect(0, list);
        assertEquals(await same.toArray(), [[4, 5, 6], [1, 2, 3]]);
      }
      assertEquals(none.shape, [0, 3]);
    });
  });

  it("gives NaN for indices on the GPU that are out of range, and no gradient", async () => {
    using x = device.tensor([[1, 2], [3, 4]], { requiresGrad: true });
    using indices = device.tensor(new Int32Array([-1, 1, 2]));
    using picked = x.indexSelect(0, indices);
    assertEquals(await picked.toArray(), [[NaN, NaN], [3, 4], [NaN, NaN]]);
    tidy(() => picked.maskedFill(picked.ne(picked), 0).sum().backward());
    assertEquals(await x.grad!.toArray(), [[0, 0], [1, 1]]);
  });

  it("adds gradients where an index came twice", async () => {
    using x = nanPadded(device, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], [3, 2]);
    x.requiresGrad = true;
    await gradCheck((x) => x.indexSelect(0, [2, 0, -1, 2]).square(), x);
    await gradCheck((x) => x.indexSelect(1, [1]).square(), x);
    using half = device.tensor([1, 2, 3], { dtype: "f16", requiresGrad: true });
    tidy(() => half.indexSelect(0, [0, 2, 2]).sum().backward());
    assertEquals(await half.grad!.toArray(), [1, 0, 2]);
  });

  it("has no gradient for integers", () => {
    using x = device.arange(4, undefined, 1, { dtype: "i32" });
    using picked = x.indexSelect(0, [3]);
    assert(!picked.requiresGrad);
  });

  it("throws for indices that are out of range or of a wrong dtype or shape", () => {
    using x = device.zeros([2, 3]);
    for (const wrong of [3, -4, 0.5, NaN, 3n, -4n, 2n ** 64n]) {
      const told = `${wrong}${typeof wrong === "bigint" ? "n" : ""}`;
      assertThrows(
        () => x.indexSelect(1, [0, wrong] as number[]),
        RangeError,
        `Cannot indexSelect: index ${told} is out of range for axis 1 of size 3`,
      );
    }
    const fail = (indices: Tensor, error: typeof TypeError, text: string) => {
      assertThrows(() => x.indexSelect(0, indices), error, text);
      indices.dispose();
    };
    fail(device.zeros([1]), TypeError, 'dtype f32, expected i32 or u32, convert with .to("i32")');
    const square = device.zeros([1, 1], { dtype: "i32" });
    fail(square, RangeError, "indices have shape [1, 1], expected one axis");
    assertThrows(() => x.indexSelect(2, [0]), RangeError, "axis 2 is out of range");
  });
});
