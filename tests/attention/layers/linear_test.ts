/** The affine layer against plain loops in float64. */
import { Linear } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertLess, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import { affine, host, TOLERANCE } from "./_host.ts";

const device = await sharedDevice();

describe("Linear", () => {
  it("computes x Wᵀ + b over any leading axes", async () => {
    for (const bias of [true, false]) {
      using linear = new Linear(device, 24, 7, { bias, seed: 1 });
      using x = device.randn([2, 3, 5, 24], { seed: 2 });
      using y = linear.forward(x);
      const expected = affine(
        await host(x),
        await host(linear.weight),
        linear.bias && await host(linear.bias),
      );
      assertAllClose(await host(y), expected, TOLERANCE);
    }
  });

  it("starts uniform in ±1/√in, the same from the same seed", async () => {
    using a = new Linear(device, 100, 50, { seed: 3 });
    using b = new Linear(device, 100, 50, { seed: 3 });
    using c = new Linear(device, 100, 50, { seed: 4 });
    const weights = await a.weight.data();
    assertEquals(weights, await b.weight.data());
    assertEquals(weights.every((w) => Math.abs(w) <= 0.1), true);
    // 5,000 numbers of standard deviation 0.1/√3: their mean square has a relative deviation of 1.3 %.
    const meanSquare = weights.reduce((sum, w) => sum + w * w, 0) / weights.length;
    assertLess(Math.abs(meanSquare / (0.01 / 3) - 1), 0.07);
    assertEquals(weights[0] === (await c.weight.data())[0], false);
  });

  it("refuses sizes that are none and inputs that do not fit", () => {
    assertThrows(
      () => new Linear(device, 0, 3),
      RangeError,
      "inFeatures is 0, expected a whole number",
    );
    using linear = new Linear(device, 4, 3);
    using x = device.zeros([2, 5]);
    assertThrows(() => linear.forward(x), RangeError, "input has shape [2, 5], expected [..., 4]");
  });
});
