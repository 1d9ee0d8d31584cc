import { cat, stack, type Tensor } from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();

function leaf(shape: readonly number[], seed: number): Tensor {
  const count = shape.reduce((a, b) => a * b, 1);
  const x = nanPadded(device, randomValues(count, seed), shape);
  x.requiresGrad = true;
  return x;
}

describe("gradients of cat() and stack()", () => {
  it("go back to each part", async () => {
    using a = leaf([2, 3], 1);
    using b = leaf([2, 1], 2);
    using c = leaf([2, 3], 3);
    await gradCheck((a, b) => cat([a, b, a], 1).square(), [a, b]);
    await gradCheck((a, c) => stack([a, c], 1).square(), [a, c]);
  });

  it("leave out parts that want none", async () => {
    using a = device.tensor([1, 2]);
    using b = device.tensor([3], { requiresGrad: true });
    using joined = cat([a, b]);
    using gradient = device.tensor([5, 6, 7]);
    joined.backward(gradient);
    assertEquals(await b.grad!.toArray(), [7]);
    assertEquals(a.grad, undefined);
  });
});
