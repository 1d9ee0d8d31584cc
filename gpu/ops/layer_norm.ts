/**
 * Layer normalisation along the last axis, and its gradients. Time O(elements), scratch none; for the gradients
 * of weight and bias two floats a row and at most 2048 a column.
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
  inVectors,
  overRows,
  ROW_THREADS,
  type RowFunction,
  type RowText,
  type RowValues,
} from "./rows.ts";
import { levelsFor, sumLoop } from "./sums.ts";
import { LANES } from "./vectors.ts";

/**
 * Of a row of `a`: `scale`, a power of two that brings the largest magnitude to [0.5, 1), so that squares neither
 * overflow nor vanish; `mean_a`, the mean times that; and `rstd`, 1 / sqrt(variance + epsilon) over that.
 */
const statistics = ({ hold, sums, take, held }: RowText) => /* wgsl */ `
  let begin_a = at_a(row);
  ${hold("a")}
  // Times params.share, at most 1 / length, no sum of finite numbers overflows.
  var top = Chunk(0.0);
  ${
  sums(
    { total: "value * params.share" },
    `${take("a")} let value = ${held("a")}; top = max(top, abs(value));`,
  )
}
  let found = sum_and_max_over_workgroup(vec2f(sum_of(total), max_of(top)), thread);
  let exponent = min(bitcast<u32>(found.y) >> 23u, 252u);
  let scale = min(bitcast<f32>((253u - exponent) << 23u), params.most_scale);
  let first_mean = found.x / (f32(params.length) * params.share) * scale;

  // Deviations from the mean, not a difference of squares, which cancels. Their own mean is what rounding took from it.
  ${
  sums(
    { deviations: "deviation", squares: "deviation * deviation" },
    `let deviation = ${held("a")} * scale - first_mean;`,
  )
}
  let spread = sums_over_workgroup(vec2f(sum_of(squares), sum_of(deviations)), thread) /
    f32(params.length);
  let mean_a = first_mean + spread.y;
  // The root is scaled and then squared: compilers may square the scale alone, which overflows.
  let floor = params.root_epsilon * scale;
  let variance = max(spread.x - spread.y * spread.y, 0.0) + floor * floor;
  let rstd = 1.0 / sqrt(max(variance, LEAST_VARIANCE));
`;

/** Below the variance of all rows but constant ones, whose elements are all equal to the mean. */
const CONSTANTS = "const LEAST_VARIANCE = 7.888609e-31;\nconst SIXTEENTH = 0.0625;\n";

/** What {@linkcode statistics} needs to know. */
function valuesOf(length: number, epsilon: number): RowValues {
  // Beyond, epsilon outweighs the row, and would overflow.
  const most = 2 ** Math.max(-126, Math.min(126, Math.floor(30 - Math.log2(epsilon) / 2)));
  const share = 2 ** -Math.ceil(Math.log2(Math.max(1, length)));
  return {
    root_epsilon: ["f32", Math.sqrt(epsilon)],
    most_scale: ["f32", most],
    share: ["f32", share],
  };
}

const layerNormBody = (text: RowText) =>
  CONSTANTS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  let factors = at_weight(row);
  let summands = at_bias(row);
  ${statistics(text)}
  if (row >= params.rows) { return; }
  let target_position = at_out(row);
  ${
    text.each(`
    let normalized = (${text.held("a")} * scale - mean_a) * rstd;
    put(target_position, c, normalized * weight_chunk(factors, c) + bias_chunk(summands, c));`)
  }
}
`;

/** da = rstd (gw - mean(gw) - xhat mean(gw xhat)), where gw = g weight and xhat = (a - mean) rstd. */
const inputGradientBody = (text: RowText) =>
  CONSTANTS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  let begin_gradient = at_gradient(row);
  let factors = at_weight(row);
  ${statistics(text)}
  ${text.hold("gradient")}
  ${
    text.sums(
      { sums: "gw", slopes: `gw * ((${text.held("a")} * scale - mean_a) * rstd)` },
      `${text.take("gradient")} let gw = ${text.held("gradient")} * weight_chunk(factors, c);`,
    )
  }
  let means = sums_over_workgroup(vec2f(sum_of(sums), sum_of(slopes)), thread) /
    f32(params.length);

  if (row >= params.rows) { return; }
  let target_position = at_out(row);
  ${
    text.each(`
    let gw = ${text.held("gradient")} * weight_chunk(factors, c);
    let normalized = (${text.held("a")} * scale - mean_a) * rstd;
    put(target_position, c, rstd * (gw - means.x - normalized * means.y) * scale);`)
  }
}
`;

