/**
 * Cross entropy between rows of logits and class indices, and its gradient, in PyTorch's meaning. One
 * workgroup takes one row; the probabilities exist only within it. Time O(elements), scratch none.
 */
import { type DeviceArray, withLayout } from "../array.ts";
import { contiguousLayout, unsqueezeLayout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatShape } from "../shape.ts";
import { floatTypeOf, overRows, type RowFunction, type RowValues } from "./rows.ts";
import { levelsFor, sumLoop } from "./sums.ts";

/** What a cross entropy depends on besides its operands. */
export interface CrossEntropyOptions {
  /** What part of the target's probability goes to all classes alike, from 0 to 1. */
  readonly labelSmoothing: number;
  /** Rows with this target do not count. */
  readonly ignoreIndex: number;
}

/**
 * `exponentials(begin, thread)`: the maximum of a row, the sum of exp(logit - maximum), and the sum of
 * logit - maximum. A row that is -inf throughout has a sum of 0, and no distribution.
 */
const EXPONENTIALS = /* wgsl */ `
struct Exponentials { highest: f32, sum: f32, below: f32 }

fn exponentials(begin: u32, thread: u32) -> Exponentials {
  var highest = LOWEST;
  for (var i = thread; i < params.length; i += THREADS) {
    highest = max(highest, logits_at(begin, i));
  }
  highest = max_over_workgroup(highest, thread);

  // Some drivers have exp(NaN) = inf.
  ${
  sumLoop({
    variable: "i",
    begin: "thread",
    end: "params.length",
    step: "THREADS",
    type: "f32",
    terms: { total: "below", sum: "select(exp(below), below, is_nan(below))" },
    body: "let below = logits_at(begin, i) - highest;",
    levels: levelsFor(Infinity),
  })
}
  let joined = sums_over_workgroup(vec2f(sum, total), thread);
  return Exponentials(highest, joined.x, joined.y);
}

const NAN_BITS = 0x7fc00000u; // WGSL has no literal for NaN.
`;

/** -log p of the target, and with smoothing the mean of it over the classes. */
const LOSS = EXPONENTIALS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  let begin = at_logits(row);
  let label = targets_at(at_targets(row), 0u);
  let found = exponentials(begin, thread);
  if (row >= params.rows || thread > 0u) { return; }

  if (label == bitcast<i32>(params.ignored)) {
    out[at_out(row)] = 0u;
    return;
  }
  if (label < 0 || u32(label) >= params.length || found.sum == 0.0) {
    out[at_out(row)] = NAN_BITS;
    return;
  }
  let log_sum = select(log(found.sum), found.sum, is_nan(found.sum));
  var loss = log_sum - (logits_at(begin, u32(label)) - found.highest);
  // Without smoothing, classes of probability 0 do not count: 0 times infinity would be NaN.
  if (params.smoothing > 0.0) {
    let mean = log_sum - found.below / f32(params.length);
    loss = (1.0 - params.smoothing) * loss + params.smoothing * mean;
  }
  out[at_out(row)] = bitcast<u32>(loss);
}
`;

/** g (p - (1 - smoothing) [target] - smoothing / classes). */
const GRADIENT = EXPONENTIALS + /* wgsl */ `
fn work(row: u32, thread: u32) {
  let begin = at_logits(row);
  let label = targets_at(at_targets(row), 0u);
  let g = gradient_at(at_gradient(row), 0u);
  let found = exponentials(begin, thread);
  if (row >= params.rows) { return; }

  let is_ignored = label == bitcast<i32>(params.ignored);
  let is_wrong = label < 0 || u32(label) >= params.length || found.sum == 0.0;
  let share = params.smoothing / f32(params.length);
  for (var i = thread; i < params.length; i += THREADS) {
    let wanted = share + select(0.0, 1.0 - params.smoothing, i32(i) == label);
    let below = logits_at(begin, i) - found.highest;
    let probability = select(exp(below), below, is_nan(below)) / found.sum;
    var bits = bitcast<u32>(g * (probability - wanted));
    if (is_wrong) { bits = NAN_BITS; }
    if (is_ignored) { bits = 0u; }
    out[at_out(row) + i * params.out_step] = bits;
  }
}
`;

/**
 * The loss of each row: `(1 - e) (-log p[target]) + e / C sum(-log p)`, where p is the softmax of the row
 * and e the label smoothing. 0 where the target is `ignoreIndex`, NaN where it is out of range otherwise:
 * a kernel cannot throw.
 *
 * @param logits `[N, C]`, of a float type.
 * @param targets i32 `[N]`.
 * @returns f32 `[N]`, dense.
 */
export function crossEntropy(
  runtime: Runtime,
  logits: DeviceArray,
  targets: DeviceArray,
  options: CrossEntropyOptions,
): DeviceArray {
  const action = "compute a cross entropy";
  assertOperands(logits, targets, action);
  const fn: RowFunction = {
    label: "cross_entropy",
    action,
    body: LOSS,
    operands: { logits, targets: perRow(targets) },
    values: valuesOf(options),
  };
  const { shape } = logits.layout;
  const losses = overRows(runtime, fn, shape, 1, 1, "f32");
  return withLayout(losses, contiguousLayout([shape[0]!]));
}

/**
 * The gradient of {@linkcode crossEntropy}'s logits: each row times the gradient of its loss. 0 in rows that
 * are ignored, NaN in rows whose loss is NaN.
 *
 * @param gradient f32 `[N]`.
 * @param logits `[N, C]`, of a float type.
 * @param targets i32 `[N]`.
 * @param options As they were.
 * @returns A dense array of the shape and type of the logits.
 */
export function crossEntropyGradient(
  runtime: Runtime,
  gradient: DeviceArray,
  logits: DeviceArray,
  targets: DeviceArray,
  options: CrossEntropyOptions,
): DeviceArray {
  const action = "compute a cross entropy's gradient";
  const dtype = assertOperands(logits, targets, action);
  const fn: RowFunction = {
    label: "cross_entropy_gradient",
    action,
    body: GRADIENT,
    operands: { logits, targets: perRow(targets), gradient: perRow(gradient) },
    values: valuesOf(options),
  };
  const { shape } = logits.layout;
  return overRows(runtime, fn, shape, 1, shape[1]!, dtype);
}

/** One element a row, which all of the row sees. */
function perRow(list: DeviceArray): DeviceArray {
  return withLayout(list, unsqueezeLayout(list.layout, 1));
}

function valuesOf({ labelSmoothing, ignoreIndex }: CrossEntropyOptions): RowValues {
  return { smoothing: ["f32", labelSmoothing], ignored: ["u32", ignoreIndex >>> 0] };
}

/** Gives the type of the logits. */
function assertOperands(logits: DeviceArray, targets: DeviceArray, action: string) {
  const dtype = floatTypeOf(logits, action);
  const { shape } = logits.layout;
  if (shape.length !== 2) {
    throw new TypeError(
      `Cannot ${action}: logits have shape ${formatShape(shape)}, expected [N, C]; use .reshape()`,
    );
  }
  const list = targets.layout.shape;
  if (targets.dtype !== "i32" || list.length !== 1) {
    throw new TypeError(
      `Cannot ${action}: targets have dtype ${targets.dtype} and shape ${formatShape(list)}, ` +
        `expected i32 and one axis; use .to("i32") and .reshape([-1])`,
    );
  }
  if (list[0] !== shape[0]) {
    throw new RangeError(
      `Cannot ${action}: there are ${list[0]} targets for logits of shape ${formatShape(shape)}, ` +
        `expected ${shape[0]}`,
    );
  }
  return dtype;
}
