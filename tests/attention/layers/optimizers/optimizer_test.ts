/** What all optimisers do: groups, state, memory and errors. */
import { AdamW, type OptimizerState, SGD, type Tensor, tidy } from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../../_device.ts";
import { leaf, setGradient, values } from "./_steps.ts";

const device = await sharedDevice();

describe("Optimizer groups", () => {
  it("have settings of their own, or the optimiser's as it is at the step", async () => {
    const [a, b, c] = [1, 2, 3].map(() => leaf(device, [1])) as [Tensor, Tensor, Tensor];
    using optimizer = new SGD([
      { parameters: [a] },
      { parameters: [b], learningRate: 0.25 },
      { parameters: [c], weightDecay: 1 },
    ], { learningRate: 1 });
    const step = async () => {
      for (const parameter of [a, b, c]) setGradient(parameter, [1]);
      optimizer.step();
      return [await a.item(), await b.item(), await c.item()];
    };
    assertEquals(await step(), [0, 0.75, -1]);
    optimizer.learningRate = 0.5;
    optimizer.groups[1]!.learningRate = 0.125;
    assertEquals(await step(), [-0.5, 0.625, -1]);
  });

  it("skips parameters without a gradient, which then begin at their own first step", async () => {
    const [a, b] = [leaf(device, [1]), leaf(device, [1])];
    using optimizer = new AdamW([a, b], { learningRate: 0.5, weightDecay: 0 });
    setGradient(a, [1]);
    optimizer.step();
    assertEquals(await b.item(), 1);
    assertEquals(optimizer.stateDict().numbers, { learningRate: 0.5, "0.step": 1 });
    setGradient(b, [-3]);
    optimizer.zeroGrad();
    assertEquals([a.grad, b.grad], [undefined, undefined]);
    setGradient(b, [-3]);
    optimizer.step();
    // A first step has the learning rate's size, but for epsilon and rounding.
    assertEquals(Math.round(await b.item() * 1e5) / 1e5, 1.5);
  });
});

describe("Optimizer state", () => {
  it("is f32 also for halves, and the parameters stay what they are", async () => {
    using parameter = device.tensor([1, -2, 3], { dtype: "bf16", requiresGrad: true });
    using optimizer = new AdamW([parameter], { learningRate: 0.5, weightDecay: 0 });
    setGradient(parameter, [1, 1, -2]);
    optimizer.step();
    const { "0.mean": mean, "0.square": square } = optimizer.stateDict().tensors;
    assertEquals([mean!.dtype, square!.dtype, parameter.dtype], ["f32", "f32", "bf16"]);
    assertEquals(mean!.shape, [3]);
    // A first step has the learning rate's size, rounded to a bf16.
    assertEquals(await parameter.toArray(), [0.5, -2.5, 3.5]);
  });

  for (const name of ["AdamW", "SGD"] as const) {
    it(`lets ${name} go on bit by bit as if it had never stopped`, async () => {
      const make = (parameters: Tensor[]) =>
        name === "AdamW"
          ? new AdamW(parameters, { learningRate: 0.1 })
          : new SGD(parameters, { learningRate: 0.1, momentum: 0.9, dampening: 0.3 });
      const [a, b] = [leaf(device, values(5, 0)), leaf(device, [0.5])];
      using whole = make([a, b]);
      const step = (optimizer: AdamW | SGD, parameters: Tensor[], at: number) => {
        setGradient(parameters[0]!, values(5, at));
        if (at > 1) setGradient(parameters[1]!, values(1, at));
        optimizer.step();
      };
      step(whole, [a, b], 1);
      step(whole, [a, b], 2);
      whole.learningRate = 0.2;
      const copies = [
        leaf(device, Array.from(await a.data())),
        leaf(device, [await b.item()]),
      ];
      using resumed = make(copies);
      tidy(() => resumed.loadStateDict(whole.stateDict()));
      assertEquals(resumed.learningRate, 0.2);
      for (const at of [3, 4]) {
        step(whole, [a, b], at);
        step(resumed, copies, at);
      }
      assertEquals(await copies[0]!.data(), await a.data());
      assertEquals(await copies[1]!.data(), await b.data());
    });
  }

  it("names everything that does not fit, and loads nothing of it", () => {
    using parameter = leaf(device, [1, 2]);
    using optimizer = new AdamW([parameter]);
    setGradient(parameter, [1, 1]);
    optimizer.step();
    using wrong = device.zeros([3]);
    const state: OptimizerState = {
      tensors: { "0.mean": wrong, "0.momentum": wrong },
      numbers: { "0.step": 1.5, "1.step": 1, "groups.0.learningRate": -1 },
    };
    const error = assertThrows(() => optimizer.loadStateDict(state), RangeError);
    assertEquals(error.message.split("\n  "), [
      "Cannot load the state of AdamW:",
      "missing learningRate",
      "0.step is 1.5, expected a whole number >= 1",
      "unexpected 1.step",
      "groups.0.learningRate is -1, expected a finite number >= 0",
      "unexpected 0.momentum [3]",
      "0.mean has shape [3], expected [2]",
      "missing 0.square [2]",
    ]);
    assertEquals(optimizer.stateDict().numbers["0.step"], 1);
  });

  it("belongs to no tidy scope, and goes with dispose", async () => {
    using parameter = leaf(device, [1, 2]);
    await assertNoLeak(device, () => {
      const optimizer = new AdamW([parameter]);
      setGradient(parameter, [1, 1]);
      tidy(() => optimizer.step());
      tidy(() => optimizer.step());
      tidy(() => optimizer.loadStateDict(optimizer.stateDict()));
      optimizer.step();
      optimizer.dispose();
      parameter.zeroGrad();
    });
  });
});

describe("Optimizer errors", () => {
  it("refuses parameters that are none", () => {
    using parameter = leaf(device, [1, 2]);
    const refuses = (parameters: Tensor[], kind: typeof TypeError, message: string) =>
      assertThrows(() => new AdamW(parameters), kind, message);
    refuses([], RangeError, "there are no parameters");
    refuses([parameter, parameter], RangeError, "a parameter is there twice");
    using computed = parameter.mul(2);
    refuses([parameter, computed], TypeError, "parameter 1 is computed from others");
    using whole = device.zeros([2], { dtype: "i32" });
    refuses([whole], TypeError, "parameter 0 is of dtype i32");
    using matrix = device.zeros([2, 3]);
    using view = matrix.transpose(0, 1);
    refuses([view], TypeError, "parameter 0 is a view of another tensor");
    refuses([{} as Tensor], TypeError, "expected tensors, or groups");
  });

  it("refuses a step once a parameter is disposed, as by Module.to, and changes none", async () => {
    const [a, b] = [leaf(device, [1]), leaf(device, [1])];
    using optimizer = new SGD([a, b], { learningRate: 1 });
    setGradient(a, [1]);
    b.dispose();
    assertThrows(() => optimizer.step(), TypeError, "Cannot use a disposed tensor");
    assertEquals(await a.item(), 1);
    assertThrows(() => optimizer.learningRate = -1, RangeError, "learningRate is -1");
  });
});
