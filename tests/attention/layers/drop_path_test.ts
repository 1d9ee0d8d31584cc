/** Stochastic depth: which samples are dropped, when, and by which seeds. */
import { DropPath } from "@denoformers/attention";
import { assertEquals, assertLess, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("DropPath", () => {
  it("drops whole samples with probability p and divides the others by 1 - p", async () => {
    const [B, p] = [4000, 0.25];
    using x = device.randn([B, 2, 3], { seed: 1 });
    using y = new DropPath(p, { seed: 2 }).forward(x);
    const [before, after] = [await x.data(), await y.data()];
    let kept = 0;
    for (let b = 0; b < B; b++) {
      const isKept = after[b * 6] !== 0;
      if (isKept) kept++;
      for (let at = b * 6; at < b * 6 + 6; at++) {
        // Rounded once for 1 / (1 - p) and once for the product: two halves of a last bit.
        const expected = isKept ? before[at]! / (1 - p) : 0;
        assertLess(Math.abs(after[at]! - expected), 2e-7 * Math.abs(expected) + 1e-30);
      }
    }
    // A binomial count: 4 standard deviations, and the seed is fixed.
    assertLess(Math.abs(kept - B * (1 - p)), 4 * Math.sqrt(B * p * (1 - p)));
  });

  it("changes nothing in evaluation or with p = 0, and gives zeros with p = 1", async () => {
    using x = device.randn([5, 3], { seed: 1 });
    for (const layer of [new DropPath(0.9).eval(), new DropPath()]) {
      using y = layer.forward(x);
      assertEquals(await y.data(), await x.data());
    }
    using zeros = new DropPath(1).forward(x);
    assertEquals((await zeros.data()).every((value) => value === 0), true);
  });

  it("chooses anew at every forward pass, the same again for the same seed", async () => {
    using x = device.ones([64]);
    const [a, b] = [new DropPath(0.5, { seed: 1 }), new DropPath(0.5, { seed: 1 })];
    const [first, second] = [await a.forward(x).data(), await a.forward(x).data()];
    assertNotEquals(first, second);
    assertEquals([await b.forward(x).data(), await b.forward(x).data()], [first, second]);
  });

  it("lets gradients flow to the samples that were kept, scaled as they were", async () => {
    using x = device.ones([16, 2], { requiresGrad: true });
    using y = new DropPath(0.5, { seed: 3 }).forward(x);
    using loss = y.sum();
    loss.backward();
    assertEquals(await x.grad!.data(), await y.data());
  });

  it("leaves no tensor behind but its result", async () => {
    using x = device.ones([5, 7]);
    const layer = new DropPath(0.5);
    await assertNoLeak(device, () => layer.forward(x).dispose());
  });

  it("refuses a p that is no probability, and scalars", () => {
    assertThrows(() => new DropPath(1.5), RangeError, "p is 1.5, expected a probability in [0, 1]");
    using scalar = device.tensor(1);
    assertThrows(() => new DropPath(0.5).forward(scalar), RangeError, "input is a scalar");
  });
});
