/** The elementwise functions by name: one line of WGSL each. */
import { byteSize, type DeviceArray } from "../array.ts";
import { computeType, type DType, isFloat, promote, roundedTo } from "../dtype.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { broadcastShapes, formatShape } from "../shape.ts";
import { copy, map, type MapOperand } from "./map.ts";

/** Functions of one float operand but NaN; integers and booleans become f32 first. */
const FLOAT_UNARY = {
  exp: "exp(a)",
  log: "logarithm(a)",
  sqrt: "sqrt(a)",
  rsqrt: "inverseSqrt(a)",
  sin: "sin(a)",
  cos: "cos(a)",
  tanh: "tanh(clamp(a, -20.0, 20.0))", // Some drivers compute exp(2a) within, which overflows.
  sigmoid: "1.0 / (1.0 + exp(-a))",
  gelu: "max(a, -20.0) * normal_cdf(a)",
  geluTanh: "max(a, -10.0) * gelu_gate(a)",
} as const;

/**
 * `normal_cdf(x)`: the standard normal distribution, (1 + erf(x / sqrt(2))) / 2, off by 4.2e-8 of its value
 * at most, besides rounding. Below 0 it is `exp(-x^2 / 2) t poly(t)` with `t = 1 / (1 + 0.32 |x|)`, the form
 * of Abramowitz & Stegun, Handbook of Mathematical Functions, 7.1.26, which has no cancellation anywhere;
 * the polynomial of degree 9 interpolates at the 10 Chebyshev nodes of t from 0 to 1.
 */
export const NORMAL_CDF = /* wgsl */ `
fn normal_cdf(x: f32) -> f32 {
  let z = min(abs(x), 20.0);
  let t = 1.0 / (1.0 + 0.32 * z);
  var tail = -0.02162313236;
  tail = tail * t + 0.09793521531;
  tail = tail * t - 0.1516076952;
  tail = tail * t + 0.0704682613;
  tail = tail * t - 0.01253399925;
  tail = tail * t + 0.05979932622;
  tail = tail * t + 0.08759353037;
  tail = tail * t + 0.1146470282;
  tail = tail * t + 0.1276599101;
  tail = tail * t + 0.1276615377;
  tail *= t * exp(-0.5 * z * z);
  return select(1.0 - tail, tail, x < 0.0);
}
`;

/**
 * `gelu_gate(x)`: (1 + tanh(u)) / 2 = 1 / (1 + exp(-2 u)) with u = sqrt(2 / pi) (x + 0.044715 x^3). Beyond 10
 * on either side it is as good as 0 or 1, and the exponential would overflow.
 */
export const GELU_GATE = /* wgsl */ `
fn gelu_gate(x: f32) -> f32 {
  let c = clamp(x, -10.0, 10.0);
  return 1.0 / (1.0 + exp(-1.5957691216 * (c + 0.044715 * c * c * c)));
}
`;

/** `logarithm(a)`: some drivers' log gives finite numbers at 0 and below; a quotient and a root do not. */
export const LOGARITHM = /* wgsl */ `
fn logarithm(a: f32) -> f32 {
  return select(select(log(a), -1.0 / abs(a), a == 0.0), sqrt(a), a < 0.0);
}
`;

/** WGSL functions that expressions of the table above call. */
const HELPERS: Partial<Record<keyof typeof FLOAT_UNARY, string>> = {
  log: LOGARITHM,
  gelu: NORMAL_CDF,
  geluTanh: GELU_GATE,
};

/** Functions of one operand that keep its type. */
const UNARY = {
  neg: "-a",
  abs: "abs(a)",
  square: "a * a",
  relu: "max(a, 0)",
} as const;

/** Functions of two operands whose result has their common type. */
const BINARY = {
  add: "a + b",
  sub: "a - b",
  mul: "a * b",
  maximum: "max(a, b)",
  minimum: "min(a, b)",
} as const;

/**
 * WGSL's pow() is undefined below 0, where whole powers are what people use, and drivers compute it by
 * logarithms, which fail at 0. Minus infinity has all powers, those that are not whole without a sign.
 */
export const POWER = /* wgsl */ `
fn power(a: f32, b: f32) -> f32 {
  if (b == 0.0 || a == 1.0) { return 1.0; }
  if (is_nan(a) || is_nan(b)) { return a + b; }
  if (a == 0.0) { return select(0.0, 1.0 / abs(a), b < 0.0); }
  if (a < 0.0 && b != floor(b)) {
    if (bitcast<u32>(a) == 0xff800000u) { return select(abs(a), 0.0, b < 0.0); }
    return sqrt(a); // NaN, for which WGSL has no literal.
  }
  let magnitude = pow(abs(a), b);
  return select(magnitude, -magnitude, a < 0.0 && abs(b % 2.0) == 1.0);
}
`;

/** Comparisons of two operands; the result is bool. */
const COMPARISON = {
  eq: "select(0u, 1u, a == b)",
  ne: "select(1u, 0u, a == b)", // Drivers take a != b for false if one is NaN.
  lt: "select(0u, 1u, a < b)",
  le: "select(0u, 1u, a <= b)",
  gt: "select(0u, 1u, a > b)",
  ge: "select(0u, 1u, a >= b)",
} as const;

/** Names of functions of one operand. */
export type UnaryName = keyof typeof FLOAT_UNARY | keyof typeof UNARY;

/** Names of functions of two operands. */
export type BinaryName = keyof typeof BINARY | keyof typeof COMPARISON | "div" | "pow";

