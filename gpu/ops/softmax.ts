/**
 * Softmax and log-sum-exp along one axis, and the gradient of softmax. One workgroup takes one row, in up
 * to three passes over it. Time O(elements), scratch none.
 */
import type { DeviceArray } from "../array.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { floatTypeOf, overRows } from "./rows.ts";

/**
 * softmax(a)[i] = exp(a[i] - max) / sum, and 0 throughout a row that is -inf throughout: attention wants
 * that for rows without keys. LOWEST stands for the maximum of such a row.
 */
const SOFTMAX = /* wgsl */ `
fn work(row: u32, thread: u32) {
  let a = at_a(row);
  let target_position = at_out(row);

  var highest = LOWEST;
  for (var i = thread; i < params.length; i += THREADS) { highest = max(highest, a_at(a, i)); }
  highest = max_over_workgroup(highest, thread);

  var sum = 0.0;
  for (var i = thread; i < params.length; i += THREADS) {
    let value = a_at(a, i);
    let below = select(value - highest, 0.0, value == highest); // inf - inf would be NaN.
    sum += select(exp(below), below, is_nan(below)); // Some drivers have exp(NaN) = inf.
  }
  sum = sum_over_workgroup(sum, thread);

  if (row >= params.rows) { return; }
  let is_empty = sum == 0.0;
  if (LOG_SUM_EXP) {
    // -inf is written by its bits: WGSL has no literal for it.
    let bits = bitcast<u32>(highest + select(log(sum), sum, is_nan(sum)));
    if (thread == 0u) { out[target_position] = select(bits, 0xff800000u, is_empty); }
    return;
  }
  for (var i = thread; i < params.length; i += THREADS) {
    let weight = exp(a_at(a, i) - highest) / sum;
    out[target_position + i * params.out_step] = bitcast<u32>(select(weight, 0.0, is_empty));
  }
}
`;

/** A weight of 0 counts for nothing, whatever the gradient is there: masks hide by it. */
const SOFTMAX_GRADIENT = /* wgsl */ `
fn work(row: u32, thread: u32) {
  let gradient = at_gradient(row);
  let y = at_y(row);

  var sum = 0.0;
  for (var i = thread; i < params.length; i += THREADS) {
    let weight = y_at(y, i);
    sum += select(gradient_at(gradient, i) * weight, 0.0, weight == 0.0);
  }
  sum = sum_over_workgroup(sum, thread);

  if (row >= params.rows) { return; }
  for (var i = thread; i < params.length; i += THREADS) {
    let weight = y_at(y, i);
    let value = weight * (gradient_at(gradient, i) - sum);
    out[at_out(row) + i * params.out_step] = bitcast<u32>(select(value, 0.0, weight == 0.0));
  }
}
`;

/** Softmax along an axis, of floats; the result has their type. */
export function softmax(runtime: Runtime, a: DeviceArray, axis: number): DeviceArray {
  const dtype = floatTypeOf(a, "softmax");
  const fn = {
    label: "softmax",
    action: "softmax",
    body: "const LOG_SUM_EXP = false;\n" + SOFTMAX,
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
    body: "const LOG_SUM_EXP = true;\n" + SOFTMAX,
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
    body: SOFTMAX_GRADIENT,
    operands: { gradient, y },
  };
  const { shape } = y.layout;
  return overRows(runtime, fn, shape, axis, shape[axis]!, dtype);
}
