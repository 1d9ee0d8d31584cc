import type { DType, Tensor } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { roundedTo } from "../../../gpu/dtype.ts";
import { unary, type UnaryName } from "../../../gpu/ops/elementwise.ts";
import {
  binaryGradient,
  type BinaryGradientName,
  UNARY_GRADIENTS,
  unaryGradient,
} from "../../../gpu/ops/elementwise_gradients.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import {
  broadcastAt,
  computed,
  type HostArray,
  hostArray,
  normalCdf,
  normalDensity,
  randomValues,
  read,
} from "../_values.ts";

const device = await sharedDevice();

/** The two constants of gelu's approximation by tanh. */
const [K, C] = [Math.sqrt(2 / Math.PI), 0.044715];

interface Case {
  /** The function, to compute what is saved, and its slope, by the input. */
  readonly value: (x: number) => number;
  readonly slope: (x: number) => number;
  /** Where to compare. */
  readonly low: number;
  readonly high: number;
}

const CASES: Record<UnaryName, Case> = {
  exp: { value: Math.exp, slope: Math.exp, low: -5, high: 5 },
  log: { value: Math.log, slope: (x) => 1 / x, low: 0.01, high: 9 },
  sqrt: { value: Math.sqrt, slope: (x) => 0.5 / Math.sqrt(x), low: 0.01, high: 9 },
  rsqrt: { value: (x) => x ** -0.5, slope: (x) => -0.5 * x ** -1.5, low: 0.1, high: 9 },
  sin: { value: Math.sin, slope: Math.cos, low: -3, high: 3 },
  cos: { value: Math.cos, slope: (x) => -Math.sin(x), low: -3, high: 3 },
  tanh: { value: Math.tanh, slope: (x) => 1 / Math.cosh(x) ** 2, low: -5, high: 5 },
  sigmoid: {
    value: (x) => 1 / (1 + Math.exp(-x)),
    slope: (x) => 1 / (1 + Math.exp(-x)) / (1 + Math.exp(x)),
    low: -9,
    high: 9,
  },
  gelu: {
    value: (x) => x * normalCdf(x),
    slope: (x) => normalCdf(x) + x * normalDensity(x),
    low: -9,
    high: 9,
  },
  geluTanh: {
    value: (x) => 0.5 * x * (1 + Math.tanh(K * (x + C * x ** 3))),
    slope: (x) => {
      const tanh = Math.tanh(K * (x + C * x ** 3));
      return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * K * (1 + 3 * C * x * x);
    },
    low: -9,
    high: 9,
  },
  neg: { value: (x) => -x, slope: () => -1, low: -9, high: 9 },
  abs: { value: Math.abs, slope: Math.sign, low: -9, high: 9 },
  square: { value: (x) => x * x, slope: (x) => 2 * x, low: -9, high: 9 },
  relu: { value: (x) => Math.max(x, 0), slope: (x) => x > 0 ? 1 : 0, low: -9, high: 9 },
};

/** The gradient by a function's name, of what the function saves of this input. */
function gradientOf(name: UnaryName, gradient: Tensor, input: Tensor): Tensor {
  const { saves } = UNARY_GRADIENTS[name];
  return computed(device, (runtime) => {
    const array = arrayOf(input);
    if (saves !== "output") {
      const saved = saves === "input" ? array : undefined;
      return unaryGradient(runtime, name, arrayOf(gradient), saved);
    }
    const output = unary(runtime, name, array);
    try {
      return unaryGradient(runtime, name, arrayOf(gradient), output);
    } finally {
      output.storage.release();
    }
  });
}

