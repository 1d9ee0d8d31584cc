/**
 * Batched matrix product, C[b, m, n] = sum over k of A[b, m, k] B[b, k, n], plus a bias per column if
 * there is one. Any strides, so transposed views are free. This file checks and prepares the operands;
 * `matmul/` holds the forms of the kernel and, in `candidates.ts`, the choice among them.
 */
import { type DeviceArray, produce } from "../array.ts";
import { type FloatDType, isFloat } from "../dtype.ts";
import { coalesce, type Layout } from "../layout.ts";
import type { Binding } from "../runtime/kernels.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { broadcastShapes, formatShape, numel } from "../shape.ts";
import { assertOneBinding, bindArray, type BoundArray } from "./bindings.ts";
import { fill, narrow } from "./map.ts";
import { defaultMatmulPlan, type MatmulPlan } from "./matmul/candidates.ts";
import { lanesMatmul } from "./matmul/lanes.ts";
import type { MatmulOperand, MatmulProblem } from "./matmul/problem.ts";
import { sumSlices } from "./matmul/sum_slices.ts";
import { tilesMatmul } from "./matmul/tiles.ts";

/** Options of {@linkcode matmul}. */
export interface MatmulOptions {
  /** `[n]`, added to each row of the product. */
  readonly bias?: DeviceArray | undefined;
  /**
   * Treat the product of a zero in A with anything, NaN and infinity included, as zero. Attention
   * weights want that: what a weight of zero hides must not show. Default `false`.
   */
  readonly zeroHides?: boolean;
  /** How to compute it. Default: {@linkcode defaultMatmulPlan}. */
  readonly plan?: MatmulPlan;
}

/**
 * `a [..., m, k]` times `b [..., k, n]`, with leading axes that broadcast. Operands and bias have one
 * float type, which the result has as well; sums are f32.
 */
export function matmul(
  runtime: Runtime,
  a: DeviceArray,
  b: DeviceArray,
  { bias, zeroHides = false, plan }: MatmulOptions = {},
): DeviceArray {
  const shapes = `shapes are ${formatShape(a.layout.shape)} and ${formatShape(b.layout.shape)}`;
  const { dtype } = a;
  if (!isFloat(dtype) || b.dtype !== dtype || (bias && bias.dtype !== dtype)) {
    const types = bias
      ? `${dtype}, ${b.dtype} and ${bias.dtype} (bias)`
      : `${dtype} and ${b.dtype}`;
    throw new TypeError(
      `Cannot matmul: dtypes are ${types}, expected one of f32, f16 and bf16 for all, ` +
        `convert with .to("f32")`,
    );
  }
  if (a.layout.shape.length < 2 || b.layout.shape.length < 2) {
    throw new RangeError(`Cannot matmul: ${shapes}, expected [..., M, K] and [..., K, N]`);
  }
  const [m, k] = a.layout.shape.slice(-2) as [number, number];
  const [innerB, n] = b.layout.shape.slice(-2) as [number, number];
  if (k !== innerB) {
    throw new RangeError(`Cannot matmul: ${shapes}, inner sizes ${k} and ${innerB} differ`);
  }
  const lead = broadcastShapes(a.layout.shape.slice(0, -2), b.layout.shape.slice(0, -2), "matmul");
  const outShape = [...lead, m, n];
  if (k === 0 && !bias) return fill(runtime, outShape, dtype, 0);
  assertOneBinding(runtime, "matmul", outShape, "f32");
  if (numel(outShape) === 0) return produce(runtime, outShape, dtype, () => {});
  const problem = problemOf(runtime, a, b, bias, lead, dtype, zeroHides);
  const out = produce(runtime, outShape, "f32", ({ storage }) => {
    run(runtime, problem, plan ?? defaultMatmulPlan(problem, runtime.info), storage);
  });
  return narrow(runtime, out, dtype);
}

/** The product as kernels see it. */
function problemOf(
  runtime: Runtime,
  a: DeviceArray,
  b: DeviceArray,
  bias: DeviceArray | undefined,
  lead: readonly number[],
  dtype: FloatDType,
  zeroHides: boolean,
): MatmulProblem {
  const bound = (array: DeviceArray) => bindArray(runtime, "matmul", array);
  const [boundA, boundB, boundBias] = [bound(a), bound(b), bias && bound(bias)];
  const [m, k] = a.layout.shape.slice(-2) as [number, number];
  const n = b.layout.shape.at(-1)!;
  const [aLine, aStep] = boundA.layout.strides.slice(-2) as [number, number];
  const [bStep, bLine] = boundB.layout.strides.slice(-2) as [number, number];
  const leads = [leadStrides(boundA.layout, lead), leadStrides(boundB.layout, lead)];
  const { shape: batchShape, strides } = coalesce(leads, lead);
  const batches = numel(lead);
  const isSingle = batches === 1;
  const problem = joined({
    m,
    n,
    k,
    batches,
    dtype,
    batchShape,
    zeroHides,
    a: operandOf(boundA, aLine, aStep, isSingle ? [0] : strides[0]!),
    b: operandOf(boundB, bLine, bStep, isSingle ? [0] : strides[1]!),
  });
  if (!boundBias) return problem;
  const { binding, layout } = boundBias;
  return { ...problem, bias: { binding, offset: layout.offset, step: layout.strides[0]! } };
}

/** Matrices A that lie one below the other and meet one B are one matrix. */
function joined(problem: MatmulProblem): MatmulProblem {
  const { m, batches, batchShape, a, b } = problem;
  const [aStride, ...others] = a.batchStrides;
  const isOne = others.length === 0 && b.batchStrides[0] === 0 && aStride === m * a.line;
  if (!isOne || batches === 1) return problem;
  const single = { batches: 1, batchShape: batchShape.map(() => 1) };
  return { ...problem, ...single, m: m * batches, a: { ...a, batchStrides: [0] } };
}

function operandOf(
  { binding, layout }: BoundArray,
  line: number,
  step: number,
  batchStrides: readonly number[],
): MatmulOperand {
  return { binding, offset: layout.offset, line, step, batchStrides };
}

/** Enqueues a product by a plan. */
function run(runtime: Runtime, problem: MatmulProblem, plan: MatmulPlan, out: Binding): void {
  const { slices } = plan;
  const multiply = (to: Binding) =>
    plan.form === "lanes"
      ? lanesMatmul(runtime, problem, plan.shape, slices, to)
      : tilesMatmul(runtime, problem, plan.shape, slices, to);
  if (slices === 1) return multiply(out);
  const { m, n, batches } = problem;
  const partial = runtime.memory.acquire(4 * slices * batches * m * n, "partial sums of matmul");
  try {
    multiply(partial);
    sumSlices(runtime, problem, slices, partial, out);
  } finally {
    partial.release();
  }
}

/** Strides over the common leading axes, 0 where this operand is broadcast. */
function leadStrides({ shape, strides }: Layout, lead: readonly number[]): number[] {
  const own = shape.length - 2;
  return lead.map((_, axis) => {
    const at = axis - lead.length + own;
    return at < 0 || shape[at] === 1 ? 0 : strides[at]!;
  });
}
