/** Layer normalisation against plain loops in float64. */
import { LayerNorm } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import { TOLERANCE } from "./_host.ts";

const device = await sharedDevice();

describe("LayerNorm", () => {
  it("normalises the last axis, then scales and shifts", async () => {
    using norm = new LayerNorm(device, 24);
    using weight = device.randn([24], { seed: 1 });
    using bias = device.randn([24], { seed: 2 });
    norm.loadStateDict({ weight, bias });
    using x = device.randn([3, 5, 24], { seed: 3 });
    using y = norm.forward(x);
    const [input, w, b] = [await x.data(), await weight.data(), await bias.data()];
    const expected = Float64Array.from(input, (value, at) => {
      const row = Array.from(input.slice(at - at % 24, at - at % 24 + 24));
      const mean = row.reduce((sum, v) => sum + v, 0) / 24;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 24;
      return (value - mean) / Math.sqrt(variance + 1e-5) * w[at % 24]! + b[at % 24]!;
    });
    assertAllClose(await y.data(), expected, TOLERANCE);
  });
});