describe("unaryGradient()", () => {
  for (const name of Object.keys(CASES) as UnaryName[]) {
    const { slope, low, high } = CASES[name];
    it(`of ${name} agrees with the formula, on dense and on strided arrays`, async () => {
      await assertNoLeak(device, async () => {
        const shape = [7, 37];
        const values = randomValues(7 * 37, 1, low, high);
        const incoming = randomValues(7 * 37, 2, -2, 2);
        const wanted = { shape, data: [...values].map((x, i) => incoming[i]! * slope(x)) };
        using x = device.tensor(values, { shape });
        using g = nanPadded(device, incoming, shape);
        using dx = gradientOf(name, g, x);
        assertAllClose(await read(dx), wanted, {
          // sin and cos: WGSL grants them 2^-11, times the gradient. Of an output near 1, tanh and sigmoid
          // have the distance from 1 only to 2^-24, in their rounding and in the subtraction.
          atol: name === "sin" || name === "cos" ? 1e-3 : 1e-6,
          rtol: 5e-6, // As of the functions themselves, see `elementwise_test.ts`.
        });
      });
    });
  }

  it("takes halves, computes in f32 and rounds once", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      using g = nanPadded(device, randomValues(35, 3), [5, 7], dtype);
      using x = nanPadded(device, randomValues(35, 4, -3, 3), [5, 7], dtype);
      using wideG = g.to("f32");
      using wideX = x.to("f32");
      using half = gradientOf("gelu", g, x);
      using wide = gradientOf("gelu", wideG, wideX);
      assertEquals(half.dtype, dtype);
      const expected = [...await wide.data()].map((value) => roundedTo(dtype, value));
      assertEquals([...await half.data()], expected);
    }
  });

  it("of abs and relu is 0 at 0, of sqrt infinite", async () => {
    using x = device.tensor([0]);
    using g = device.tensor([3]);
    for (const [name, expected] of [["abs", 0], ["relu", 0], ["sqrt", Infinity]] as const) {
      using dx = gradientOf(name, g, x);
      assertEquals([...await dx.data()], [expected], name);
    }
  });

  it("of gelu has its limits at infinity", async () => {
    using x = device.tensor([-Infinity, -1e30, 1e30, Infinity]);
    using g = device.ones([4]);
    for (const name of ["gelu", "geluTanh"] as const) {
      using dx = gradientOf(name, g, x);
      // The slope of what is cut off is below 10^-35.
      assertAllClose(await dx.data(), [0, 0, 1, 1], { atol: 1e-30, rtol: 0, message: name });
    }
  });

  it("passes NaN on, of the gradient and of the input", async () => {
    using x = device.tensor([1, NaN]);
    using g = device.tensor([NaN, 1]);
    for (const name of Object.keys(CASES) as UnaryName[]) {
      using dx = gradientOf(name, g, x);
      assertEquals([...await dx.data()], [NaN, name === "neg" ? -1 : NaN], name);
    }
  });
});

type Slope = (a: number, b: number) => number;

/** Slopes by the left and by the right operand. */
const BINARY: Record<BinaryGradientName, [Slope, Slope]> = {
  mul: [(_, b) => b, (a) => a],
  div: [(_, b) => 1 / b, (a, b) => -a / b / b],
  pow: [(a, b) => b * a ** (b - 1), (a, b) => a ** b * Math.log(a)],
  maximum: [
    (a, b) => a === b ? 0.5 : a > b ? 1 : 0,
    (a, b) => a === b ? 0.5 : a < b ? 1 : 0,
  ],
  minimum: [
    (a, b) => a === b ? 0.5 : a < b ? 1 : 0,
    (a, b) => a === b ? 0.5 : a > b ? 1 : 0,
  ],
};

const SHAPES: [number[], number[], number[]][] = [
  [[3, 5], [3, 5], [3, 5]],
  [[2, 1, 3], [4, 1], [2, 4, 3]],
  [[0, 3], [1, 3], [0, 3]],
];

function binaryGradientOf(
  name: BinaryGradientName,
  gradient: Tensor | number,
  a: Tensor | number,
  b: Tensor | number,
  which: 0 | 1,
): Tensor {
  const [g, x, y] = [gradient, a, b].map((operand) =>
    typeof operand === "number" ? operand : arrayOf(operand)
  );
  return computed(device, (runtime) => binaryGradient(runtime, name, g!, x!, y!, which));
}

