/**
 * Layer normalisation along the last axis, and its gradients. A row is gone over three or four times. Time O(elements), scratch none; for the gradients of weight and bias two floats a
 * row and at most 512 a column.
 */
import { type DeviceArray, produce, withLayout } from "../array.ts";
import type { FloatDType } from "../dtype.ts";
import { contiguousLayout, selectLayout, sliceLayout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, formatShape, numel } from "../shape.ts";
import { narrow } from "./map.ts";
import { reduce } from "./reduce.ts";
import {
  bindRows,
  dispatchRows,
  floatTypeOf,
  overRows,
  ROW_THREADS,
  type RowFunction,
} from "./rows.ts";

/** `statistics(begin, thread)`: the mean of a row of `a` and 1 / sqrt(variance + epsilon). */
const STATISTICS = /* wgsl */ `
fn statistics(begin: u32, thread: u32) -> vec2f {
  var sum = 0.0;
  for (var i = thread; i < params.length; i += THREADS) { sum += a_at(begin, i); }
  let mean = sum_over_workgroup(sum, thread) / f32(params.length);

  // Deviations from the mean, not a difference of squares, which cancels.
  var squares = 0.0;
  for (var i = thread; i < params.length; i += THREADS) {
    let deviation = a_at(begin, i) - mean;
    squares += deviation * deviation;
  }
  let variance = sum_over_workgroup(squares, thread) / f32(params.length);
  return vec2f(mean, 1.0 / sqrt(variance + params.epsilon));
}
`;

const LAYER_NORM = STATISTICS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  let source = at_a(row);
  let factors = at_weight(row);
  let summands = at_bias(row);
  let found = statistics(source, thread);
  if (row >= params.rows) { return; }
  for (var i = thread; i < params.length; i += THREADS) {
    let normalized = (a_at(source, i) - found.x) * found.y;
    let value = normalized * weight_at(factors, i) + bias_at(summands, i);
    out[at_out(row) + i * params.out_step] = bitcast<u32>(value);
  }
}
`;

/** da = rstd (gw - mean(gw) - xhat mean(gw xhat)), where gw = g weight and xhat = (a - mean) rstd. */
const INPUT_GRADIENT = STATISTICS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  let source = at_a(row);
  let incoming = at_gradient(row);
  let factors = at_weight(row);
  let found = statistics(source, thread);

  var sum = 0.0;
  var along = 0.0;
  for (var i = thread; i < params.length; i += THREADS) {
    let gw = gradient_at(incoming, i) * weight_at(factors, i);
    sum += gw;
    along += gw * ((a_at(source, i) - found.x) * found.y);
  }
  let mean = sum_over_workgroup(sum, thread) / f32(params.length);
  let slope = sum_over_workgroup(along, thread) / f32(params.length);

  if (row >= params.rows) { return; }
  for (var i = thread; i < params.length; i += THREADS) {
    let gw = gradient_at(incoming, i) * weight_at(factors, i);
    let normalized = (a_at(source, i) - found.x) * found.y;
    let value = found.y * (gw - mean - normalized * slope);
    out[at_out(row) + i * params.out_step] = bitcast<u32>(value);
  }
}
`;

