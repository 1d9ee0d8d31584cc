import type { Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { unary } from "../../../gpu/ops/elementwise.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { computed, normalCdf, randomValues, read } from "../_values.ts";

const device = await sharedDevice();

interface Case {
  /** The tensor's method and the function of JavaScript that it should agree with. */
  apply: (x: Tensor) => Tensor;
  expected: (x: number) => number;
  /** Where to compare. */
  low: number;
  high: number;
  /** Tolerances; 0 where nothing is rounded. */
  atol: number;
  rtol: number;
}

/** Single operations on f32 may be rounded once; division and roots up to 2.5 ulp (WGSL, 15.7.4). */
const QUOTIENT = { atol: 0, rtol: 4e-7 };
/**
 * WGSL allows exp an error of 3 + 2 |x| ulp, and sin and cos 2^-11 absolutely, but any driver that people
 * train with does better; what is built on exp and log inherits theirs.
 */
const FUNCTION = { atol: 1e-6, rtol: 5e-6 };

const gelu = (x: Tensor) => computed(device, (runtime) => unary(runtime, "gelu", arrayOf(x)));
const geluTanh = (x: Tensor) =>
  computed(device, (runtime) => unary(runtime, "geluTanh", arrayOf(x)));

const CASES: Record<string, Case> = {
  neg: { apply: (x) => x.neg(), expected: (x) => -x, low: -9, high: 9, atol: 0, rtol: 0 },
  abs: { apply: (x) => x.abs(), expected: Math.abs, low: -9, high: 9, atol: 0, rtol: 0 },
  square: {
    apply: (x) => x.square(),
    expected: (x) => Math.fround(x * x),
    low: -9,
    high: 9,
    atol: 0,
    rtol: 0,
  },
  relu: {
    apply: (x) => x.relu(),
    expected: (x) => Math.max(x, 0),
    low: -9,
    high: 9,
    atol: 0,
    rtol: 0,
  },
  sqrt: { apply: (x) => x.sqrt(), expected: Math.sqrt, low: 0, high: 1e4, ...QUOTIENT },
  rsqrt: {
    apply: (x) => x.rsqrt(),
    expected: (x) => 1 / Math.sqrt(x),
    low: 1e-4,
    high: 1e4,
    ...QUOTIENT,
  },
  exp: { apply: (x) => x.exp(), expected: Math.exp, low: -20, high: 20, ...FUNCTION },
  log: { apply: (x) => x.log(), expected: Math.log, low: 1e-6, high: 100, ...FUNCTION },
  sin: { apply: (x) => x.sin(), expected: Math.sin, low: -3.2, high: 3.2, atol: 5e-4, rtol: 0 },
  cos: { apply: (x) => x.cos(), expected: Math.cos, low: -3.2, high: 3.2, atol: 5e-4, rtol: 0 },
  tanh: { apply: (x) => x.tanh(), expected: Math.tanh, low: -30, high: 30, ...FUNCTION },
  sigmoid: {
    apply: (x) => x.sigmoid(),
    expected: (x) => 1 / (1 + Math.exp(-x)),
    low: -30,
    high: 30,
    ...FUNCTION,
  },
  gelu: { apply: gelu, expected: (x) => x * normalCdf(x), low: -9, high: 9, ...FUNCTION },
  geluTanh: {
    apply: geluTanh,
    expected: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
    low: -9,
    high: 9,
    ...FUNCTION,
  },
};

describe("elementwise functions", () => {
  for (const [name, { apply, expected, low, high, atol, rtol }] of Object.entries(CASES)) {
    it(`${name}() agrees with JavaScript, on dense and on strided tensors`, async () => {
      await assertNoLeak(device, async () => {
        const values = randomValues(7 * 37, 1, low, high);
        const wanted = { shape: [7, 37], data: [...values].map(expected) };
        using dense = device.tensor(values, { shape: [7, 37] });
        using ofDense = apply(dense);
        assertAllClose(await read(ofDense), wanted, { atol, rtol });
        using strided = nanPadded(device, values, [7, 37]);
        using ofStrided = apply(strided);
        assertAllClose(await read(ofStrided), wanted, { atol, rtol });
      });
    });
  }

  it("pass NaN on", async () => {
    using x = device.tensor([NaN, 1]);
    for (const [name, { apply }] of Object.entries(CASES)) {
      using y = apply(x);
      assertEquals((await y.data())[0], NaN, name);
    }
  });

  it("have their limits at infinity, 0 and below", async () => {
    const cases: [string, Tensor, number[]][] = [
      ["exp", device.tensor([-Infinity, -1000, 0, 1000, Infinity]).exp(), [
        0,
        0,
        1,
        Infinity,
        Infinity,
      ]],
      ["log", device.tensor([-1, 0, 1, Infinity]).log(), [NaN, -Infinity, 0, Infinity]],
      ["sqrt", device.tensor([-1, 0, 4, Infinity]).sqrt(), [NaN, 0, 2, Infinity]],
      ["rsqrt", device.tensor([-1, 0, 4, Infinity]).rsqrt(), [NaN, Infinity, 0.5, 0]],
      ["tanh", device.tensor([-Infinity, -1000, 0, 1000, Infinity]).tanh(), [-1, -1, 0, 1, 1]],
      ["sigmoid", device.tensor([-Infinity, -1000, 0, 1000, Infinity]).sigmoid(), [
        0,
        0,
        0.5,
        1,
        1,
      ]],
      ["gelu", gelu(device.tensor([-Infinity, -1e30, 0, Infinity])), [0, 0, 0, Infinity]],
      ["geluTanh", geluTanh(device.tensor([-Infinity, -1e30, 0, Infinity])), [0, 0, 0, Infinity]],
      ["relu", device.tensor([-Infinity, Infinity]).relu(), [0, Infinity]],
      ["abs", device.tensor([-Infinity, -0]).abs(), [Infinity, 0]],
    ];
    for (const [name, tensor, expected] of cases) {
      assertAllClose(await tensor.data(), expected, {
        atol: 1e-6,
        rtol: 1e-6,
        equalNan: true,
        message: name,
      });
      tensor.dispose();
    }
  });

  it("gelu is as accurate near 0 and far below it as an exponential", async () => {
    const values = Float32Array.from({ length: 241 }, (_, i) => (i - 120) / 20);
    const near = values.map((x) => x * 1e-4);
    // An exponential of -x^2 / 2 = -18 may be 3 + 2 * 18 ulp off, the rest some ulp.
    for (const list of [values, near]) {
      using x = device.tensor(list);
      using y = gelu(x);
      assertAllClose(await y.data(), list.map((v) => v * normalCdf(v)), { atol: 0, rtol: 5e-6 });
    }
  });

  it("take integers and booleans: some keep them, the others become f32", async () => {
    using i = device.tensor(new Int32Array([-3, 0, 4]));
    using u = device.tensor(new Uint32Array([0, 4]));
    using b = device.tensor([true, false]);
    const cases: [Tensor, string, number[]][] = [
      [i.neg(), "i32", [3, 0, -4]],
      [i.abs(), "i32", [3, 0, 4]],
      [i.square(), "i32", [9, 0, 16]],
      [i.relu(), "i32", [0, 0, 4]],
      [u.abs(), "u32", [0, 4]],
      [u.relu(), "u32", [0, 4]],
      [u.square(), "u32", [0, 16]],
      [u.sqrt(), "f32", [0, 2]],
      [b.exp(), "f32", [Math.E, 1]],
    ];
    for (const [tensor, dtype, expected] of cases) {
      assertEquals(tensor.dtype, dtype);
      assertAllClose(await tensor.data(), expected, FUNCTION);
      tensor.dispose();
    }
  });

  it("throw TypeError where the dtype has no such function", () => {
    using u = device.tensor(new Uint32Array([1]));
    using b = device.tensor([true]);
    assertThrows(() => u.neg(), TypeError, "Cannot neg: dtype u32 has no negative numbers");
    for (const name of ["neg", "abs", "square", "relu"] as const) {
      assertThrows(() => b[name](), TypeError, `Cannot ${name}: dtype bool is no number`);
    }
  });

  it("take scalars and empty tensors", async () => {
    using scalar = device.tensor(4);
    using root = scalar.sqrt();
    assertEquals([root.shape, await root.item()], [[], 2]);
    using empty = device.zeros([3, 0]);
    using exp = empty.exp();
    assertEquals([exp.shape, (await exp.data()).length], [[3, 0], 0]);
  });
});

describe("Tensor.pow()", () => {
  it("agrees with JavaScript for positive bases", async () => {
    const bases = randomValues(200, 3, 0.1, 9);
    const exponents = randomValues(200, 4, -3, 3);
    using a = device.tensor(bases);
    using b = device.tensor(exponents);
    using power = a.pow(b);
    assertAllClose(await power.data(), bases.map((x, i) => x ** exponents[i]!), {
      atol: 1e-6,
      rtol: 2e-5, // The logarithm's error times an exponent of 3 times log2(9^3).
    });
  });

  it("takes whole powers of negative numbers and is NaN for others", async () => {
    using a = device.tensor([-2, -2, -2, -2, -8, -0.5]);
    using b = device.tensor([3, 2, -1, 0, 1 / 3, 0.5]);
    using power = a.pow(b);
    assertAllClose(await power.data(), [-8, 4, -0.5, 1, NaN, NaN], {
      atol: 0,
      rtol: 1e-6,
      equalNan: true,
    });
  });

  it("has its limits at 0, 1 and infinity", async () => {
    using a = device.tensor([0, 0, 0, 1, 7, NaN, NaN, 2, Infinity, Infinity, 0.5]);
    using b = device.tensor([0, 2, -1, 1e9, 0, 0, 1, NaN, 2, -1, Infinity]);
    using power = a.pow(b);
    assertEquals([...await power.data()], [1, 0, Infinity, 1, 1, 1, NaN, NaN, Infinity, 0, 0]);
  });

  it("takes every power of minus infinity, without a sign where it is not whole and odd", async () => {
    using a = device.full([6], -Infinity);
    using b = device.tensor([3, 2, -1, 0, 0.5, -0.5]);
    using power = a.pow(b);
    assertEquals(
      (await power.data()).map((x) => x === 0 ? 0 : x), // -0 is 0 here.
      new Float32Array([-Infinity, Infinity, 0, 1, Infinity, 0]),
    );
  });

  it("is f32 for integers", async () => {
    using x = device.tensor(new Int32Array([-3, 2]));
    using cube = x.pow(3);
    assertEquals(cube.dtype, "f32");
    assertAllClose(await cube.data(), [-27, 8], { atol: 0, rtol: 1e-5 });
  });
});
