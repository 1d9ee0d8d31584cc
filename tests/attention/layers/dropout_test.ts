/** Dropout as a layer: how much it drops, when, and by which seeds. */
import { Dropout } from "@denoformers/attention";
import { assertEquals, assertLess, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("Dropout", () => {
  it("changes nothing in evaluation or with p = 0", async () => {
    using x = device.randn([3, 4], { seed: 1 });
    for (const layer of [new Dropout(0.9).eval(), new Dropout(0)]) {
      using y = layer.forward(x);
      assertEquals(await y.data(), await x.data());
    }
  });

  it("keeps a fraction 1 - p of the elements, divided by it, and drops the others", async () => {
    const n = 40_000;
    using x = device.ones([n]);
    for (const p of [0.1, 0.5, 0.9]) {
      using y = new Dropout(p, { seed: 1 }).forward(x);
      const values = await y.data();
      const kept = values.filter((value) => value !== 0);
      assertEquals(kept.every((value) => Math.abs(value * (1 - p) - 1) < 1e-6), true);
      // A binomial count: 4 standard deviations leave out 6 seeds in 100,000, and the seed is fixed.
      assertLess(Math.abs(kept.length - n * (1 - p)), 4 * Math.sqrt(n * p * (1 - p)), `p = ${p}`);
    }
  });

  it("gives zeros with p = 1", async () => {
    using x = device.tensor([1, -2, 3, 4]);
    using y = new Dropout(1).forward(x);
    assertEquals(Array.from(await y.data()), [0, 0, 0, 0]);
  });

  it("takes a new mask at every forward pass, the same ones again for the same seed", async () => {
    using x = device.ones([500]);
    const run = async (layer: Dropout) => {
      using y = layer.forward(x);
      return await y.data();
    };
    const [a, b, c] = [1, 1, 2].map((seed) => new Dropout(0.5, { seed })) as [
      Dropout,
      Dropout,
      Dropout,
    ];
    const [first, second] = [await run(a), await run(a)];
    assertNotEquals(first, second);
    assertEquals(await run(b), first);
    await run(b.eval()); // Evaluation takes no seed.
    assertEquals(await run(b.train()), second);
    assertNotEquals(await run(c), first);
    assertNotEquals(await run(new Dropout(0.5)), await run(new Dropout(0.5)));
  });

  it("leaves no tensor behind but its result", async () => {
    using x = device.ones([5, 7]);
    const layer = new Dropout(0.5);
    await assertNoLeak(device, () => layer.forward(x).dispose());
  });

  it("refuses a p that is no probability", () => {
    assertThrows(() => new Dropout(1.5), RangeError, "p is 1.5, expected a probability in [0, 1]");
    assertThrows(() => new Dropout(NaN), RangeError, "p is NaN, expected a probability in [0, 1]");
  });
});
