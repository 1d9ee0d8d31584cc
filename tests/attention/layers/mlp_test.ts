/** The feed-forward part against plain loops in float64. */
import { Mlp } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { affine, gelu, host, TOLERANCE } from "./_host.ts";

const device = await sharedDevice();

describe("Mlp", () => {
  it("computes fc2(gelu(fc1(x))), with timm's weights under timm's names", async () => {
    using mlp = new Mlp(device, 6, { hiddenFeatures: 9, outFeatures: 4, seed: 1 });
    const shapes = Object.entries(mlp.stateDict()).map(([name, { shape }]) => [name, shape]);
    assertEquals(Object.fromEntries(shapes), {
      "fc1.weight": [9, 6],
      "fc1.bias": [9],
      "fc2.weight": [4, 9],
      "fc2.bias": [4],
    });
    using x = device.randn([2, 5, 6], { seed: 2 });
    using y = mlp.forward(x);
    const { fc1, fc2 } = mlp;
    const hidden = affine(await host(x), await host(fc1.weight), await host(fc1.bias!));
    const active = { shape: hidden.shape, data: Float64Array.from(hidden.data, gelu) };
    const expected = affine(active, await host(fc2.weight), await host(fc2.bias!));
    assertAllClose(await host(y), expected, TOLERANCE);
    using bare = new Mlp(device, 6, { bias: false });
    assertEquals(Object.keys(bare.stateDict()), ["fc1.weight", "fc2.weight"]);
    assertEquals(bare.fc1.weight.shape, [6, 6]);
  });

  it("drops behind both layers in training, the same for the same seed", async () => {
    using x = device.randn([8, 6], { seed: 2 });
    const run = async (mode: "train" | "eval", drop: number) => {
      using mlp = new Mlp(device, 6, { hiddenFeatures: 9, drop, seed: 1 })[mode]();
      using y = mlp.forward(x);
      return await y.data();
    };
    const [plain, dropped] = [await run("eval", 0.5), await run("train", 0.5)];
    assertEquals(await run("train", 0), plain);
    assertEquals(await run("train", 0.5), dropped);
    // Those that drop2 keeps are not the plain ones, doubled: drop1 was there before.
    const kept = dropped.findIndex((value) => value !== 0);
    assertEquals(dropped.includes(0), true);
    assertNotEquals(dropped[kept], 2 * plain[kept]!);
  });

  it("leaves no tensor behind but its result", async () => {
    using mlp = new Mlp(device, 6, { drop: 0.5 });
    using x = device.ones([5, 6]);
    await assertNoLeak(device, () => mlp.forward(x).dispose());
  });

  it("refuses sizes that are none and drop that is no probability, before it allocates", () => {
    const { tensors } = device.memory();
    assertThrows(
      () => new Mlp(device, 6, { hiddenFeatures: 0 }),
      RangeError,
      "hiddenFeatures is 0, expected a whole number >= 1",
    );
    assertThrows(() => new Mlp(device, 6, { drop: 2 }), RangeError, "drop is 2");
    assertEquals(device.memory().tensors, tensors);
  });
});
