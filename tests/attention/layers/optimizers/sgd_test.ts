/** Stochastic gradient descent against PyTorch's rules in float64. */
import { SGD, type SGDOptions } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../../_device.ts";
import { leaf, setGradient, TOLERANCE, values } from "./_steps.ts";

const device = await sharedDevice();

describe("SGD", () => {
  for (
    const options of [
      {},
      { weightDecay: 0.1, maximize: true },
      { momentum: 0.9, dampening: 0.5, weightDecay: 0.1 },
      { momentum: 0.9, nesterov: true },
    ] satisfies Partial<SGDOptions>[]
  ) {
    it(`takes PyTorch's steps with ${JSON.stringify(options)}`, async () => {
      const { momentum = 0, dampening = 0, weightDecay = 0, nesterov = false, maximize = false } =
        options as Partial<SGDOptions>;
      const rates = [0.1, 0.05, 0.2];
      const p = values(7, 0);
      let buffer: number[] | undefined;
      using parameter = leaf(device, p);
      using optimizer = new SGD([parameter], { learningRate: 1, ...options });
      for (const [step, rate] of rates.entries()) {
        const given = values(7, step + 1);
        const g = given.map((x, i) => (maximize ? -x : x) + weightDecay * p[i]!);
        buffer = buffer ? buffer.map((b, i) => momentum * b + (1 - dampening) * g[i]!) : [...g];
        for (const i of p.keys()) {
          const along = nesterov ? g[i]! + momentum * buffer[i]! : buffer[i]!;
          p[i]! -= rate * (momentum === 0 ? g[i]! : along);
        }
        optimizer.learningRate = rate;
        setGradient(parameter, given);
        optimizer.step();
      }
      assertAllClose(await parameter.data(), p, TOLERANCE);
    });
  }

  it("has state with momentum alone", () => {
    for (const [momentum, names] of [[0, []], [0.9, ["0.momentum"]]] as const) {
      using parameter = leaf(device, [1]);
      using optimizer = new SGD([parameter], { learningRate: 1, momentum });
      setGradient(parameter, [1]);
      optimizer.step();
      assertEquals(Object.keys(optimizer.stateDict().tensors), [...names]);
    }
  });

  it("refuses wrong settings", () => {
    using parameter = leaf(device, [1]);
    const refuses = (options: Partial<SGDOptions>, message: string) =>
      assertThrows(
        () => new SGD([parameter], { learningRate: 1, ...options }),
        RangeError,
        message,
      );
    refuses({ momentum: -1 }, "momentum is -1");
    refuses({ learningRate: NaN }, "learningRate is NaN, expected a finite number >= 0");
    refuses({ dampening: Infinity }, "dampening is Infinity");
    refuses({ nesterov: true }, "nesterov with momentum 0 and dampening 0");
  });
});