/** Applies a function of one operand. */
export function unary(runtime: Runtime, name: UnaryName, a: DeviceArray): DeviceArray {
  if (name in FLOAT_UNARY) {
    // Some drivers turn NaN into a number in these functions.
    const float = name as keyof typeof FLOAT_UNARY;
    const expression = `select(${FLOAT_UNARY[float]}, a, is_nan(a))`;
    const helpers = HELPERS[float] ?? "";
    const output = floatType(a.dtype);
    return map(runtime, { name, compute: "f32", output, expression, helpers }, [a]);
  }
  assertNumeric(a.dtype, name);
  if (a.dtype === "u32" && name === "neg") {
    throw new TypeError(`Cannot neg: dtype u32 has no negative numbers, convert with .to("i32")`);
  }
  const keepsValue = a.dtype === "u32" && (name === "abs" || name === "relu");
  if (keepsValue) return copy(runtime, a);
  let expression: string = UNARY[name as keyof typeof UNARY];
  if (isFloat(a.dtype)) expression = `select(${expression}, a, is_nan(a))`;
  return map(runtime, { name, compute: computeType(a.dtype), output: a.dtype, expression }, [a]);
}

/** Applies a function of two operands, of which one may be a number. */
export function binary(
  runtime: Runtime,
  name: BinaryName,
  a: MapOperand,
  b: MapOperand,
): DeviceArray {
  const common = commonType(a, b, name);
  const compute = computeType(common);
  if (name === "div" || name === "pow") {
    const fn = name === "div"
      ? { expression: "a / b" }
      : { expression: "power(a, b)", helpers: POWER };
    return map(runtime, { name, compute: "f32", output: floatType(common), ...fn }, [a, b]);
  }
  if (name in COMPARISON) {
    const expression = COMPARISON[name as keyof typeof COMPARISON];
    // As an element would hold it: it equals elements that were made from it.
    const held = [a, b].map((operand) =>
      typeof operand === "number" ? roundedTo(common, operand) : operand
    );
    return map(runtime, { name, compute, output: "bool", expression }, held);
  }
  assertNumeric(common, name);
  let expression: string = BINARY[name as keyof typeof BINARY];
  if (isFloat(common) && (name === "maximum" || name === "minimum")) {
    expression = `select(${expression}, a + b, is_nan(a) || is_nan(b))`;
  }
  return map(runtime, { name, compute, output: common, expression }, [a, b]);
}

/** `condition ? a : b`, element by element. */
export function where(
  runtime: Runtime,
  condition: DeviceArray,
  a: MapOperand,
  b: MapOperand,
): DeviceArray {
  if (condition.dtype !== "bool") {
    throw new TypeError(`Cannot select by a condition of dtype ${condition.dtype}, expected bool`);
  }
  const common = commonType(a, b, "where");
  // The result is the largest array of all; if it cannot be, nothing is begun.
  const shape = [condition, a, b].reduce<number[]>(
    (sofar, operand) =>
      typeof operand === "number" ? sofar : broadcastShapes(sofar, operand.layout.shape, "where"),
    [],
  );
  runtime.memory.assertFits(byteSize(shape, common), `a tensor of shape ${formatShape(shape)}`);
  const [x, y] = [a, b].map((operand) => {
    if (typeof operand === "number") return roundedTo(common, operand);
    return operand.dtype === common ? operand : copy(runtime, operand, common);
  });
  const compute = common === "bool" ? "u32" : computeType(common);
  // All operands of a map share a type, so the condition is compared in it: 0 or not 0.
  const out = map(
    runtime,
    { name: "where", compute, output: common, expression: "select(c, b, a != 0)" },
    [condition, x!, y!],
  );
  for (const [operand, source] of [[x, a], [y, b]] as const) {
    if (operand !== source && typeof operand !== "number") operand!.storage.release();
  }
  return out;
}

/** Both are true (`and`), or at least one (`or`), or just the operand is false (`not`). */
export function logical(
  runtime: Runtime,
  name: "and" | "or" | "not",
  operands: readonly DeviceArray[],
): DeviceArray {
  for (const { dtype } of operands) {
    if (dtype !== "bool") {
      throw new TypeError(
        `Cannot compute logical ${name}: dtype is ${dtype}, expected bool, compare with .ne(0)`,
      );
    }
  }
  const expression = { and: "a & b", or: "a | b", not: "1u - a" }[name];
  return map(
    runtime,
    { name: `logical_${name}`, compute: "bool", output: "bool", expression },
    operands,
  );
}

/** A number takes the array's type if it can be held by it, and makes it f32 if it cannot. */
function commonType(a: MapOperand, b: MapOperand, name: string): DType {
  const typeBeside = (array: DeviceArray, value: number): DType => {
    const fits = isFloat(array.dtype) ||
      (array.dtype === "i32" && value === (value | 0)) ||
      (array.dtype === "u32" && value === (value >>> 0));
    return fits ? array.dtype : "f32";
  };
  if (typeof a === "number") return typeof b === "number" ? "f32" : typeBeside(b, a);
  if (typeof b === "number") return typeBeside(a, b);
  return promote(a.dtype, b.dtype, name);
}

/** The type of quotients, exponentials and the like: f32 unless the operands have another float's. */
function floatType(dtype: DType): DType {
  return isFloat(dtype) ? dtype : "f32";
}

function assertNumeric(dtype: DType, name: string): void {
  if (dtype === "bool") {
    throw new TypeError(`Cannot ${name}: dtype bool is no number, convert with .to("f32")`);
  }
}
