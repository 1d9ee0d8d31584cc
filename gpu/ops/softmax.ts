/**
 * Softmax and log-sum-exp along one axis, and the gradient of softmax. Time O(elements), scratch none.
 */
import type { DeviceArray } from "../array.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { floatTypeOf, overRows, type RowText } from "./rows.ts";

/**
 * softmax(a)[i] = exp(a[i] - max) / sum, and 0 throughout a row that is -inf throughout: attention wants
 * that for rows without keys. LOWEST stands for the maximum of such a row.
 */
const exponentials = ({ hold, each, sums, take, held }: RowText) => /* wgsl */ `
fn work(row: u32, thread: u32) {
  let begin_a = at_a(row);
  ${hold("a")}
  var top = Chunk(LOWEST);
  ${each(`${take("a")} top = max(top, ${held("a")});`)}
  let highest = max_over_workgroup(max_of(top), thread);

  // inf - inf would be NaN, and some drivers have exp(NaN) = inf.
  ${
  sums(
    { part: "select(exp(below), below, are_nan(below))" },
    `let value = ${held("a")};
    let below = select(value - highest, Chunk(0.0), value == Chunk(highest));`,
  )
}
  let sum = sum_over_workgroup(sum_of(part), thread);

  if (row >= params.rows) { return; }
  let is_empty = sum == 0.0;
`;

const softmaxBody = (text: RowText) =>
  exponentials(text) + /* wgsl */ `
  let target_position = at_out(row);
  ${
    text.each(`
    let weight = exp(${text.held("a")} - highest) / sum;
    put(target_position, c, select(weight, Chunk(0.0), is_empty));`)
  }
}
`;

/** -inf is written by its bits: WGSL has no literal for it. */
const logSumExpBody = (text: RowText) =>
  exponentials(text) + /* wgsl */ `
  let bits = bitcast<u32>(highest + select(log(sum), sum, is_nan(sum)));
  if (thread == 0u) { out[at_out(row)] = select(bits, 0xff800000u, is_empty); }
}
`;

/** A weight of 0 counts for nothing, whatever the gradient is there: masks hide by it. */
const gradientBody = ({ hold, each, sums, take, held }: RowText) => /* wgsl */ `
fn work(row: u32, thread: u32) {
  let begin_gradient = at_gradient(row);
  let begin_y = at_y(row);
  ${hold("gradient")}
  ${hold("y")}
  ${
  sums(
    { part: `select(${held("gradient")} * weight, Chunk(0.0), weight == Chunk(0.0))` },
    `${take("gradient")} ${take("y")} let weight = ${held("y")};`,
  )
}
  let sum = sum_over_workgroup(sum_of(part), thread);

  if (row >= params.rows) { return; }
  let target_position = at_out(row);
  ${
  each(`
    let weight = ${held("y")};
    let value = weight * (${held("gradient")} - sum);
    put(target_position, c, select(value, Chunk(0.0), weight == Chunk(0.0)));`)
}
}
`;

/** Softmax along an axis, of floats; the result has their type. */
export function softmax(runtime: Runtime, a: DeviceArray, axis: number): DeviceArray {
  const dtype = floatTypeOf(a, "softmax");
  const fn = {
    label: "softmax",
    action: "softmax",
    body: softmaxBody,
    operands: { a },
  };
  const { shape } = a.layout;
  return overRows(runtime, fn, shape, axis, shape[axis]!, dtype);
}

/** Log of the sum of exponentials along an axis, which is kept at size 1; in the type of `a`. */
export function logSumExp(runtime: Runtime, a: DeviceArray, axis: number): DeviceArray {
  const dtype = floatTypeOf(a, "logSumExp");
  const fn = {
    label: "log_sum_exp",
    action: "logSumExp",
    body: logSumExpBody,
    operands: { a },
  };
  return overRows(runtime, fn, a.layout.shape, axis, 1, dtype);
}

/**
 * The gradient of softmax's operand: `y (g - sum(g y))` along the axis. Where y is 0 so is the result, and
 * a gradient there does not count, even if it is NaN or infinite.
 *
 * @param gradient The gradient `g` of the result.
 * @param y The result of {@linkcode softmax}, of the same shape.
 * @param axis The axis that softmax ran along.
 * @returns A dense array of the shape and type of `y`.
 */
export function softmaxGradient(
  runtime: Runtime,
  gradient: DeviceArray,
  y: DeviceArray,
  axis: number,
): DeviceArray {
  const action = "compute softmax's gradient";
  const dtype = floatTypeOf(y, action);
  const fn = {
    label: "softmax_gradient",
    action,
    body: gradientBody,
    operands: { gradient, y },
  };
  const { shape } = y.layout;
  return overRows(runtime, fn, shape, axis, shape[axis]!, dtype);
}
