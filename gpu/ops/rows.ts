/**
 * Functions of rows: the rows are the runs of elements along one axis, numbered by the other axes in row-major
 * order. Several neighbouring threads share a row, as few as keep it in registers, and joined values pass
 * between them. Here is how operands are bound and rows are spread over threads; the functions themselves are
 * in `softmax.ts`, `layer_norm.ts` and `cross_entropy.ts`.
 */
import { type DeviceArray, produce, withLayout } from "../array.ts";
import { type DType, type FloatDType, isFloat } from "../dtype.ts";
import { coalesce, expandLayout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, numel } from "../shape.ts";
import { padAxes } from "./accessors.ts";
import { assertOneBinding, bindArray, type BoundArray } from "./bindings.ts";
import { narrow } from "./map.ts";
import {
  buildRowKernel,
  ROW_THREADS,
  type RowConfig,
  type RowKernel,
  type RowPlan,
  type RowText,
} from "./row_kernel.ts";
import { levelsFor } from "./sums.ts";
import { isAligned, LANES } from "./vectors.ts";

export { ROW_THREADS };
export type { RowText };

/** An array that broadcasts to the shape of all rows, or one of two numbers in the place of one. */
export type RowOperand = DeviceArray | 0 | 1;

/** Further parameters: name, type and value. */
export type RowValues = Readonly<Record<string, readonly ["u32" | "f32", number]>>;

/** What is computed over rows. */
export interface RowFunction {
  /** Name in profiles; no two bodies share one. */
  readonly label: string;
  /** What the caller was about to do, for errors. */
  readonly action: string;
  /**
   * WGSL of `fn work(row: u32, thread: u32)`, which all THREADS of a row call; rows from `params.rows` on occur
   * and must be ignored, but not before the last join. It sees, for each operand x, `at_x(row)`, where a row
   * begins; `at_out(row)` and `params.out_step` for the output; `params.length`, `THREADS`, `LOWEST`,
   * `sum_over_workgroup(value, thread)`, `max_over_workgroup(value, thread)`, of `vec2f`
   * `sums_over_workgroup(values, thread)` and `sum_and_max_over_workgroup(values, thread)`, and `is_nan(value)`.
   *
   * A text goes over elements: `x_at(begin, i)` is element i, and the bits of f32 are written to `out`. A
   * function gives the text for chunks, which are elements or vectors of four: `x_chunk(begin, c)` is chunk c of
   * `params.chunks`, a `Chunk`; `sum_of` and `max_of` join the elements of one, `are_nan` finds NaN.
   * `put(at_out(row), c, value)` writes one, where the result has as many elements a row as the operands.
   */
  readonly body: string | ((text: RowText) => string);
  /** What is read, by name. */
  readonly operands: Readonly<Record<string, RowOperand>>;
  /** Further parameters, as the body sees them in `params`. */
  readonly values?: RowValues;
}

/** Chunks that a thread can keep in registers, and the most threads that share a row. */
const HELD = 4;
const MAX_THREADS = 256;

/** Rows that keep a GPU busy with one thread each. */
const MANY_ROWS = 8192;

/** Threads of a row whose elements are in registers, or of one that all of a workgroup goes over. */
function planOf(runtime: Runtime, fn: RowFunction, rows: BoundRows, outLength: number): RowPlan {
  const { isFallback, subgroupSize: subgroup } = runtime.info;
  if (typeof fn.body === "string") {
    const isShort = rows.length <= (isFallback ? 128 : 32);
    const threads = isShort ? 1 : ROW_THREADS;
    return { threads, vectors: false, held: 0, subgroup, levels: levelsFor(rows.length / threads) };
  }
  const vectors = inVectors(rows) && (outLength !== rows.length || rows.inner === 1);
  const chunks = rows.length / (vectors ? LANES : 1);
  // Where rows lie side by side, threads that each take one read neighbours.
  if (!vectors && rows.inner >= ROW_THREADS && rows.count >= MANY_ROWS) {
    return { threads: 1, vectors, held: 0, subgroup, levels: levelsFor(chunks) };
  }
  // Without barriers, a CPU is far faster: subgroups join values by themselves.
  const most = isFallback ? Math.max(1, subgroup) : MAX_THREADS;
  const threads = Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(1, chunks / HELD))));
  const isHeld = !isFallback && chunks <= HELD * threads;
  const turns = ceilDiv(chunks, threads);
  return {
    threads,
    vectors,
    held: isHeld ? turns : 0,
    subgroup,
    levels: isHeld ? 0 : levelsFor(turns),
  };
}

/** Whether all rows are whole vectors. */
export function inVectors({ length, arrays }: BoundRows): boolean {
  return length % LANES === 0 &&
    arrays.every(({ bound, step, strides }) =>
      step === 0 || (step === 1 && isAligned(bound.layout.offset, strides))
    );
}

/**
 * Computes a function of every row along an axis.
 *
 * @param fn What to compute.
 * @param shape Shape of the operands, to which all of them expand.
 * @param axis The axis along which rows run.
 * @param outLength Size of that axis in the result.
 * @param dtype Type of the result; it is computed in f32.
 * @returns A dense array of the operands' shape with `outLength` along the axis.
 */
