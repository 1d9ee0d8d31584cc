/** Sums, means and extremes over any axes; softmax, the logarithm of summed exponentials, layer normalisation. */
import { type Device, type DType, type Tensor, tidy } from "@denoformers/attention";
import fc from "fast-check";
import { isFloat } from "../../gpu/dtype.ts";
import { assertIs, held, type Tolerance } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import {
  byRow,
  type Host,
  host,
  logSumExpRow,
  normalizedRow,
  numel,
  reduced,
  softmaxRow,
  someNumbers,
  sum,
} from "./_host.ts";
import { assertRefused } from "./_refused.ts";
import { type Lie, LIES, lying, shapes } from "./_shapes.ts";

type Name = "sum" | "mean" | "max" | "min" | "softmax" | "logSumExp" | "layerNorm";

/** One call. Axes are counted around, so that all are right unless one comes twice. */
interface ReductionCase {
  readonly op: Name;
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly lie: Lie;
  /** Default: all. */
  readonly axes: readonly number[] | undefined;
  readonly keepDim: boolean;
  /** Seed of the numbers, and what is put among them. */
  readonly numbers: number;
  readonly odd: number | undefined;
}

/** Up to 900 numbers of about 1 are summed in f32, in any order: 900 roundings of at most half of 2^-23 * 60. */
const SUMS: Tolerance = { atol: 3e-5, rtol: 1e-5 };

const NAMES: readonly Name[] = ["sum", "mean", "max", "min", "softmax", "logSumExp", "layerNorm"];

/** What goes over axes. */
export const reductions: Family<ReductionCase> = {
  name: "reductions",
  weight: 12,
  quick: 12,
  cases: (scope) =>
    fc.record({
      op: scope.some(NAMES, 3),
      dtype: scope.some<DType>(["f32", "f16", "i32", "bf16", "u32", "bool"], 2),
      shape: fc.oneof(
        { weight: 5, arbitrary: shapes(4) },
        { weight: 1, arbitrary: fc.tuple(fc.nat(3), fc.integer({ min: 20, max: 300 })) },
      ),
      lie: fc.constantFrom(...scope.pick(LIES, 2)),
      axes: fc.option(fc.array(fc.integer({ min: -4, max: 3 }), { maxLength: 3 }), {
        nil: undefined,
      }),
      keepDim: fc.boolean(),
      numbers: fc.nat(99),
      odd: fc.constantFrom(undefined, undefined, NaN, Infinity, -Infinity),
    }),
  async check(device: Device, drawn) {
    const { op, dtype, lie, keepDim } = drawn;
    const x = inputOf(drawn);
    const isRowwise = op === "softmax" || op === "logSumExp" || op === "layerNorm";
    const axes = axesOf(drawn, isRowwise);
    const call = () => tidy(() => apply(lying(device, x, dtype, lie), op, axes, keepDim));
    const expected = axes && expectedOf(op, dtype, x, axes, keepDim);
    if (!expected) return assertRefused(call);
    const [found] = await take([call()]);
    const { result, type } = expected;
    const exact = op === "max" || op === "min" || !isFloat(type);
    // Infinity - Infinity is NaN, for which a driver may give any number: attention bans it, these do not.
    const isNoNumber = drawn.odd === Infinity && isRowwise;
    if (isNoNumber) return;
    assertIs(found!, result, type, exact ? { atol: 0, rtol: 0 } : SUMS, op);
  },
};

function inputOf({ dtype, shape, numbers, odd }: ReductionCase): Host {
  const values = someNumbers(numel(shape), numbers);
  return host(shape, (_, at) => {
    if (dtype === "bool") return Number(values[at]! > 0);
    if (dtype === "i32") return Math.round(20 * values[at]!);
    if (dtype === "u32") return Math.round(20 * Math.abs(values[at]!));
    return held(dtype, odd !== undefined && at % 7 === numbers % 7 ? odd : values[at]!);
  });
}

/** Axes that the tensor has; `undefined` if the call is wrong. All are left out where none is named. */
function axesOf({ axes, shape }: ReductionCase, isRowwise: boolean): number[] | undefined {
  const rank = shape.length;
  if (isRowwise) return rank === 0 ? undefined : [(((axes?.[0] ?? -1) % rank) + rank) % rank];
  if (axes === undefined) return shape.map((_, axis) => axis);
  const own = axes.map((axis) => axis < 0 ? axis + rank : axis);
  const isRight = own.every((axis) => axis >= 0 && axis < rank) && new Set(own).size === own.length;
  return isRight ? own : undefined;
}

function apply(x: Tensor, op: Name, axes: number[] | undefined, keepDim: boolean): Tensor {
  const axis = axes ?? [0, 0];
  switch (op) {
    case "softmax":
      return x.softmax(axis[0]);
    case "logSumExp":
      return x.logSumExp(axis[0], { keepDim });
    case "layerNorm":
      return x.layerNorm();
    default:
      return x[op]({ axis, keepDim });
  }
}

/** The result and its type; `undefined` if the call is to be refused. */
function expectedOf(
  op: Name,
  dtype: DType,
  x: Host,
  axes: readonly number[],
  keepDim: boolean,
): { result: Host; type: DType } | undefined {
  const [axis] = axes;
  const isEmpty = numel(axes.map((i) => x.shape[i]!)) === 0;
  const float = isFloat(dtype) ? dtype : undefined;
  switch (op) {
    case "sum":
      return {
        result: reduced(x, axes, keepDim, sum),
        type: dtype === "bool" ? "i32" : dtype,
      };
    case "mean":
      return {
        result: reduced(x, axes, keepDim, (xs) => sum(xs) / xs.length),
        type: float ?? "f32",
      };
    case "max":
    case "min":
      if (dtype === "bool" || isEmpty) return undefined;
      return { result: reduced(x, axes, keepDim, (xs) => Math[op](...xs)), type: dtype };
    case "softmax":
      return float && { result: byRow(x, axis!, softmaxRow), type: float };
    case "logSumExp":
      return float && {
        result: reduced(x, axes, keepDim, (xs) => xs.includes(NaN) ? NaN : logSumExpRow(xs)),
        type: float,
      };
    case "layerNorm": {
      const last = x.shape.length - 1;
      return float && { result: byRow(x, last, (xs) => normalizedRow(xs, 1e-5)), type: float };
    }
  }
}
