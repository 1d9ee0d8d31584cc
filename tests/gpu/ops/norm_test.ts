/** Norms of arrays against float64, of elements of any size. */
import type { DType } from "@denoformers/attention";
import { assert, assertEquals } from "@std/assert";
import { it } from "@std/testing/bdd";
import { runtimeOf } from "../../../gpu/device.ts";
import { norm } from "../../../gpu/ops/norm.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { type Tensor, tensorFrom } from "../../../gpu/tensor/tensor.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();

async function normOf(tensor: Tensor): Promise<number> {
  const runtime = runtimeOf(device);
  using out = tensorFrom(device, runtime, norm(runtime, arrayOf(tensor)));
  assertEquals([out.shape, out.dtype], [[], "f32"]);
  return Number(await out.item());
}

/** In float64, after division by the largest. */
function exact(values: ArrayLike<number>): number {
  const top = Math.max(...Array.from(values, Math.abs));
  return top && top * Math.sqrt(Array.from(values).reduce((sum, v) => sum + (v / top) ** 2, 0));
}

it("norm() is right for elements of one size and of several, in one piece and more", async () => {
  await assertNoLeak(device, async () => {
    for (
      const sizes of [[1], [1e-33], [1e-20], [1e19], [1e36], [1e-30, 1e-14, 1], [
        1,
        1e12,
        3e12,
        1e30,
      ]]
    ) {
      for (const length of [1, 7, 50_000]) {
        const values = randomValues(length, 1).map((v, i) => v * sizes[i % sizes.length]!);
        using x = device.tensor(values);
        const [actual, expected] = [await normOf(x), exact(values)];
        // A root and a product, as drivers compute them, beside the sum.
        assert(
          Math.abs(actual / expected - 1) < 1e-6,
          `${sizes} ${length}: ${actual}, ${expected}`,
        );
      }
    }
  });
});

it("norm() takes views, halves and no elements", async () => {
  for (const dtype of ["f32", "f16", "bf16"] as DType[]) {
    using x = nanPadded(device, [3, -4, 0, 12, 0, 84], [2, 3], dtype);
    assert(Math.abs(await normOf(x) - 85) < 1e-4);
  }
  using row = device.tensor([3, 4]);
  assert(Math.abs(await normOf(row.unsqueeze(0).expand([4, 2])) - 10) < 1e-5);
  assertEquals(await normOf(device.zeros([0, 3])), 0);
  assertEquals(await normOf(device.zeros([3])), 0);
});

it("norm() lets infinities and NaN through", async () => {
  using infinite = device.tensor([1, -Infinity, 1e-30]);
  assertEquals(await normOf(infinite), Infinity);
  for (const others of [[0, 0], [1, 1], [1e30, 1], [Infinity, 1]]) {
    using broken = device.tensor([...others, NaN]);
    assertEquals(await normOf(broken), NaN);
  }
  using large = device.full([4], 3e38);
  assertEquals(await normOf(large), Infinity);
});
