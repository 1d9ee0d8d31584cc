/**
 * Gradients of the elementwise functions: one line of WGSL each, in PyTorch's meaning. Each function
 * here is one kernel; time and memory are O(elements).
 */
import { type DeviceArray, withLayout } from "../array.ts";
import type { DType } from "../dtype.ts";
import { expandLayout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { broadcastShapes } from "../shape.ts";
import { GELU_GATE, LOGARITHM, NORMAL_CDF, POWER, type UnaryName } from "./elementwise.ts";
import { map, type MapOperand } from "./map.ts";

/** How the gradient of a function of one operand is computed. */
export interface UnaryGradient {
  /** What must be kept until then: the function's operand, its result, or neither. */
  readonly saves: "input" | "output" | "nothing";
  /** WGSL of `a`, the gradient of the result, and `b`, what was saved. */
  readonly expression: string;
  /** WGSL functions that the expression calls. */
  readonly helpers?: string;
}

/** 1 / sqrt(2 pi) is the height of the normal density. */
const GELU_SLOPE = /* wgsl */ `
fn gelu_slope(x: f32) -> f32 {
  let c = clamp(x, -20.0, 20.0);
  return normal_cdf(c) + c * 0.3989422804 * exp(-0.5 * c * c);
}
`;

/** The gate's own slope is gate (1 - gate) 2 u'; 1 - gate is the gate on the other side. */
const GELU_TANH_SLOPE = /* wgsl */ `
fn gelu_tanh_slope(x: f32) -> f32 {
  let c = clamp(x, -10.0, 10.0);
  let gate = gelu_gate(c);
  return gate + c * gate * gelu_gate(-c) * 1.5957691216 * (1.0 + 0.134145 * c * c);
}
`;

/**
 * The gradients by function. Where a function has a kink (`abs` and `relu` at 0) the slope is 0. NaN in
 * what was saved gives NaN; some drivers would turn it into a number within sin, cos and exp.
 */
export const UNARY_GRADIENTS: Readonly<Record<UnaryName, UnaryGradient>> = {
  exp: { saves: "output", expression: "a * b" },
  log: { saves: "input", expression: "a / b" },
  sqrt: { saves: "output", expression: "a * 0.5 / b" },
  rsqrt: { saves: "output", expression: "-0.5 * a * b * b * b" },
  sin: { saves: "input", expression: "select(a * cos(b), b, is_nan(b))" },
  cos: { saves: "input", expression: "select(-a * sin(b), b, is_nan(b))" },
  tanh: { saves: "output", expression: "a * (1.0 - b * b)" },
  sigmoid: { saves: "output", expression: "a * (1.0 - b) * b" },
  gelu: {
    saves: "input",
    expression: "select(a * gelu_slope(b), b, is_nan(b))",
    helpers: NORMAL_CDF + GELU_SLOPE,
  },
  geluTanh: {
    saves: "input",
    expression: "select(a * gelu_tanh_slope(b), b, is_nan(b))",
    helpers: GELU_GATE + GELU_TANH_SLOPE,
  },
  neg: { saves: "nothing", expression: "-a" },
  abs: { saves: "input", expression: "select(a * sign(b), b, is_nan(b))" },
  square: { saves: "input", expression: "2.0 * a * b" },
  relu: { saves: "output", expression: "select(select(0.0, a, b > 0.0), b, is_nan(b))" },
};

/**
 * The gradient of a function's operand.
 *
 * @param name The function.
 * @param gradient The gradient of its result, of a float type.
 * @param saved What {@linkcode UNARY_GRADIENTS} says is saved, of the same shape and type.
 * @returns A dense array of the gradient's shape and type.
 */
export function unaryGradient(
  runtime: Runtime,
  name: UnaryName,
  gradient: DeviceArray,
  saved: DeviceArray | undefined,
): DeviceArray {
  const { saves, expression, helpers = "" } = UNARY_GRADIENTS[name];
  const operands = saves === "nothing" ? [gradient] : [gradient, saved!];
  const fn = { name: `${name}_gradient`, compute: "f32", output: gradient.dtype } as const;
  return map(runtime, { ...fn, expression, helpers }, operands);
}

/** Names of functions of two operands whose gradients need the operands. */
export type BinaryGradientName = "mul" | "div" | "pow" | "maximum" | "minimum";

/** What is read: the gradient `g` and the operands `x` and `y`, of which some gradients need one. */
type Read = "g" | "x" | "y";

interface BinaryGradient {
  readonly reads: readonly Read[];
  readonly expression: string;
  readonly helpers?: string;
}

const BOTH = ["g", "x", "y"] as const;

/** Of either operand. At 0, a power has the slopes that its limits have where they are finite. */
const BINARY_GRADIENTS: Readonly<
  Record<BinaryGradientName, readonly [BinaryGradient, BinaryGradient]>
> = {
  mul: [
    { reads: ["g", "y"], expression: "g * y" },
    { reads: ["g", "x"], expression: "g * x" },
  ],
  div: [
    { reads: ["g", "y"], expression: "g / y" },
    // Not by y * y, which overflows before the quotient does; some drivers make that of x / y / y, too.
    { reads: BOTH, expression: "-(g / y) * (x / y)" },
  ],
  pow: [
    { reads: BOTH, expression: "select(g * y * power(x, y - 1.0), 0.0, y == 0.0)", helpers: POWER },
    {
      reads: BOTH,
      expression: "g * select(power(x, y) * logarithm(x), 0.0, x == 0.0 && y >= 0.0)",
      helpers: POWER + LOGARITHM,
    },
  ],
  maximum: [
    { reads: BOTH, expression: "select(select(g, g * 0.5, x == y), 0.0, x < y)" },
    { reads: BOTH, expression: "select(select(g, g * 0.5, x == y), 0.0, x > y)" },
  ],
  minimum: [
    { reads: BOTH, expression: "select(select(g, g * 0.5, x == y), 0.0, x > y)" },
    { reads: BOTH, expression: "select(select(g, g * 0.5, x == y), 0.0, x < y)" },
  ],
};

/**
 * The gradient of one operand of a function of two, before it is summed over what that operand was
 * broadcast along. `mul`: g b and g a. `div`: g / b and -g a / b^2. `pow`: g b a^(b - 1), 0 where b is 0;
 * and g a^b ln a, 0 where a is 0 and b is not negative. `maximum` and `minimum`: g goes to the operand that
 * was taken, half of it to each where both are equal.
 *
 * @param name The function.
 * @param gradient The gradient `g` of its result.
 * @param a The left operand.
 * @param b The right operand; all three broadcast together.
 * @param which Whose gradient: 0 for `a`, 1 for `b`.
 * @returns A dense array of the shape that all three broadcast to. Its type is theirs, or f32 where the
 * arrays among them differ.
 */
export function binaryGradient(
  runtime: Runtime,
  name: BinaryGradientName,
  gradient: MapOperand,
  a: MapOperand,
  b: MapOperand,
  which: 0 | 1,
): DeviceArray {
  const { reads, expression, helpers = "" } = BINARY_GRADIENTS[name][which];
  const given = { g: gradient, x: a, y: b };
  const arrays = Object.values(given).filter((operand) => typeof operand !== "number");
  const shape = arrays.reduce<number[]>(
    (sofar, { layout }) => broadcastShapes(sofar, layout.shape, `${name} gradient`),
    [],
  );
  const types = new Set<DType>(arrays.map(({ dtype }) => dtype));
  const output = types.size === 1 ? arrays[0]!.dtype : "f32";
  // Those that are read may not have the whole shape, and one must be an array.
  const read = reads.some((name) => typeof given[name] !== "number") ? reads : BOTH;
  const operands = read.map((name) => {
    const operand = given[name];
    if (typeof operand === "number") return operand;
    return withLayout(operand, expandLayout(operand.layout, shape));
  });
  const parameters = read.map((name) => `${name}: f32`).join(", ");
  const gradientOf = `fn gradient_of(${parameters}) -> f32 { return ${expression}; }\n`;
  return map(runtime, {
    name: `${name}_gradient`,
    compute: "f32",
    output,
    expression: `gradient_of(${read.map((_, i) => "abc"[i]).join(", ")})`,
    helpers: helpers + gradientOf,
  }, operands);
}
