/** Gradients of `scaledDotProductAttention`: its layout and masks are views around attention's own. */
import { type Device, scaledDotProductAttention, type Tensor } from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const device: Device = await sharedDevice();

function leaves(...shapes: number[][]): Tensor[] {
  return shapes.map((shape, i) => device.randn(shape, { seed: i + 1, requiresGrad: true }));
}

describe("gradients of scaledDotProductAttention()", () => {
  it("agree with differences, causal, with leading axes", async () => {
    const inputs = leaves([2, 2, 3, 5, 4], [2, 2, 3, 5, 4], [2, 2, 3, 5, 4]);
    await gradCheck((q, k, v) => scaledDotProductAttention(q!, k!, v!, { isCausal: true }), inputs);
  });

  it("agree with differences for an added mask of fewer axes, which has one itself", async () => {
    const inputs = leaves([2, 3, 5, 4], [2, 3, 6, 4], [2, 3, 6, 4], [5, 6]);
    await gradCheck(
      (q, k, v, attnMask) => scaledDotProductAttention(q!, k!, v!, { attnMask: attnMask! }),
      inputs,
    );
  });

  it("agree with differences for heads that share keys, with dropout", async () => {
    const inputs = leaves([2, 4, 5, 4], [2, 2, 6, 4], [2, 2, 6, 4]);
    const options = { enableGqa: true, dropoutP: 0.3, seed: 5 };
    await gradCheck((q, k, v) => scaledDotProductAttention(q!, k!, v!, options), inputs);
  });
});
