/** AdamW against PyTorch's rules in float64. */
import { AdamW, type AdamWOptions } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../../_device.ts";
import { leaf, setGradient, TOLERANCE, values } from "./_steps.ts";

const device = await sharedDevice();

describe("AdamW", () => {
  for (
    const options of [
      {},
      { learningRate: 0.1, betas: [0.5, 0.8], epsilon: 0.1, weightDecay: 0.2, maximize: true },
    ] satisfies AdamWOptions[]
  ) {
    it(`takes PyTorch's steps with ${JSON.stringify(options)}`, async () => {
      const { learningRate = 1e-3, betas: [beta1, beta2] = [0.9, 0.999], epsilon = 1e-8 } =
        options as AdamWOptions;
      const { weightDecay = 1e-2, maximize = false } = options as AdamWOptions;
      const p = values(7, 0);
      const [m, v] = [p.map(() => 0), p.map(() => 0)];
      using parameter = leaf(device, p);
      using optimizer = new AdamW([parameter], options);
      for (let t = 1; t <= 3; t++) {
        const given = values(7, t);
        for (const [i, x] of given.entries()) {
          const g = maximize ? -x : x;
          p[i]! -= learningRate * weightDecay * p[i]!;
          m[i] = beta1 * m[i]! + (1 - beta1) * g;
          v[i] = beta2 * v[i]! + (1 - beta2) * g * g;
          const root = Math.sqrt(v[i]! / (1 - beta2 ** t)) + epsilon;
          p[i]! -= learningRate * m[i]! / (1 - beta1 ** t) / root;
        }
        setGradient(parameter, given);
        optimizer.step();
      }
      assertAllClose(await parameter.data(), p, TOLERANCE);
    });
  }

  it("refuses wrong settings", () => {
    using parameter = leaf(device, [1]);
    const refuses = (options: AdamWOptions, message: string) =>
      assertThrows(() => new AdamW([parameter], options), RangeError, message);
    refuses({ betas: [0.9, 1] }, "betas[1] is 1, expected a number in [0, 1)");
    refuses({ epsilon: -1 }, "epsilon is -1");
    refuses({ weightDecay: -1 }, "weightDecay is -1");
  });
});