export function overRows(
  runtime: Runtime,
  fn: RowFunction,
  shape: readonly number[],
  axis: number,
  outLength: number,
  dtype: FloatDType,
): DeviceArray {
  const outShape = shape.with(axis, outLength);
  assertOneBinding(runtime, fn.action, outShape, "f32");
  const rows = bindRows(runtime, fn, shape, axis);
  const plan = planOf(runtime, fn, rows, outLength);
  const written = plan.vectors && outLength === rows.length ? dtype : "f32";
  const out = produce(runtime, outShape, written, (out) => {
    if (numel(outShape) === 0) return;
    const workgroups = ceilDiv(rows.count * plan.threads, Math.max(ROW_THREADS, plan.threads));
    dispatchRows(runtime, fn, rows, out, outLength, workgroups, plan);
  });
  return narrow(runtime, out, dtype);
}

/** The operands of a function of rows, as one dispatch sees them. */
export interface BoundRows {
  /** Number of rows. */
  readonly count: number;
  /** Elements of a row. */
  readonly length: number;
  /** Elements of one index of the axis: the product of the sizes behind it. */
  readonly inner: number;
  /** Sizes of the axes that number the rows, as few as the strides allow. */
  readonly shape: readonly number[];
  /** The arrays among the operands, by name. */
  readonly arrays: readonly RowArray[];
}

interface RowArray {
  readonly name: string;
  readonly bound: BoundArray;
  /** Distance between the elements of a row, and of rows along the axes of `BoundRows.shape`. */
  readonly step: number;
  readonly strides: readonly number[];
}

/** Expands and binds the operands; throws if one is larger than a binding. Enqueues nothing. */
export function bindRows(
  runtime: Runtime,
  { action, operands }: RowFunction,
  shape: readonly number[],
  axis: number,
): BoundRows {
  const without = (values: readonly number[]) => values.toSpliced(axis, 1);
  const bound = Object.entries(operands).flatMap(([name, operand]) => {
    if (typeof operand === "number") return [];
    const expanded = withLayout(operand, expandLayout(operand.layout, shape));
    return [{ name, bound: bindArray(runtime, action, expanded) }];
  });
  const rows = coalesce(bound.map((array) => without(array.bound.layout.strides)), without(shape));
  return {
    count: numel(without(shape)),
    length: shape[axis]!,
    inner: numel(shape.slice(axis + 1)),
    shape: rows.shape,
    arrays: bound.map((array, i) => ({
      ...array,
      step: array.bound.layout.strides[axis]!,
      strides: rows.strides[i]!,
    })),
  };
}

/** The threads of a workgroup share each row, element by element. */
const ROW_A_WORKGROUP: RowPlan = {
  threads: ROW_THREADS,
  vectors: false,
  held: 0,
  subgroup: 0,
  levels: levelsFor(Infinity),
};

/**
 * Enqueues a function of rows.
 *
 * @param out What it writes: f32, or any float type that is written in whole vectors.
 * @param outLength Size of the axis in `out`, for `at_out`.
 * @param workgroups How many.
 * @param plan How threads take rows. Default: each is one workgroup's.
 */
export function dispatchRows(
  runtime: Runtime,
  fn: RowFunction,
  rows: BoundRows,
  out: DeviceArray,
  outLength: number,
  workgroups: number,
  plan: RowPlan = ROW_A_WORKGROUP,
): void {
  const isVectorOutput = plan.vectors && outLength === rows.length;
  const { kernel, params } = rowKernel(fn, rows, plan, isVectorOutput ? out.dtype : undefined);
  const values: Record<string, number | readonly number[]> = {
    rows: rows.count,
    length: rows.length,
    chunks: plan.vectors ? rows.length / LANES : rows.length,
    out_length: outLength,
    out_step: rows.inner,
    row_shape: padAxes(rows.shape, 1),
  };
  for (const [name, [, value]] of Object.entries(fn.values ?? {})) values[name] = value;
  for (const { name, bound, step, strides } of rows.arrays) {
    values[`${name}_offset`] = bound.layout.offset;
    values[`${name}_step`] = step;
    values[`${name}_strides`] = padAxes(strides, 0);
  }
  runtime.kernels.dispatch(kernel, {
    storages: [...rows.arrays.map(({ bound }) => bound.binding), out.storage],
    params: params.pack(values),
    workgroups,
  });
}

const kernels = new Map<string, RowKernel>();

function rowKernel(
  fn: RowFunction,
  rows: BoundRows,
  plan: RowPlan,
  vectorOutput: DType | undefined,
): RowKernel {
  const operands = Object.entries(fn.operands).map(([name, operand]) => {
    if (typeof operand === "number") return { name, value: operand };
    const { step } = rows.arrays.find((array) => array.name === name)!;
    return { name, dtype: operand.dtype, isSingle: step === 0 };
  });
  const { threads, vectors, held, subgroup, levels } = plan;
  const rank = rows.shape.length;
  let key =
    `${fn.label} ${threads} ${vectors} ${held} ${subgroup} ${levels} ${rank} ${vectorOutput}`;
  for (const { dtype, value, isSingle } of operands) key += ` ${dtype ?? value} ${isSingle}`;
  let built = kernels.get(key);
  if (!built) {
    const values = Object.entries(fn.values ?? {}).map(([name, [type]]) => [name, type] as const);
    const config: RowConfig = {
      label: fn.label,
      body: fn.body,
      operands,
      values: Object.fromEntries(values),
      rank,
      vectorOutput,
    };
    kernels.set(key, built = buildRowKernel(config, plan));
  }
  return built;
}

/** The array's type if that is a float; throws if it is not. */
export function floatTypeOf({ dtype }: DeviceArray, action: string): FloatDType {
  if (isFloat(dtype)) return dtype;
  throw new TypeError(
    `Cannot ${action}: dtype is ${dtype}, expected f32, f16 or bf16, convert with .to("f32")`,
  );
}
