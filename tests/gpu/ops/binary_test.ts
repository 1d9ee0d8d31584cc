import type { Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { nanPadded, sharedDevice } from "../../_device.ts";
import { broadcastAt, hostArray, randomValues, read } from "../_values.ts";

const device = await sharedDevice();

const BINARY: Record<string, [(a: Tensor, b: Tensor) => Tensor, (a: number, b: number) => number]> =
  {
    add: [(a, b) => a.add(b), (a, b) => a + b],
    sub: [(a, b) => a.sub(b), (a, b) => a - b],
    mul: [(a, b) => a.mul(b), (a, b) => a * b],
    maximum: [(a, b) => a.maximum(b), Math.max],
    minimum: [(a, b) => a.minimum(b), Math.min],
    eq: [(a, b) => a.eq(b), (a, b) => Number(a === b)],
    ne: [(a, b) => a.ne(b), (a, b) => Number(a !== b)],
    lt: [(a, b) => a.lt(b), (a, b) => Number(a < b)],
    le: [(a, b) => a.le(b), (a, b) => Number(a <= b)],
    gt: [(a, b) => a.gt(b), (a, b) => Number(a > b)],
    ge: [(a, b) => a.ge(b), (a, b) => Number(a >= b)],
  };

/** Pairs of shapes that broadcast in every way there is. */
const SHAPES: [number[], number[], number[]][] = [
  [[3, 5], [3, 5], [3, 5]],
  [[3, 5], [5], [3, 5]],
  [[3, 1], [1, 5], [3, 5]],
  [[], [2, 3], [2, 3]],
  [[2, 1, 3], [4, 1], [2, 4, 3]],
  [[2, 3, 4], [2, 1, 4], [2, 3, 4]],
  [[1, 2, 1, 3, 1, 2], [2, 1, 2, 1, 2, 1], [2, 2, 2, 3, 2, 2]],
  [[0, 3], [1, 3], [0, 3]],
  [[2, 0], [1], [2, 0]],
];

async function taken(tensor: Tensor): Promise<[string, number[]]> {
  const result: [string, number[]] = [tensor.dtype, [...await tensor.data()]];
  tensor.dispose();
  return result;
}

describe("binary functions", () => {
  for (const [name, [apply, expected]] of Object.entries(BINARY)) {
    it(`${name}() broadcasts dense and strided operands`, async () => {
      for (const [shapeA, shapeB, shape] of SHAPES) {
        // Whole numbers in a small range, so that some are equal and every result is exact.
        const hostA = hostArray(shapeA, (index) => index.reduce((x, i) => (7 * x + i) % 5, 3));
        const hostB = hostArray(shapeB, (index) => index.reduce((x, i) => (3 * x + i) % 4, 2));
        const wanted = hostArray(
          shape,
          (index) => expected(broadcastAt(hostA, index), broadcastAt(hostB, index)),
        );
        using a = device.tensor(new Float32Array(hostA.data), { shape: shapeA });
        using b = device.tensor(new Float32Array(hostB.data), { shape: shapeB });
        using paddedA = nanPadded(device, hostA.data, shapeA);
        using paddedB = nanPadded(device, hostB.data, shapeB);
        for (const [x, y] of [[a, b], [paddedA, b], [a, paddedB], [paddedA, paddedB]] as const) {
          using result = apply(x, y);
          assertEquals(await read(result), { ...wanted, data: [...wanted.data] });
        }
      }
    });
  }

  it("div() is rounded at most 2.5 ulp off, and follows IEEE at 0 and infinity", async () => {
    const numerators = randomValues(300, 5, -9, 9);
    const denominators = randomValues(300, 6, 0.1, 9);
    using a = device.tensor(numerators);
    using b = device.tensor(denominators);
    using quotient = a.div(b);
    const expected = numerators.map((x, i) => x / denominators[i]!);
    assertAllClose(await quotient.data(), expected, { atol: 0, rtol: 4e-7 });
    using x = device.tensor([1, -1, 0, 1, Infinity]);
    using y = device.tensor([0, 0, 0, Infinity, Infinity]);
    assertEquals(await taken(x.div(y)), ["f32", [Infinity, -Infinity, NaN, 0, NaN]]);
  });

  it("take a number on the right", async () => {
    using x = device.tensor([1, -2, 3]);
    assertEquals(await taken(x.add(0.5)), ["f32", [1.5, -1.5, 3.5]]);
    assertEquals(await taken(x.sub(1)), ["f32", [0, -3, 2]]);
    assertEquals(await taken(x.mul(-2)), ["f32", [-2, 4, -6]]);
    assertEquals(await taken(x.div(2)), ["f32", [0.5, -1, 1.5]]);
    assertEquals(await taken(x.maximum(0)), ["f32", [1, 0, 3]]);
    assertEquals(await taken(x.minimum(-Infinity)), ["f32", [-Infinity, -Infinity, -Infinity]]);
    assertEquals(await taken(x.ge(1)), ["bool", [1, 0, 1]]);
    assertEquals(await taken(x.mul(NaN)), ["f32", [NaN, NaN, NaN]]);
  });

  it("maximum() and minimum() give NaN if either is, in either order", async () => {
    using a = device.tensor([NaN, 1, NaN, -Infinity, NaN]);
    using b = device.tensor([1, NaN, NaN, Infinity, Infinity]);
    assertEquals(await taken(a.maximum(b)), ["f32", [NaN, NaN, NaN, Infinity, NaN]]);
    assertEquals(await taken(a.minimum(b)), ["f32", [NaN, NaN, NaN, -Infinity, NaN]]);
  });

  it("comparisons are false for NaN, but ne() is true", async () => {
    using a = device.tensor([NaN, NaN, 1]);
    using b = device.tensor([NaN, 1, NaN]);
    for (const name of ["eq", "lt", "le", "gt", "ge"] as const) {
      assertEquals(await taken(a[name](b)), ["bool", [0, 0, 0]], name);
      assertEquals(await taken(a[name](NaN)), ["bool", [0, 0, 0]], name);
    }
    assertEquals(await taken(a.ne(b)), ["bool", [1, 1, 1]]);
    assertEquals(await taken(a.ne(NaN)), ["bool", [1, 1, 1]]);
  });

  it("work on more elements than one dimension of workgroups has threads", async () => {
    // 65,535 workgroups of 128 threads; bools take four to a thread, so f32 decides.
    const size = 65_535 * 128 + 5;
    using x = device.full([1], 1).expand([size]);
    using sum = x.add(1);
    const data = await sum.data();
    assertEquals([data.length, data[0], data[size - 1]], [size, 2, 2]);
    assertEquals(data.every((value) => value === 2), true);
  });

  it("throw RangeError for shapes that do not broadcast", () => {
    using a = device.zeros([2, 3]);
    using b = device.zeros([2]);
    const { allocatedBytes } = device.memory();
    assertThrows(() => a.add(b), RangeError, "Cannot add: shapes [2, 3] and [2] do not broadcast");
    assertThrows(() => a.lt(b), RangeError, "Cannot lt: shapes [2, 3] and [2] do not broadcast");
    assertEquals(device.memory().allocatedBytes, allocatedBytes);
  });
});

describe("dtypes of binary functions", () => {
  it("meet in f32, or in the integer type if only one is there", async () => {
    using f = device.tensor([0.5, 2]);
    using i = device.tensor(new Int32Array([-1, 2]));
    using u = device.tensor(new Uint32Array([3, 2 ** 31]));
    using b = device.tensor([true, false]);
    assertEquals(await taken(i.add(f)), ["f32", [-0.5, 4]]);
    assertEquals(await taken(u.mul(f)), ["f32", [1.5, 2 ** 32]]);
    assertEquals(await taken(b.add(f)), ["f32", [1.5, 2]]);
    assertEquals(await taken(b.mul(i)), ["i32", [-1, 0]]);
    assertEquals(await taken(u.sub(b)), ["u32", [2, 2 ** 31]]);
    assertEquals(await taken(i.add(i)), ["i32", [-2, 4]]);
    assertEquals(await taken(u.add(u)), ["u32", [6, 0]]);
    assertEquals(await taken(i.div(i)), ["f32", [1, 1]]);
    assertEquals(await taken(i.lt(f)), ["bool", [1, 0]]);
    assertEquals(await taken(u.gt(2 ** 31 - 1)), ["bool", [0, 1]]);
    assertEquals(await taken(b.eq(b)), ["bool", [1, 1]]);
  });

  it("stay with integers for numbers that they can hold", async () => {
    using i = device.tensor(new Int32Array([-1, 2]));
    using u = device.tensor(new Uint32Array([3, 4]));
    using b = device.tensor([true, false]);
    assertEquals(await taken(i.add(1)), ["i32", [0, 3]]);
    assertEquals(await taken(i.add(-0.5)), ["f32", [-1.5, 1.5]]);
    assertEquals(await taken(u.maximum(2 ** 32 - 1)), ["u32", [2 ** 32 - 1, 2 ** 32 - 1]]);
    assertEquals(await taken(u.sub(-1)), ["f32", [4, 5]]);
    assertEquals(await taken(i.mul(Infinity)), ["f32", [-Infinity, Infinity]]);
    assertEquals(await taken(b.add(1)), ["f32", [2, 1]]);
  });

  it("keep every bit of large integers in comparisons", async () => {
    using i = device.tensor(new Int32Array([2 ** 30, 2 ** 30 + 1]));
    assertEquals(await taken(i.eq(2 ** 30)), ["bool", [1, 0]]);
    assertEquals(await taken(i.gt(2 ** 30)), ["bool", [0, 1]]);
    using u = device.tensor(new Uint32Array([2 ** 32 - 1, 1]));
    assertEquals(await taken(u.gt(1)), ["bool", [1, 0]]);
  });

  it("throw TypeError for i32 with u32, and for arithmetic on bools alone", () => {
    using i = device.tensor(new Int32Array([1]));
    using u = device.tensor(new Uint32Array([1]));
    using b = device.tensor([true]);
    assertThrows(() => i.add(u), TypeError, "Cannot add: dtypes i32 and u32 have no common type");
    assertThrows(() => u.eq(i), TypeError, "Cannot eq: dtypes u32 and i32 have no common type");
    assertThrows(() => b.add(b), TypeError, "Cannot add: dtype bool is no number");
    assertThrows(() => b.maximum(b), TypeError, "Cannot maximum: dtype bool is no number");
  });
});

describe("logical functions", () => {
  it("follow their truth tables, for any number of bools in a word", async () => {
    for (const length of [1, 3, 4, 5, 17]) {
      const listA = Array.from({ length }, (_, i) => i % 2 === 0);
      const listB = Array.from({ length }, (_, i) => i % 3 === 0);
      using a = device.tensor(listA);
      using b = device.tensor(listB);
      const and = listA.map((x, i) => Number(x && listB[i]!));
      const or = listA.map((x, i) => Number(x || listB[i]!));
      assertEquals(await taken(a.logicalAnd(b)), ["bool", and]);
      assertEquals(await taken(a.logicalOr(b)), ["bool", or]);
      assertEquals(await taken(a.logicalNot()), ["bool", listA.map((x) => Number(!x))]);
    }
  });

  it("broadcast", async () => {
    using rows = device.tensor([[true], [false]]);
    using columns = device.tensor([true, false, true]);
    assertEquals(await taken(rows.logicalAnd(columns)), ["bool", [1, 0, 1, 0, 0, 0]]);
    assertEquals(await taken(rows.logicalOr(columns)), ["bool", [1, 1, 1, 1, 0, 1]]);
  });

  it("throw TypeError for other dtypes", () => {
    using x = device.tensor([1]);
    using b = device.tensor([true]);
    const text = "dtype is f32, expected bool, compare with .ne(0)";
    assertThrows(() => x.logicalNot(), TypeError, `Cannot compute logical not: ${text}`);
    assertThrows(() => b.logicalAnd(x), TypeError, `Cannot compute logical and: ${text}`);
    assertThrows(() => x.logicalOr(b), TypeError, `Cannot compute logical or: ${text}`);
  });
});
