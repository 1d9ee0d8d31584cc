import { customFunction, type Tensor } from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

/** The square, whose gradient is multiplied by some factors. */
function wrongSquare(factors: Tensor) {
  return customFunction({
    name: "square",
    forward(context, x: Tensor) {
      context.save(x);
      return x.square();
    },
    backward: ({ saved: [x] }, gradient) => gradient.mul(x!).mul(2).mul(factors),
  });
}

describe("gradCheck()", () => {
  it("passes right gradients of all inputs that require them, and leaves these alone", async () => {
    using a = device.tensor([[1, 2], [3, 4]], { requiresGrad: true });
    using b = device.tensor([0.5, 0.25], { requiresGrad: true });
    using c = device.tensor([2, 3]);
    await assertNoLeak(device, async () => {
      await gradCheck((a, b, c) => a.mul(b).exp().mul(c), [a, b, c]);
      await gradCheck((x) => x.square(), a);
    });
    assertEquals([a.grad, b.grad], [undefined, undefined]);
  });

  it("rejects a wrong gradient, naming input, index and both values", async () => {
    using x = device.tensor([[1, 2], [3, 4]], { requiresGrad: true });
    using y = device.ones([2, 2], { requiresGrad: true });
    using factors = device.tensor([[1, 1], [1, 1.1]]);
    const square = wrongSquare(factors);
    const error = await assertRejects(
      () => gradCheck((y, x) => square(x).add(y).sum(), [y, x]),
      Error,
      "Expected gradients to be close to differences: 1 of 8 checked elements differ",
    );
    const [, gradient, quotient] =
      /input 1 at \[1, 1\]: backward\(\) gives (\S+), differences give (\S+)/
        .exec(error.message)!;
    // 8 u and 8.8 u for the same u, as near as differences come.
    assertEquals(Math.round(100 * parseFloat(gradient!) / parseFloat(quotient!)), 110);
  });

  it("rejects a missing gradient and one of the wrong sign", async () => {
    using x = device.tensor([1, 2, 3, 4, 5, 6, 7], { requiresGrad: true });
    using minus = device.tensor([-1]);
    const error = await assertRejects(() => gradCheck(wrongSquare(minus), x), Error, "7 of 7");
    assertEquals(error.message.split("\n").length, 7);
    assertEquals(error.message.split("\n").at(-1), "  and 2 more");
    const constant = customFunction({
      name: "constant",
      forward: (_, x: Tensor) => x.mul(2),
      backward: () => undefined,
    });
    await assertRejects(
      () => gradCheck(constant, x),
      Error,
      "backward() gives 0, differences give",
    );
  });

  it("checks some elements of large inputs, the same for a seed", async () => {
    using x = device.ones([100], { requiresGrad: true });
    const seen: string[] = [];
    using minus = device.tensor([-1]);
    for (const seed of [1, 1, 2]) {
      const options = { maxElements: 3, seed };
      const { message } = await assertRejects(
        () => gradCheck(wrongSquare(minus), x, options),
        Error,
        "3 of 3 checked",
      );
      seen.push(message);
    }
    assertEquals([seen[0] === seen[1], seen[0] === seen[2]], [true, false]);
  });

  it("tolerates what the options say", async () => {
    using x = device.tensor([1], { requiresGrad: true });
    using factors = device.tensor([1.1]);
    await gradCheck(wrongSquare(factors), x, { rtol: 0.2 });
    await gradCheck(wrongSquare(factors), x, { atol: 10 });
    // At a third derivative of 6 the quotient is off by a step of 1 squared.
    await assertRejects(() => gradCheck((x) => x.pow(3), x, { epsilon: 1 }), Error, "1 of 1");
  });

  it("gives dropout the same seed each time", async () => {
    using x = device.ones([20], { requiresGrad: true });
    await gradCheck((x) => x.dropout(0.5).square(), x);
  });

  it("throws TypeError for inputs that it cannot check", async () => {
    using x = device.ones([2]);
    using half = device.ones([2], { dtype: "f16", requiresGrad: true });
    await assertRejects(() => gradCheck((x) => x, x), TypeError, "no input requires gradients");
    await assertRejects(
      () => gradCheck((x) => x.exp(), half),
      TypeError,
      "has dtype f16, expected f32; convert within the function",
    );
    const promised = Promise.resolve(half) as unknown as Tensor;
    await assertRejects(
      () => gradCheck((x) => x, [promised]),
      TypeError,
      "Cannot gradCheck: input 0 is a Promise that was not awaited, expected a Tensor",
    );
    await assertRejects(
      () => gradCheck((x) => x, promised),
      TypeError,
      "Cannot gradCheck: inputs is a Promise that was not awaited, expected an array",
    );
    using y = device.ones([2], { requiresGrad: true });
    await assertRejects(
      () => gradCheck((() => 1) as unknown as () => Tensor, y),
      TypeError,
      "Cannot gradCheck: the function's result is 1, expected a Tensor",
    );
    for (
      const [options, text] of [
        [
          { maxElements: 0 },
          "maxElements is 0 and epsilon 0.01, expected at least 1 and more than 0",
        ],
        [{ epsilon: 0 }, "maxElements is 16 and epsilon 0, expected at least 1"],
        [{ atol: NaN }, "atol is NaN, expected a number >= 0"],
        [
          { rtol: Promise.resolve(1) as unknown as number },
          "rtol is a Promise that was not awaited",
        ],
      ] as const
    ) {
      await assertRejects(
        () => gradCheck((x) => x, y, options),
        RangeError,
        `Cannot gradCheck: ${text}`,
      );
    }
  });
});
