import {
  customFunction,
  type FunctionContext,
  noGrad,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { gradCheck } from "@denoformers/attention/testing";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

// A device of this file's own, so that the counts are exact.
const device = await requestDevice({ tune: false });

const multiply = customFunction({
  name: "multiply",
  forward(context, a: Tensor, b: Tensor) {
    context.save(a, b);
    return a.mul(b);
  },
  backward({ saved: [a, b], needsGrad }, gradient) {
    return [
      needsGrad[0] ? gradient.mul(b!) : undefined,
      needsGrad[1] ? gradient.mul(a!) : undefined,
    ];
  },
});

describe("customFunction()", () => {
  it("differentiates by the backward given, and saves inputs, outputs and others", async () => {
    using a = device.tensor([[1, 2], [3, 4]], { requiresGrad: true });
    using b = device.tensor([0.5, -1], { requiresGrad: true });
    // The gradient of b is summed over the rows along which it was broadcast.
    await gradCheck((a, b) => multiply(a, b).square(), [a, b]);
    const exp = customFunction({
      name: "exp",
      forward(context, x: Tensor) {
        const out = x.exp();
        context.save(out, device.tensor([2]));
        context.data.rows = x.shape[0];
        return out;
      },
      backward({ saved: [out, two], data }, gradient) {
        return gradient.mul(out!).mul(two!).div(data.rows as number);
      },
    });
    await gradCheck((x) => exp(x), a); // Twice the slope, by two rows.
  });

  it("tells which gradients are wanted, and runs forward without recording", () => {
    using a = device.ones([2], { requiresGrad: true });
    using b = device.ones([2]);
    const seen: (readonly boolean[])[] = [];
    const note = customFunction({
      name: "note",
      forward(context: FunctionContext, a: Tensor, b: Tensor) {
        seen.push(context.needsGrad);
        const out = a.add(b);
        assert(!out.requiresGrad);
        return out;
      },
      backward(context, gradient) {
        seen.push(context.needsGrad);
        assert(!gradient.mul(2).requiresGrad);
        return [gradient, undefined];
      },
    });
    tidy(() => note(a, b).sum().backward());
    noGrad(() => tidy(() => note(a, b)));
    assertEquals(seen, [[true, false], [true, false], [false, false]]);
  });

  it("has several outputs, with zeros for those that nothing depends on", async () => {
    using x = device.tensor([1, 2], { requiresGrad: true });
    const split = customFunction({
      name: "split",
      forward: (_, x: Tensor) => [x.mul(2), x.gt(1), x.mul(3)],
      backward: (_, double, isLarge, triple) => {
        assertEquals([double.shape, isLarge.dtype, triple.shape], [[2], "bool", [2]]);
        return double.mul(2).add(triple.mul(3));
      },
    });
    tidy(() => {
      const [double, isLarge, triple] = split(x) as [Tensor, Tensor, Tensor];
      assertEquals([double, isLarge, triple].map((t) => t.requiresGrad), [true, false, true]);
      triple.sum().backward();
    });
    assertEquals(await x.grad!.toArray(), [3, 3]);
  });

  it("gives an input or a view that it returns a handle of its own", async () => {
    using x = device.tensor([1, 2], { requiresGrad: true });
    using other = device.tensor([5, 6]);
    const same = customFunction({
      name: "same",
      forward: (_, x: Tensor) => [x, x.slice(0, 1), other],
      backward: (_, a, b) => [a.add(b.sum())],
    });
    tidy(() => {
      const [whole, part] = same(x) as [Tensor, Tensor];
      assert(whole !== x && !whole.isLeaf && x.isLeaf);
      whole.sum().add(part.sum()).backward();
    });
    assert(!x.isDisposed && !other.isDisposed && !other.requiresGrad);
    assertEquals(await x.grad!.toArray(), [2, 2]);
  });

  it("leaves nothing behind but its result and, until backward(), what it saved", () => {
    using a = device.ones([100], { requiresGrad: true });
    using b = device.ones([100]);
    const before = device.memory();
    const out = multiply(a, b);
    assertEquals(device.memory().tensors, before.tensors + 1);
    out.dispose();
    tidy(() => multiply(a, b).sum().backward());
    a.zeroGrad();
    const { tensors, allocatedBytes } = device.memory();
    assertEquals([tensors, allocatedBytes], [before.tensors, before.allocatedBytes]);
  });

  it("names itself in errors about what backward returns", () => {
    using x = device.ones([2], { requiresGrad: true });
    const returning = (value: unknown) =>
      customFunction({
        name: "odd",
        forward: (_, x: Tensor) => x.mul(1),
        backward: () => value as Tensor,
      });
    const cases: [unknown, typeof TypeError, string][] = [
      [[], RangeError, "odd: backward() returned 0 gradients, expected 1, one an input"],
      [[x, x], RangeError, "odd: backward() returned 2 gradients, expected 1"],
      [1, TypeError, "odd: backward() returned 1, expected tensors of floats"],
      [device.ones([2], { dtype: "i32" }), TypeError, "odd: backward() returned i32"],
      [device.ones([3]), RangeError, "odd: its gradient has shape [3], expected [2]"],
    ];
    for (const [value, error, text] of cases) {
      assertThrows(
        () => tidy(() => returning(value)(x).sum().backward()),
        error,
        `Cannot backward through ${text}`,
      );
    }
    assertEquals(x.grad, undefined);
  });

  it("throws for inputs and results that are no tensors, and for late saves", () => {
    using x = device.ones([2], { requiresGrad: true });
    assertThrows(
      () => multiply(x, 2 as unknown as Tensor),
      TypeError,
      "Cannot run multiply: an input is 2, expected tensors; pass other values by a closure",
    );
    const later = customFunction({
      name: "later",
      forward: (_, x: Tensor) => Promise.resolve(x) as unknown as Tensor,
      backward: (_, gradient) => gradient,
    });
    assertThrows(() => later(x), TypeError, "Cannot run later: forward() returned a promise");
    const late = customFunction({
      name: "late",
      forward: (_, x: Tensor) => x.mul(2),
      backward(context, gradient) {
        context.save(gradient);
        return gradient;
      },
    });
    assertThrows(
      () => tidy(() => late(x).sum().backward()),
      Error,
      "Cannot save in the backward pass of late: save in forward()",
    );
  });
});
