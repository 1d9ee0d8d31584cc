import { cat, Device, linear, requestDevice, stack, Tensor } from "@denoformers/attention";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("a disposed tensor", () => {
  const text = "Cannot use a disposed tensor: shape [2, 3], dtype f32";

  it("throws TypeError wherever it is used", async () => {
    const x = device.zeros([2, 3]);
    x.dispose();
    assert(x.isDisposed);
    using y = device.zeros([2, 3]);
    using mask = device.zeros([2, 3], { dtype: "bool" });
    const uses: (() => unknown)[] = [
      () => x.add(1),
      () => y.add(x),
      () => x.neg(),
      () => x.reshape([6]),
      () => x.permute([1, 0]),
      () => x.slice(0, 0, 1),
      () => x.select(0, 0),
      () => x.expand([2, 3]),
      () => x.unbind(),
      () => x.chunk(2),
      () => x.contiguous(),
      () => x.isContiguous(),
      () => x.clone(),
      () => x.to("i32"),
      () => x.sum(),
      () => x.softmax(),
      () => x.layerNorm(),
      () => x.matmul(y),
      () => y.matmul(x),
      () => x.where(mask, 0),
      () => y.where(mask, x),
      () => x.maskedFill(mask, 0),
      () => cat([x, y]),
      () => cat([y, x]),
      () => stack([y, x]),
    ];
    for (const use of uses) assertThrows(use, TypeError, text);
    for (const read of ["data", "toArray", "format", "print"] as const) {
      await assertRejects(() => x[read](), TypeError, text);
    }
  });

  it("still tells its shape, dtype and size, and may be disposed again", () => {
    const x = device.zeros([2, 3]);
    const { tensors } = device.memory();
    x.dispose();
    x.dispose();
    x[Symbol.dispose]();
    assertEquals(device.memory().tensors, tensors - 1);
    assertEquals([x.shape, x.dtype, x.size, x.ndim], [[2, 3], "f32", 6, 2]);
  });
});

describe("tensors of two devices", () => {
  it("throw TypeError that names where they are, and the remedy", async () => {
    using other = await requestDevice({ tune: false });
    using x = device.ones([2, 2]);
    using y = other.ones([2, 2]);
    using mask = other.ones([2, 2], { dtype: "bool" });
    const { adapter } = device.info;
    const text = `Cannot compute with tensors of two devices, both on "${adapter}": make a tensor`;
    const uses: (() => unknown)[] = [
      () => x.add(y),
      () => x.matmul(y),
      () => x.where(mask, 0),
      () => x.maskedFill(mask, 0),
      () => x.layerNorm({ weight: y.select(0, 0) }),
      () => cat([x, y]),
      () => stack([x, y]),
    ];
    for (const use of uses) assertThrows(use, TypeError, text);
  });
});

describe("what is no tensor", () => {
  it("throws TypeError with a remedy", () => {
    using x = device.ones([2]);
    using isOne = device.ones([2], { dtype: "bool" });
    const remedy = "expected a tensor or a number; make a tensor with device.tensor()";
    const tensor = "expected a Tensor; make one with device.tensor()";
    for (
      const [value, told] of [
        ["1", '"1"'],
        [null, "null"],
        [undefined, "undefined"],
        [[1, 2], "a list of 2"],
        [new Float32Array(2), "Float32Array"],
        [{}, "Object"],
        [1n, "1n"],
        [x.item().catch(() => 0), "a Promise that was not awaited"],
      ]
    ) {
      const wrong = value as unknown as Tensor;
      for (const name of ["add", "sub", "mul", "div", "pow", "maximum", "eq", "lt"] as const) {
        const text = `Cannot ${name}: got ${told}, ${remedy}`;
        assertThrows(() => x[name](wrong), TypeError, text);
      }
      const uses: [() => unknown, string][] = [
        [() => x.where(isOne, wrong), `Cannot where: got ${told}, ${remedy}`],
        [() => x.where(wrong, x), `Cannot where: condition is ${told}, ${tensor}`],
        [() => x.maskedFill(wrong, 0), `Cannot maskedFill: mask is ${told}, ${tensor}`],
        [
          () => isOne.logicalAnd(wrong),
          `Cannot compute logical and: operand is ${told}, ${tensor}`,
        ],
        [() => x.matmul(wrong), `Cannot matmul: operand is ${told}, ${tensor}`],
        [() => x.copyFrom(wrong), `Cannot copyFrom: source is ${told}, ${tensor}`],
        [() => linear(x, wrong), `Cannot linear: weight is ${told}, ${tensor}`],
        [() => cat([x, wrong]), `Cannot cat: tensors[1] is ${told}, ${tensor}`],
      ];
      for (const [use, text] of uses) assertThrows(use, TypeError, text);
    }
  });

  it("cannot be made by new", () => {
    type Made = new (...values: unknown[]) => unknown;
    for (const values of [[], [[1, 2]], [device, [1, 2]]]) {
      assertThrows(
        () => new (Tensor as unknown as Made)(...values),
        TypeError,
        "Cannot make a Tensor by new: use device.tensor(), as in device.tensor([1, 2])",
      );
      assertThrows(
        () => new (Device as unknown as Made)(...values),
        TypeError,
        "Cannot make a Device by new: use await requestDevice()",
      );
    }
  });
});
