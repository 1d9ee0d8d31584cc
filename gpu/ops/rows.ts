/**
 * What kernels over rows share: the rows are the runs of elements along one axis, numbered by the other
 * axes in row-major order. As a rule one workgroup takes one row, and a short one is taken by one thread,
 * since joining values costs more than a few elements. Here is how operands are declared and bound, and
 * how a workgroup joins a value of each thread; the kernels themselves are in `softmax.ts`,
 * `layer_norm.ts` and `cross_entropy.ts`.
 */
import { type DeviceArray, produce, withLayout } from "../array.ts";
import { encodingOf, type FloatDType, isFloat } from "../dtype.ts";
import { coalesce, expandLayout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { type ParamFields, paramStruct, type ParamType } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, numel } from "../shape.ts";
import { accessorHelpers, declareOperand, declareWalk, IS_NAN, padAxes } from "./accessors.ts";
import { assertOneBinding, bindArray, type BoundArray } from "./bindings.ts";
import { narrow } from "./map.ts";

/** Threads of a workgroup of these kernels. */
export const ROW_THREADS = 64;

/** Rows of so many elements are short: few on a GPU, where neighbouring threads should read neighbours. */
function shortLength(runtime: Runtime): number {
  return runtime.info.isFallback ? 128 : 32;
}

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
   * WGSL of `fn work(row: u32, thread: u32)`, which all THREADS of a row call to write the bits of f32 to
   * `out`; rows from `params.rows` on occur and must be ignored. It sees, for each operand x,
   * `at_x(row)`, where a row begins, and `x_at(begin, i)`, its element i; `at_out(row)` and
   * `params.out_step` for the output; `params.length`, `THREADS`, `LOWEST`,
   * `sum_over_workgroup(value, thread)`, `max_over_workgroup(value, thread)` and `is_nan(value)`.
   */
  readonly body: string;
  /** What is read, by name. */
  readonly operands: Readonly<Record<string, RowOperand>>;
  /** Further parameters, as the body sees them in `params`. */
  readonly values?: RowValues;
}

const COMMON = /* wgsl */ `
const GROUP = ${ROW_THREADS}u;
const LOWEST = -3.4028234663852886e38;
`;

/** Joining a value of each thread of a workgroup; every thread gets the result. */
const ROW_A_WORKGROUP = /* wgsl */ `
const THREADS = GROUP;
var<workgroup> partial: array<f32, THREADS>;

fn sum_over_workgroup(value: f32, thread: u32) -> f32 {
  partial[thread] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partial[thread] += partial[thread + half]; }
  }
  workgroupBarrier();
  let total = partial[0];
  workgroupBarrier();
  return total;
}

fn max_over_workgroup(value: f32, thread: u32) -> f32 {
  partial[thread] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partial[thread] = max(partial[thread], partial[thread + half]); }
  }
  workgroupBarrier();
  let highest = partial[0];
  workgroupBarrier();
  return highest;
}
`;

/** The same where a thread is alone with its row. */
const ROW_A_THREAD = /* wgsl */ `
const THREADS = 1u;
fn sum_over_workgroup(value: f32, thread: u32) -> f32 { return value; }
fn max_over_workgroup(value: f32, thread: u32) -> f32 { return value; }
`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(GROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let number = workgroup_index(group, groups) * GROUP + thread;
  work(number / THREADS, number % THREADS);
}
`;

/** The output is dense, and what lies behind the axis lies between a row's elements. */
const AT_OUT = /* wgsl */ `
fn at_out(row: u32) -> u32 {
  let outer = row / params.out_step;
  return outer * params.out_step * params.out_length + row % params.out_step;
}
`;

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
  const out = produce(runtime, outShape, "f32", (out) => {
    if (numel(outShape) === 0) return;
    const isShort = rows.length <= shortLength(runtime);
    const workgroups = isShort ? ceilDiv(rows.count, ROW_THREADS) : rows.count;
    dispatchRows(runtime, fn, rows, out, outLength, workgroups, isShort);
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

/**
 * Enqueues a function of rows.
 *
 * @param out What it writes, f32.
 * @param outLength Size of the axis in `out`, for `at_out`.
 * @param workgroups How many; as many as there are rows where each takes one.
 * @param isShort Whether a thread takes a row.
 */
export function dispatchRows(
  runtime: Runtime,
  fn: RowFunction,
  rows: BoundRows,
  out: DeviceArray,
  outLength: number,
  workgroups: number,
  isShort = false,
): void {
  const { kernel, params } = rowKernel(fn, rows, isShort);
  const values: Record<string, number | readonly number[]> = {
    rows: rows.count,
    length: rows.length,
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

type Built = { kernel: Kernel; params: ReturnType<typeof paramStruct<ParamFields>> };
const kernels = new Map<string, Built>();

function rowKernel(fn: RowFunction, rows: BoundRows, isShort: boolean): Built {
  const types = Object.values(fn.operands).map((operand) =>
    typeof operand === "number" ? operand : operand.dtype
  );
  const key = [fn.label, isShort, rows.shape.length, ...types].join();
  let built = kernels.get(key);
  if (!built) kernels.set(key, built = buildKernel(fn, rows, isShort));
  return built;
}

function buildKernel(fn: RowFunction, { shape, arrays }: BoundRows, isShort: boolean): Built {
  const fields: Record<string, ParamType> = {
    rows: "u32",
    length: "u32",
    out_length: "u32",
    out_step: "u32",
  };
  for (const [name, [type]] of Object.entries(fn.values ?? {})) fields[name] = type;
  for (const { name } of arrays) fields[`${name}_offset`] = fields[`${name}_step`] = "u32";
  fields.row_shape = "axes";
  for (const { name } of arrays) fields[`${name}_strides`] = "axes";
  const params = paramStruct(fields);
  let binding = 0;
  const operands = Object.entries(fn.operands).map(([name, operand]) =>
    typeof operand === "number"
      ? declareNumber(name, operand)
      : declareRows(name, binding++, operand, shape.length)
  );
  const source = [
    params.wgsl,
    accessorHelpers(arrays.map(({ bound }) => bound.dtype)),
    ...operands,
    `@group(0) @binding(${binding}) var<storage, read_write> out: array<u32>;\n`,
    AT_OUT,
    COMMON,
    isShort ? ROW_A_THREAD : ROW_A_WORKGROUP,
    IS_NAN,
    WORKGROUP_INDEX,
    fn.body,
    MAIN,
  ].join("");
  const bindings = [...arrays.map(() => "read" as const), "write" as const];
  return { kernel: { label: fn.label, source, bindings }, params };
}

function declareRows(name: string, binding: number, { dtype }: DeviceArray, rank: number): string {
  return declareOperand(name, binding, dtype) + declareWalk(name, "row_shape", rank) +
    /* wgsl */ `
fn ${name}_at(begin: u32, i: u32) -> ${encodingOf(dtype).wgsl} {
  return load_${name}(begin + i * params.${name}_step);
}
`;
}

function declareNumber(name: string, value: number): string {
  return /* wgsl */ `
fn at_${name}(row: u32) -> u32 { return 0u; }
fn ${name}_at(begin: u32, i: u32) -> f32 { return ${value}.0; }
`;
}

/** The array's type if that is a float; throws if it is not. */
export function floatTypeOf({ dtype }: DeviceArray, action: string): FloatDType {
  if (isFloat(dtype)) return dtype;
  throw new TypeError(
    `Cannot ${action}: dtype is ${dtype}, expected f32, f16 or bf16, convert with .to("f32")`,
  );
}
