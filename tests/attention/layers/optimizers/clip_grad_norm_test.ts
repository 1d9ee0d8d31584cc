/** Clipping of gradients against the formula in float64. */
import { clipGradNorm, type Tensor, tidy } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../../_device.ts";

const device = await sharedDevice();

/** Two leaves with these gradients, and one without any. */
function leaves(first: number[], second: number[], dtype: "f32" | "f16" = "f32"): Tensor[] {
  const parameters = [first, second, [1, 1]]
    .map((values) => device.zeros([values.length], { dtype, requiresGrad: true }));
  for (const [i, values] of [first, second].entries()) {
    tidy(() => parameters[i]!.clone().backward(device.tensor(values, { dtype })));
  }
  return parameters;
}

async function gradients(parameters: readonly Tensor[]): Promise<number[]> {
  const read = parameters.flatMap(({ grad }) => grad ? [grad.data()] : []);
  return (await Promise.all(read)).flatMap((values) => Array.from(values));
}

describe("clipGradNorm", () => {
  const [first, second] = [[3, -4, 0], [12]];
  const all = [...first, ...second];
  // A square root and a quotient, as drivers compute them, and a few roundings.
  const TOLERANCE = { atol: 0, rtol: 1e-6 };

  it("scales gradients above the norm by maxNorm / (norm + 1e-6), and returns the norm", async () => {
    for (const [normType, norm] of [[2, 13], [Infinity, 12]] as const) {
      const parameters = leaves(first, second);
      using total = clipGradNorm(parameters, 2, { normType });
      assertEquals([total.shape, total.dtype], [[], "f32"]);
      assertAllClose(await total.data(), [norm], TOLERANCE);
      const expected = all.map((g) => g * 2 / (norm + 1e-6));
      assertAllClose(await gradients(parameters), expected, TOLERANCE);
      assertEquals(parameters[2]!.grad, undefined);
    }
  });

  it("leaves gradients below the norm as they are", async () => {
    for (const maxNorm of [13.1, Infinity]) {
      const parameters = leaves(first, second);
      clipGradNorm(parameters, maxNorm).dispose();
      assertEquals(await gradients(parameters), all);
    }
  });

  it("computes the norm of halves in f32, and gives halves", async () => {
    const parameters = leaves([300, 400], [0], "f16"); // 400² is no f16.
    using total = clipGradNorm(parameters, 5);
    assertAllClose(await total.data(), [500], TOLERANCE);
    assertEquals(parameters[0]!.grad!.dtype, "f16");
    assertEquals(await gradients(parameters), [3, 4, 0]);
  });

  it("takes gradients whose squares overflow or vanish", async () => {
    for (const size of [1e-30, 1e-22, 1e-8, 1e12, 1e20, 1e36]) {
      const parameters = leaves(first.map((g) => g * size), second.map((g) => g * size));
      using total = clipGradNorm(parameters, 1);
      const exact = 13 * size;
      assertAllClose(await total.data(), [exact], TOLERANCE);
      const factor = Math.min(1, 1 / (exact + 1e-6));
      // Two quotients and a product.
      const expected = all.map((g) => g * size * factor);
      assertAllClose(await gradients(parameters), expected, { atol: 0, rtol: 2e-6 });
    }
  });

  it("with an infinite norm gives zeros and NaN, with NaN nothing but NaN", async () => {
    const infinite = leaves([1, Infinity], [2]);
    using total = clipGradNorm(infinite, 1);
    assertEquals(await total.item(), Infinity);
    assertEquals(await gradients(infinite), [0, NaN, 0]);
    const broken = leaves([1, NaN], [2]);
    using none = clipGradNorm(broken, 1);
    assertEquals(await none.item(), NaN);
    assertEquals(await gradients(broken), [NaN, NaN, NaN]);
  });

  it("leaves gradients to their tensors, whatever tidy is around, and no others", async () => {
    const parameters = leaves(first, second);
    const { tensors } = device.memory();
    tidy(() => {
      clipGradNorm(parameters, 2);
    });
    assertEquals(device.memory().tensors, tensors);
    assertEquals(parameters[0]!.grad!.isDisposed, false);
    await assertNoLeak(device, () => clipGradNorm(parameters, 1).dispose());
  });

  it("gives 0 without gradients, and refuses no parameters and wrong bounds", async () => {
    using leaf = device.zeros([2], { requiresGrad: true });
    assertEquals(await clipGradNorm([leaf], 1).item(), 0);
    assertThrows(() => clipGradNorm([], 1), RangeError, "there are no parameters");
    assertThrows(() => clipGradNorm([leaf], NaN), RangeError, "maxNorm is NaN");
    assertThrows(() => clipGradNorm([leaf], 1, { normType: 3 }), RangeError, "normType is 3");
  });
});