/** Writes the two statistics of each row. */
const ROW_STATISTICS = STATISTICS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  let found = statistics(at_a(row), thread);
  if (row >= params.rows || thread > 0u) { return; }
  out[at_out(row)] = bitcast<u32>(found.x);
  out[at_out(row) + 1u] = bitcast<u32>(found.y);
}
`;

/**
 * Sums of g xhat and of g over a slice of the rows: a thread takes one column, so that neighbours read
 * neighbours. The output is [slices, 2, columns].
 */
const COLUMN_SUMS = /* wgsl */ `
fn work(job: u32, thread: u32) {
  let blocks = (params.length + THREADS - 1u) / THREADS;
  let slice = job / blocks;
  let column = job % blocks * THREADS + thread;
  let begin = slice * params.slice;
  if (begin >= params.rows || column >= params.length) { return; }
  let end = min(begin + params.slice, params.rows);

  var weight = 0.0;
  var bias = 0.0;
  for (var row = begin; row < end; row++) {
    let g = gradient_at(at_gradient(row), column);
    let deviation = a_at(at_a(row), column) - mean_at(at_mean(row), column);
    weight += g * (deviation * rstd_at(at_rstd(row), column));
    bias += g;
  }
  let target_position = slice * 2u * params.length + column;
  out[target_position] = bitcast<u32>(weight);
  out[target_position + params.length] = bitcast<u32>(bias);
}
`;

/** Rows that a thread sums alone, and the most slices that all rows are cut into. */
const SLICE = 64;
const MAX_SLICES = 256;

/** `(a - mean) / sqrt(variance + epsilon) * weight + bias` along the last axis, in the type of `a`. */
export function layerNorm(
  runtime: Runtime,
  a: DeviceArray,
  weight: DeviceArray | undefined,
  bias: DeviceArray | undefined,
  epsilon: number,
): DeviceArray {
  const dtype = floatTypeOf(a, "layerNorm");
  assertVectors(a, { weight, bias });
  const fn: RowFunction = {
    label: "layer_norm",
    action: "layerNorm",
    body: LAYER_NORM,
    operands: { a, weight: weight ?? 1, bias: bias ?? 0 },
    values: { epsilon: ["f32", epsilon] },
  };
  return alongLast(runtime, fn, a, dtype);
}

/** The operands of a layer normalisation that may have gradients. */
type Operand = "input" | "weight" | "bias";

/**
 * Gradients of {@linkcode layerNorm}. Statistics are computed anew from `a`, sums are in f32 and in an
 * order that depends on the sizes alone.
 *
 * @param gradient The gradient of the result, of the shape of `a`.
 * @param a What was normalised, `[..., C]`.
 * @param weight The weight `[C]`, if there was one; else its type counts as that of `a`.
 * @param epsilon As it was.
 * @param needs Which gradients to compute.
 * @returns These: that of the input in its own shape and type, those of weight and bias as `[C]` in the
 * weight's type. The arrays are dense and new, and the caller owns each.
 */
export function layerNormGradient(
  runtime: Runtime,
  gradient: DeviceArray,
  a: DeviceArray,
  weight: DeviceArray | undefined,
  epsilon: number,
  needs: Readonly<Record<Operand, boolean>>,
): Partial<Record<Operand, DeviceArray>> {
  const action = "compute layerNorm's gradient";
  const dtype = floatTypeOf(a, action);
  assertVectors(a, { weight });
  const result: Partial<Record<Operand, DeviceArray>> = {};
  try {
    if (needs.input) {
      const fn: RowFunction = {
        label: "layer_norm_gradient",
        action,
        body: INPUT_GRADIENT,
        operands: { gradient, a, weight: weight ?? 1 },
        values: { epsilon: ["f32", epsilon] },
      };
      result.input = alongLast(runtime, fn, a, dtype);
    }
    if (needs.weight || needs.bias) {
      const sums = columnSums(runtime, action, gradient, a, epsilon);
      try {
        const type = weight ? floatTypeOf(weight, action) : dtype;
        if (needs.weight) result.weight = joinSlices(runtime, sums, 0, type);
        if (needs.bias) result.bias = joinSlices(runtime, sums, 1, type);
      } finally {
        sums.storage.release();
      }
    }
    return result;
  } catch (error) {
    for (const array of Object.values(result)) array.storage.release();
    throw error;
  }
}

function alongLast(
  runtime: Runtime,
  fn: RowFunction,
  { layout: { shape } }: DeviceArray,
  dtype: FloatDType,
): DeviceArray {
  return overRows(runtime, fn, shape, shape.length - 1, shape.at(-1)!, dtype);
}

/** Sums over slices of the rows, f32 `[slices, 2, C]`: of g xhat, and of g. */
function columnSums(
  runtime: Runtime,
  action: string,
  gradient: DeviceArray,
  a: DeviceArray,
  epsilon: number,
): DeviceArray {
  const { shape } = a.layout;
  const axis = shape.length - 1;
  const columns = shape[axis]!;
  const rows = numel(shape.slice(0, -1));
  const slice = Math.max(SLICE, ceilDiv(rows, MAX_SLICES));
  const slices = ceilDiv(rows, slice);
  const statistics = overRows(
    runtime,
    {
      label: "row_statistics",
      action,
      body: ROW_STATISTICS,
      operands: { a },
      values: { epsilon: ["f32", epsilon] },
    },
    shape,
    axis,
    2,
    "f32",
  );
  try {
    const [mean, rstd] = [0, 1].map((i) =>
      withLayout(statistics, sliceLayout(statistics.layout, axis, i, i + 1, 1))
    );
    const fn: RowFunction = {
      label: "layer_norm_column_sums",
      action,
      body: COLUMN_SUMS,
      operands: { gradient, a, mean: mean!, rstd: rstd! },
      values: { slice: ["u32", slice] },
    };
    const bound = bindRows(runtime, fn, shape, axis);
    return produce(runtime, [slices, 2, columns], "f32", (out) => {
      const workgroups = slices * ceilDiv(columns, ROW_THREADS);
      dispatchRows(runtime, fn, bound, out, columns, workgroups);
    });
  } finally {
    statistics.storage.release();
  }
}

/** One of the two sums over all slices, `[C]`. */
function joinSlices(
  runtime: Runtime,
  sums: DeviceArray,
  which: 0 | 1,
  dtype: FloatDType,
): DeviceArray {
  const part = withLayout(sums, selectLayout(sums.layout, 1, which));
  const joined = narrow(runtime, reduce(runtime, "sum", part, [0]), dtype);
  return withLayout(joined, contiguousLayout([sums.layout.shape[2]!]));
}

function assertVectors(
  { layout: { shape } }: DeviceArray,
  vectors: Readonly<Record<string, DeviceArray | undefined>>,
): void {
  const length = shape.at(-1);
  if (length === undefined) {
    throw new RangeError("Cannot layerNorm: a scalar has no axis to normalise");
  }
  for (const [name, vector] of Object.entries(vectors)) {
    if (!vector) continue;
    floatTypeOf(vector, `layerNorm with this ${name}`);
    const own = vector.layout.shape;
    if (own.length !== 1 || own[0] !== length) {
      throw new RangeError(
        `Cannot layerNorm: ${name} has shape ${formatShape(own)}, expected [${length}] to match ` +
          `the last axis of ${formatShape(shape)}`,
      );
    }
  }
}
