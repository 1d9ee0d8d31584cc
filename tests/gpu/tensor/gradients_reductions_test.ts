import { type Tensor, tidy } from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();

function input(): Tensor {
  const x = nanPadded(device, randomValues(24, 1), [2, 3, 4]);
  x.requiresGrad = true;
  return x;
}

const FUNCTIONS: Record<string, (x: Tensor) => Tensor> = {
  "sum() of all": (x) => x.sum().square(),
  "sum() along axes": (x) => x.sum({ axis: [0, -1] }).square(),
  "sum() that keeps the axis": (x) => x.sum({ axis: 1, keepDim: true }).square(),
  "mean() of all": (x) => x.mean().square(),
  "mean() along an axis": (x) => x.mean({ axis: 1 }).square(),
  "max()": (x) => x.max({ axis: [0, 2] }).square(),
  "min() that keeps the axis": (x) => x.min({ axis: -1, keepDim: true }).square(),
  "softmax() of the last axis": (x) => x.softmax(),
  "softmax() of another": (x) => x.softmax(1),
  "logSumExp()": (x) => x.logSumExp(),
  "logSumExp() that keeps another axis": (x) => x.logSumExp(1, { keepDim: true }),
};

describe("gradients of reductions", () => {
  for (const [name, fn] of Object.entries(FUNCTIONS)) {
    it(`${name} agree with differences`, async () => {
      using x = input();
      await gradCheck(fn, x, { maxElements: 8 });
    });
  }

  it("max() and min() share theirs evenly among equal extremes", async () => {
    using x = device.tensor([[1, 3, 3], [2, 2, 2]], { requiresGrad: true });
    using gradient = device.tensor([6, 12]);
    tidy(() => x.max({ axis: 1 }).backward(gradient));
    assertEquals(await x.grad!.toArray(), [[0, 3, 3], [4, 4, 4]]);
    x.zeroGrad();
    tidy(() => x.min().backward());
    assertEquals(await x.grad!.toArray(), [[1, 0, 0], [0, 0, 0]]);
  });

  it("mean() of halves divides by the number of elements", async () => {
    using x = device.tensor([1, 2, 3, 4], { dtype: "f16", requiresGrad: true });
    tidy(() => x.mean().backward());
    assertEquals(await x.grad!.toArray(), [0.25, 0.25, 0.25, 0.25]);
  });

  it("sum() of no elements gives no elements", async () => {
    using x = device.zeros([0, 3], { requiresGrad: true });
    tidy(() => x.sum().backward());
    assertEquals([x.grad!.shape, [...await x.grad!.data()]], [[0, 3], []]);
  });

  it("softmax() and logSumExp() give 0 along rows that are -inf throughout", async () => {
    const data = [[-Infinity, -Infinity], [0, -Infinity]];
    using x = device.tensor(data, { requiresGrad: true });
    using gradient = device.tensor([[5, 7], [5, 7]]);
    tidy(() => x.softmax().backward(gradient));
    assertEquals(await x.grad!.toArray(), [[0, 0], [0, 0]]);
    x.zeroGrad();
    tidy(() => x.logSumExp().backward(gradient.select(1, 0)));
    assertEquals(await x.grad!.toArray(), [[0, 0], [5, 0]]);
  });
});
