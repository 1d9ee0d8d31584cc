/** FlashHalfForwardOp: what it gives up, what it keeps, and what it refuses. */
import {
  FlashForwardOp,
  FlashHalfForwardOp,
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionForwardRequiresGrad,
  type Tensor,
} from "@denoformers/attention";
import { assert, assertEquals, assertLess, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const device = await sharedDevice();

function normal(dtype: "f16" | "f32", sizes: readonly number[]): [Tensor, Tensor, Tensor] {
  return [1, 2, 3].map((seed) => device.randn(sizes, { seed, dtype })) as [Tensor, Tensor, Tensor];
}

/** That a device without f16 says so. */
function assertRefused(): void {
  const [query, key, value] = normal("f16", [1, 5, 1, 16]);
  const reasons = FlashHalfForwardOp.notSupportedReasons(query, key, value);
  assertEquals(reasons, ["the device has no shader-f16"]);
}

describe("FlashHalfForwardOp", () => {
  it("says that it takes f16 alone, on devices that have it", () => {
    const [query, key, value] = normal("f32", [1, 5, 1, 16]);
    const reasons = FlashHalfForwardOp.notSupportedReasons(query, key, value);
    assertEquals(reasons[0], "dtype f32, only f16 is computed in f16");
    assertEquals(reasons.length, device.info.f16 ? 1 : 2);
    assertThrows(
      () => memoryEfficientAttention(query, key, value, { op: FlashHalfForwardOp }),
      RangeError,
      "dtype f32, only f16 is computed in f16",
    );
  });

  it("is within a few roundings to f16 of products in f32", async () => {
    if (!device.info.f16) return assertRefused();
    for (const options of [{}, { attnBias: new LowerTriangularMask() }, { p: 0.3, seed: 5 }]) {
      const [query, key, value] = normal("f16", [1, 75, 2, 16]);
      const [exact, half] = [FlashForwardOp, FlashHalfForwardOp].map((op) =>
        memoryEfficientAttentionForwardRequiresGrad(query, key, value, { ...options, op })
      );
      const [a, b] = [await exact!.out.data(), await half!.out.data()];
      // Scores of up to 4 and values of up to 4 are off by 2^-11 of themselves; dropout scales by 1 / 0.7.
      const error = b.reduce((most, x, i) => Math.max(most, Math.abs(x - a[i]!)), 0);
      assertLess(error, 4 * 4 * 2 ** -11);
      assert(error > 0, "they are other kernels");
      const [c, d] = [await exact!.lse.data(), await half!.lse.data()];
      for (const [i, x] of d.entries()) assertLess(Math.abs(x - c[i]!), 4 * 2 ** -11);
    }
  });

  it("shows NaN in a value to the queries that see it and to no other", async () => {
    if (!device.info.f16) return assertRefused();
    const values = new Float32Array(8 * 16).fill(1);
    values.fill(NaN, 5 * 16, 6 * 16);
    const value = device.tensor(values, { shape: [1, 8, 1, 16], dtype: "f16" });
    const [query, key] = normal("f16", [1, 8, 1, 16]);
    const options = { attnBias: new LowerTriangularMask(), op: FlashHalfForwardOp };
    const out = await memoryEfficientAttention(query, key, value, options).data();
    for (const [i, x] of out.entries()) assertEquals(Number.isNaN(x), i >= 5 * 16, `element ${i}`);
  });
});
