/** Functions of single elements, with broadcasting, all types, and numbers at the edges of the types. */
import type { Device, DType, Tensor } from "@denoformers/attention";
import { tidy } from "@denoformers/attention";
import fc from "fast-check";
import { isFloat } from "../../gpu/dtype.ts";
import { assertIs, held, MIN_NORMAL, type Tolerance } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import { commonShape, gelu, type Host, host, mapped, zipped } from "./_host.ts";
import { assertRefused } from "./_refused.ts";
import { type Lie, LIES, lying, narrowed, narrowings, shapes } from "./_shapes.ts";

const EXACT: Tolerance = { atol: 0, rtol: 0 };
/** One rounding to f32, and for quotients and roots the 2.5 last bits that WGSL allows (15.7.4). */
const ROUNDED: Tolerance = { atol: 0, rtol: 4e-7 };
/** What is built on exp and log; drivers are off by 3 + 2 |x| last bits, and x is below 20 here. */
const FUNCTION: Tolerance = { atol: 1e-6, rtol: 1e-5 };

interface Unary {
  readonly of: (x: number) => number;
  readonly tolerance: Tolerance;
  /** Whether integers and booleans become f32. */
  readonly floats: boolean;
  /** Beyond this, either way, WGSL promises nothing, or what it allows is too much to be compared. */
  readonly reach?: number;
}

const UNARY: Readonly<Record<string, Unary>> = {
  neg: { of: (x) => -x, tolerance: EXACT, floats: false },
  abs: { of: Math.abs, tolerance: EXACT, floats: false },
  square: { of: (x) => x * x, tolerance: EXACT, floats: false },
  relu: { of: (x) => Math.max(x, 0), tolerance: EXACT, floats: false },
  sqrt: { of: Math.sqrt, tolerance: ROUNDED, floats: true },
  rsqrt: { of: (x) => 1 / Math.sqrt(x), tolerance: ROUNDED, floats: true },
  exp: { of: Math.exp, tolerance: { atol: 0, rtol: 3e-5 }, floats: true },
  log: { of: Math.log, tolerance: FUNCTION, floats: true },
  sin: { of: Math.sin, tolerance: { atol: 5e-4, rtol: 0 }, floats: true, reach: 3.2 },
  cos: { of: Math.cos, tolerance: { atol: 5e-4, rtol: 0 }, floats: true, reach: 3.2 },
  tanh: { of: Math.tanh, tolerance: FUNCTION, floats: true },
  sigmoid: { of: (x) => 1 / (1 + Math.exp(-x)), tolerance: FUNCTION, floats: true },
  gelu: { of: gelu, tolerance: FUNCTION, floats: true },
};

interface Binary {
  readonly of: (a: number, b: number) => number;
  /** What of integers; the same as of floats, cut to the type, unless given. */
  readonly ofIntegers?: (a: number, b: number) => number;
  readonly tolerance: Tolerance;
  /** The type of the result: the operands' own, f32 if they are no floats, or bool. */
  readonly gives: "common" | "float" | "bool";
}

const compared = (of: (a: number, b: number) => boolean): Binary => ({
  of: (a, b) => Number(of(a, b)),
  tolerance: EXACT,
  gives: "bool",
});

const BINARY: Readonly<Record<string, Binary>> = {
  add: { of: (a, b) => a + b, tolerance: EXACT, gives: "common" },
  sub: { of: (a, b) => a - b, tolerance: EXACT, gives: "common" },
  mul: { of: (a, b) => a * b, ofIntegers: Math.imul, tolerance: EXACT, gives: "common" },
  div: { of: (a, b) => a / b, tolerance: ROUNDED, gives: "float" },
  pow: { of: power, tolerance: { atol: 0, rtol: 3e-5 }, gives: "float" },
  maximum: { of: Math.max, tolerance: EXACT, gives: "common" },
  minimum: { of: Math.min, tolerance: EXACT, gives: "common" },
  eq: compared((a, b) => a === b),
  ne: compared((a, b) => a !== b),
  lt: compared((a, b) => a < b),
  le: compared((a, b) => a <= b),
  gt: compared((a, b) => a > b),
  ge: compared((a, b) => a >= b),
};