describe("binaryGradient()", () => {
  for (const name of Object.keys(BINARY) as BinaryGradientName[]) {
    it(`of ${name} agrees with the formula, broadcast in either direction`, async () => {
      await assertNoLeak(device, async () => {
        for (const [shapeA, shapeB, shape] of SHAPES) {
          // Quarters from a small range, so that some are equal.
          const hostA = hostArray(
            shapeA,
            (index) => index.reduce((x, i) => (7 * x + i) % 5, 3) / 4 + 1,
          );
          const hostB = hostArray(
            shapeB,
            (index) => index.reduce((x, i) => (3 * x + i) % 4, 2) / 4 + 1,
          );
          const hostG = hostArray(shape, (index) => index.reduce((x, i) => (5 * x + i) % 7, 1) - 3);
          using a = nanPadded(device, hostA.data, shapeA);
          using b = device.tensor(new Float32Array(hostB.data), { shape: shapeB });
          using g = device.tensor(new Float32Array(hostG.data), { shape });
          for (const which of [0, 1] as const) {
            const expected: HostArray = hostArray(shape, (index) => {
              const slope = BINARY[name][which](
                broadcastAt(hostA, index),
                broadcastAt(hostB, index),
              );
              return broadcastAt(hostG, index) * slope;
            });
            using actual = binaryGradientOf(name, g, a, b, which);
            // pow: the logarithm's error times the exponent, see `elementwise_test.ts`.
            assertAllClose(await read(actual), expected, { atol: 1e-6, rtol: 1e-5 });
          }
        }
      });
    });
  }

  it("takes numbers for any operand, and has the shape of all", async () => {
    using g = device.tensor([1, 2]);
    using x = device.tensor([3, 5]);
    using column = device.tensor([[1], [2]]);
    const cases: [Tensor, number[], number[]][] = [
      [binaryGradientOf("mul", g, x, 4, 0), [2], [4, 8]],
      [binaryGradientOf("mul", g, 7, x, 0), [2], [3, 10]],
      [binaryGradientOf("mul", g, column, 4, 0), [2, 2], [4, 8, 4, 8]],
      [binaryGradientOf("mul", 2, x, 4, 0), [2], [8, 8]],
      [binaryGradientOf("pow", g, x, 2, 0), [2], [6, 20]],
      [binaryGradientOf("maximum", g, 4, x, 1), [2], [0, 2]],
    ];
    for (const [actual, shape, data] of cases) {
      // The powers are those of logarithms.
      assertAllClose(await read(actual), { shape, data }, { atol: 0, rtol: 1e-5 });
      actual.dispose();
    }
  });

  it("of pow is 0 by the base where the exponent is 0, and by the exponent where the base is 0", async () => {
    using g = device.ones([6]);
    using a = device.tensor([0, 0, 0, 0, -2, 0]);
    using b = device.tensor([0, 1, 2, 0.5, 3, -1]);
    using left = binaryGradientOf("pow", g, a, b, 0);
    assertAllClose(await left.data(), [0, 1, 0, Infinity, 12, -Infinity], { atol: 0, rtol: 1e-5 });
    using right = binaryGradientOf("pow", g, a, b, 1);
    assertAllClose(await right.data(), [0, 0, 0, 0, NaN, -Infinity], {
      atol: 0,
      rtol: 0,
      equalNan: true,
    });
  });

  it("of div does not overflow where the slope does not", async () => {
    using one = device.ones([1]);
    using a = device.tensor([1e30]);
    using b = device.tensor([1e25]);
    using right = binaryGradientOf("div", one, a, b, 1);
    assertAllClose(await right.data(), [-1e-20], { atol: 0, rtol: 1e-6 });
  });

  it("has the operands' type where they agree, else f32", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      using g = nanPadded(device, randomValues(35, 3), [5, 7], dtype);
      using a = nanPadded(device, randomValues(35, 4), [5, 7], dtype);
      using b = nanPadded(device, randomValues(7, 5, 1, 2), [7], dtype);
      using wideB = b.to("f32");
      using half = binaryGradientOf("div", g, a, b, 1);
      using wide = binaryGradientOf("div", g, a, wideB, 1);
      assertEquals<DType[]>([half.dtype, wide.dtype], [dtype, "f32"]);
      const expected = [...await wide.data()].map((value) => roundedTo(dtype, value));
      assertEquals([...await half.data()], expected);
    }
  });

  it("throws RangeError for shapes that do not broadcast", () => {
    using g = device.ones([3]);
    using a = device.ones([2]);
    assertThrows(
      () => binaryGradientOf("mul", g, a, 1, 0),
      RangeError,
      "Cannot mul gradient: shapes [3] and [2] do not broadcast",
    );
  });
});