/**
 * Writes two numbers of each row: a sixteenth of the mean, and sixteen times 1 / the deviation. So deviations from the
 * mean do not overflow, nor are those of the largest rows subnormal, which drivers take for 0.
 */
const statisticsBody = (text: RowText) =>
  CONSTANTS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  ${statistics(text)}
  if (row >= params.rows || thread > 0u) { return; }
  let inverse = bitcast<f32>((254u << 23u) - bitcast<u32>(scale));
  out[at_out(row)] = bitcast<u32>(mean_a * (inverse * SIXTEENTH));
  out[at_out(row) + 1u] = bitcast<u32>(min(rstd * (scale / SIXTEENTH), -LOWEST));
}
`;

/**
 * Sums of g xhat and of g over a slice of the rows: a thread takes one chunk of columns, so that neighbours read
 * neighbours. The output is [slices, 2, columns].
 */
const columnSumsBody = ({ levels }: RowText) =>
  CONSTANTS + /* wgsl */ `
fn work(job: u32, thread: u32) {
  let blocks = (params.chunks + THREADS - 1u) / THREADS;
  let slice = job / blocks;
  let column = job % blocks * THREADS + thread;
  let begin = slice * params.slice;
  if (begin >= params.rows || column >= params.chunks) { return; }
  let end = min(begin + params.slice, params.rows);

  ${
    sumLoop({
      variable: "row",
      begin: "begin",
      end: "end",
      step: "1u",
      type: "Chunk",
      terms: { weight: "g * (deviation * rstd_chunk(at_rstd(row), column))", bias: "g" },
      body: `let g = gradient_chunk(at_gradient(row), column);
    let deviation = a_chunk(at_a(row), column) * SIXTEENTH - mean_chunk(at_mean(row), column);`,
      levels,
    })
  }
  put(slice * 2u * params.length, column, weight);
  put(slice * 2u * params.length + params.length, column, bias);
}
`;

/** Rows that a thread sums alone, and the most slices that all rows are cut into. */
const SLICE = 16;
const MAX_SLICES = 1024;

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
    body: layerNormBody,
    operands: { a, weight: weight ?? 1, bias: bias ?? 0 },
    values: valuesOf(a.layout.shape.at(-1)!, epsilon),
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
        body: inputGradientBody,
        operands: { gradient, a, weight: weight ?? 1 },
        values: valuesOf(a.layout.shape.at(-1)!, epsilon),
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
      body: statisticsBody,
      operands: { a },
      values: valuesOf(a.layout.shape.at(-1)!, epsilon),
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
      body: columnSumsBody,
      operands: { gradient, a, mean: mean!, rstd: rstd! },
      values: { slice: ["u32", slice] },
    };
    const bound = bindRows(runtime, fn, shape, axis);
    return produce(runtime, [slices, 2, columns], "f32", (out) => {
      const vectors = inVectors(bound);
      const chunks = vectors ? columns / LANES : columns;
      const workgroups = slices * ceilDiv(chunks, ROW_THREADS);
      const levels = levelsFor(slice);
      const plan = { threads: ROW_THREADS, vectors, held: 0, subgroup: 0, levels };
      dispatchRows(runtime, fn, bound, out, columns, workgroups, plan);
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