/** As C's pow(), which JavaScript's is but for a base of 1. A zero base is taken without its sign. */
function power(a: number, b: number): number {
  if (a === 1) return 1;
  return (a === 0 ? 0 : a) ** b;
}

/** An operand: a tensor, or a number. */
type Operand =
  | {
    readonly dtype: DType;
    readonly values: readonly number[];
    readonly narrowing: { readonly ones: readonly boolean[]; readonly dropped: number };
    readonly lie: Lie;
  }
  | number;

/** One call. */
interface ElementwiseCase {
  readonly op: string;
  readonly shape: readonly number[];
  readonly a: Exclude<Operand, number>;
  readonly b: Operand;
}

const FLOATS = [0, -0, 1, -1, 0.5, 2, 3, -2, Infinity, -Infinity, NaN, 65504, 65520, -65519, 1e-7];
const EDGES = [...FLOATS, 3.4e38, -3.4e38, 2 ** -126, 2 ** -149, 2 ** -24, 1e30, -1e-30, 16777217];
const INTEGERS = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31), 65536, 46341, 7];

const floats = fc.oneof(
  { weight: 3, arbitrary: fc.float({ min: -20, max: 20, noNaN: true }) },
  { weight: 1, arbitrary: fc.constantFrom(...EDGES) },
);
const integers = fc.oneof(fc.integer({ min: -20, max: 20 }), fc.constantFrom(...INTEGERS));

/** Numbers of this type. */
function valuesOf(dtype: DType): fc.Arbitrary<number[]> {
  const one = dtype === "bool"
    ? fc.nat(1)
    : dtype === "i32"
    ? integers
    : dtype === "u32"
    ? integers.map((x) => x >>> 0)
    : floats.map((x) => held(dtype, x));
  return fc.array(one, { minLength: 1, maxLength: 7 });
}

function operands(dtypes: fc.Arbitrary<DType>, lies: readonly Lie[]) {
  return dtypes.chain((dtype) =>
    fc.record({
      dtype: fc.constant(dtype),
      values: valuesOf(dtype),
      narrowing: narrowings,
      lie: fc.constantFrom(...lies),
    })
  );
}

/** Arithmetic, comparisons and functions. */
export const elementwise: Family<ElementwiseCase> = {
  name: "elementwise",
  weight: 14,
  quick: 8,
  cases(scope) {
    const names = [...Object.keys(UNARY), ...Object.keys(BINARY)];
    const dtypes = scope.some<DType>(["f32", "i32", "f16", "bf16", "u32", "bool"], 2);
    const lies = scope.pick(LIES, 2);
    const tensors = operands(dtypes, lies);
    return fc.record({
      op: scope.some(names, 5),
      shape: shapes(4, 4),
      a: tensors,
      b: fc.oneof({ weight: 3, arbitrary: tensors }, { weight: 1, arbitrary: floats }),
    });
  },
  async check(device, { op, shape, a, b }) {
    const left = hostOf(shape, a);
    if (op in UNARY) await checkUnary(device, op, left, a);
    else {await checkBinary(
        device,
        op,
        [left, a],
        typeof b === "number" ? b : [hostOf(shape, b), b],
      );}
  },
};

/** The elements of an operand, its values over and over. */
function hostOf(
  shape: readonly number[],
  { values, narrowing }: Exclude<Operand, number>,
): Host {
  return host(narrowed(shape, narrowing), (_, at) => values[at % values.length]!);
}

