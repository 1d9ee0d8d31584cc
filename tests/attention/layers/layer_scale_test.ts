/** A learned scale for each channel. */
import { LayerScale } from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("LayerScale", () => {
  it("scales each channel by gamma, at first initValues", async () => {
    using scale = new LayerScale(device, 2, { initValues: 0.5 });
    using x = device.tensor([[1, 2], [3, 4]]);
    using y = scale.forward(x);
    assertEquals(await y.toArray(), [[0.5, 1], [1.5, 2]]);
    assertEquals(Object.keys(scale.stateDict()), ["gamma"]);
    using small = new LayerScale(device, 1);
    assertEquals(await small.gamma.data(), Float32Array.of(1e-5));
  });

  it("refuses another last axis", () => {
    using scale = new LayerScale(device, 2);
    using x = device.zeros([2, 3]);
    assertThrows(() => scale.forward(x), RangeError, "input has shape [2, 3], expected [..., 2]");
  });
});