async function checkUnary(
  device: Device,
  op: string,
  x: Host,
  { dtype, lie }: Exclude<Operand, number>,
): Promise<void> {
  const { of, tolerance, floats, reach = Infinity } = UNARY[op]!;
  const apply = (tensor: Tensor) => tensor[op as "neg"]();
  if (!floats && (dtype === "bool" || (op === "neg" && dtype === "u32"))) {
    return assertRefused(() => tidy(() => apply(lying(device, x, dtype, lie))));
  }
  const result = floats && !isFloat(dtype) ? "f32" : dtype;
  const [found] = await take(tidy(() => [apply(lying(device, x, dtype, lie))]));
  const data = found!.data.map((y, i) => {
    const value = x.data[i]!;
    return isBeside(value, reach) ? of(held("f32", value)) : y;
  });
  assertIs(
    floats || isFloat(dtype) ? { ...found!, data: data.map((y) => held(result, y)) } : found!,
    mapped(x, (value) => {
      if (op === "square" && dtype === "i32") return Math.imul(value, value);
      if (op === "square" && dtype === "u32") return Math.imul(value, value) >>> 0;
      if (!isFloat(dtype) && !floats) return dtype === "u32" ? of(value) >>> 0 : of(value) | 0;
      return of(held("f32", value));
    }),
    result,
    tolerance,
    op,
  );
}

/** Beyond what is compared; and numbers below the normal ones, which drivers take for 0. */
function isBeside(x: number, reach: number): boolean {
  return Math.abs(x) > reach || (x !== 0 && Math.abs(x) < MIN_NORMAL);
}

async function checkBinary(
  device: Device,
  op: string,
  [x, a]: readonly [Host, Exclude<Operand, number>],
  other: readonly [Host, Exclude<Operand, number>] | number,
): Promise<void> {
  const { of, ofIntegers = of, tolerance, gives } = BINARY[op]!;
  const call = () =>
    tidy(() => {
      const right = typeof other === "number"
        ? other
        : lying(device, other[0], other[1].dtype, other[1].lie);
      return lying(device, x, a.dtype, a.lie)[op as "add"](right);
    });
  const common = commonType(a.dtype, typeof other === "number" ? other : other[1].dtype);
  const y = typeof other === "number" ? { shape: [], data: [other] } : other[0];
  const isNumeric = gives !== "common" || common !== "bool";
  if (!common || !isNumeric || !commonShape([x.shape, y.shape])) return assertRefused(call);
  const result = gives === "bool" ? "bool" : gives === "float" && !isFloat(common) ? "f32" : common;
  const [found] = await take([call()]);
  // Elements are compared in f32 whatever their types; a number is first rounded as an element would be.
  const second = gives === "bool" && typeof other === "number" ? common : "f32";
  const isWhole = !isFloat(common) && gives !== "float";
  const exact = (p: number, q: number): number => {
    if (!isWhole) return of(held("f32", p), held(second, q));
    const value = ofIntegers(p, q);
    return gives === "bool" ? value : common === "u32" ? value >>> 0 : value | 0;
  };
  const skipped = zipped(
    [x, y],
    (p, q) => Number(isUncertain(op, held("f32", p), held(second, q))),
  );
  const expected = zipped([x, y], exact);
  const data = found!.data.map((value, i) =>
    skipped.data[i] ? held(result, expected.data[i]!) : value
  );
  assertIs({ ...found!, data }, expected, result, tolerance, op);
}

/** Where drivers may do as they like: numbers below the normal ones, and powers that leave them. */
function isUncertain(op: string, p: number, q: number): boolean {
  if (isBeside(p, Infinity) || isBeside(q, Infinity)) return true;
  if (op === "div") return Math.abs(q) > 2 ** 126 && Number.isFinite(q);
  if (op === "pow") {
    // The logarithm's error, times the exponent, is the power's.
    const exponent = q * Math.log2(Math.abs(p));
    return Number.isFinite(p) && p !== 0 && Number.isFinite(q) && Math.abs(exponent) > 20;
  }
  return false;
}

/** The type that two operands meet in. */
function commonType(a: DType, b: DType | number): DType | undefined {
  if (typeof b === "number") {
    const fits = isFloat(a) || (a === "i32" && b === (b | 0)) || (a === "u32" && b === b >>> 0);
    return fits ? a : "f32";
  }
  if (a === b || b === "bool") return a;
  if (a === "bool") return b;
  if (isFloat(a) && isFloat(b)) return "f32";
  if (isFloat(a)) return a;
  return isFloat(b) ? b : undefined;
}
