/**
 * Kernels that work on rows: softmax and log-sum-exp along one axis, layer normalisation along the
 * last. One workgroup takes one row, in three passes over it: a first statistic, a second that needs
 * the first, then the result. Time O(elements), scratch none.
 */
import { type DeviceArray, produce } from "../array.ts";
import { type DType, isFloat } from "../dtype.ts";
import { coalesce, type Layout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatShape, numel } from "../shape.ts";
import { accessorHelpers, declareOperand, declareWalk, IS_NAN, padAxes } from "./accessors.ts";
import { assertOneBinding, bindArray } from "./bindings.ts";
import { narrow } from "./map.ts";

const THREADS = 64;

const PARAMS = paramStruct({
  rows: "u32",
  length: "u32",
  a_offset: "u32",
  a_step: "u32",
  out_offset: "u32",
  out_step: "u32",
  weight_offset: "u32",
  weight_step: "u32",
  bias_offset: "u32",
  bias_step: "u32",
  epsilon: "f32",
  row_shape: "axes",
  a_strides: "axes",
  out_strides: "axes",
});

/** The parts that all row kernels share: who works on what, and joining a value over the workgroup. */
const COMMON = /* wgsl */ `
const THREADS = ${THREADS}u;
const LOWEST = -3.4028234663852886e38;
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

/**
 * softmax(a)[i] = exp(a[i] - max) / sum, and 0 throughout a row that is -inf throughout: attention wants
 * that for rows without keys. LOWEST stands for the maximum of such a row.
 */
const SOFTMAX = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = workgroup_index(group, groups);
  let source = at_a(row);
  let target_position = at_out(row);

  var highest = LOWEST;
  for (var i = thread; i < params.length; i += THREADS) {
    highest = max(highest, load_a(source + i * params.a_step));
  }
  highest = max_over_workgroup(highest, thread);

  var sum = 0.0;
  for (var i = thread; i < params.length; i += THREADS) {
    let value = load_a(source + i * params.a_step);
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
    let weight = exp(load_a(source + i * params.a_step) - highest) / sum;
    out[target_position + i * params.out_step] = bitcast<u32>(select(weight, 0.0, is_empty));
  }
}
`;

const LAYER_NORM = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let row = workgroup_index(group, groups);
  let source = at_a(row);
  let target_position = at_out(row);

  var sum = 0.0;
  for (var i = thread; i < params.length; i += THREADS) { sum += load_a(source + i * params.a_step); }
  let mean = sum_over_workgroup(sum, thread) / f32(params.length);

  // Deviations from the mean, not a difference of squares, which cancels.
  var squares = 0.0;
  for (var i = thread; i < params.length; i += THREADS) {
    let deviation = load_a(source + i * params.a_step) - mean;
    squares += deviation * deviation;
  }
  let variance = sum_over_workgroup(squares, thread) / f32(params.length);
  let rstd = 1.0 / sqrt(variance + params.epsilon);

  if (row >= params.rows) { return; }
  for (var i = thread; i < params.length; i += THREADS) {
    let normalized = (load_a(source + i * params.a_step) - mean) * rstd;
    out[target_position + i * params.out_step] = bitcast<u32>(normalized * weight_at(i) + bias_at(i));
  }
}
`;

/** Softmax along an axis, of floats; the result has their type. */
export function softmax(runtime: Runtime, a: DeviceArray, axis: number): DeviceArray {
  assertFloat(a, "softmax");
  return overRows(
    runtime,
    "softmax",
    a,
    a.layout.shape,
    axis,
    (rank) => softmaxKernel(a.dtype, rank, false),
  );
}

/** Log of the sum of exponentials along an axis, which is kept at size 1; in the type of `a`. */
export function logSumExp(runtime: Runtime, a: DeviceArray, axis: number): DeviceArray {
  assertFloat(a, "logSumExp");
  return overRows(
    runtime,
    "logSumExp",
    a,
    a.layout.shape.with(axis, 1),
    axis,
    (rank) => softmaxKernel(a.dtype, rank, true),
  );
}

/** `(a - mean) / sqrt(variance + epsilon) * weight + bias` along the last axis, in the type of `a`. */
export function layerNorm(
  runtime: Runtime,
  a: DeviceArray,
  weight: DeviceArray | undefined,
  bias: DeviceArray | undefined,
  epsilon: number,
): DeviceArray {
  assertFloat(a, "layerNorm");
  const axis = a.layout.shape.length - 1;
  if (axis < 0) throw new RangeError("Cannot layerNorm: a scalar has no axis to normalise");
  const length = a.layout.shape[axis]!;
  for (const [name, affine] of [["weight", weight], ["bias", bias]] as const) {
    if (!affine) continue;
    assertFloat(affine, `layerNorm with this ${name}`);
    if (affine.layout.shape.length !== 1 || affine.layout.shape[0] !== length) {
      throw new RangeError(
        `Cannot layerNorm: ${name} has shape ${
          formatShape(affine.layout.shape)
        }, expected [${length}]` +
          ` to match the last axis of ${formatShape(a.layout.shape)}`,
      );
    }
  }
  return overRows(
    runtime,
    "layerNorm",
    a,
    a.layout.shape,
    axis,
    (rank) => layerNormKernel(a.dtype, weight?.dtype, bias?.dtype, rank),
    { weight, bias },
    epsilon,
  );
}

/** The vectors of a layer normalisation. */
interface Affine {
  readonly weight?: DeviceArray | undefined;
  readonly bias?: DeviceArray | undefined;
}

function rowAxes(a: Layout, axis: number, out: Layout) {
  const without = (values: readonly number[]) => values.toSpliced(axis, 1);
  return coalesce([without(a.strides), without(out.strides)], without(a.shape));
}

/** Runs a kernel over the rows along an axis; it writes f32, which then becomes the type of `a`. */
function overRows(
  runtime: Runtime,
  action: string,
  a: DeviceArray,
  outShape: readonly number[],
  axis: number,
  kernelOf: (rank: number) => Kernel,
  affine: Affine = {},
  epsilon = 0,
): DeviceArray {
  assertOneBinding(runtime, action, outShape, "f32");
  const inputs = [a, affine.weight, affine.bias].map((array) =>
    array && bindArray(runtime, action, array)
  );
  const out = produce(runtime, outShape, "f32", (out) => {
    if (numel(outShape) === 0) return;
    const source = inputs[0]!;
    const { shape, strides } = rowAxes(source.layout, axis, out.layout);
    const rows = numel(shape);
    const [weight, bias] = inputs.slice(1).map((vector) => vector?.layout);
    runtime.kernels.dispatch(kernelOf(shape.length), {
      storages: [
        ...inputs.filter((input) => input !== undefined).map(({ binding }) => binding),
        out.storage,
      ],
      params: PARAMS.pack({
        rows,
        length: source.layout.shape[axis]!,
        a_offset: source.layout.offset,
        a_step: source.layout.strides[axis]!,
        out_offset: 0,
        out_step: out.layout.strides[axis]!,
        weight_offset: weight?.offset ?? 0,
        weight_step: weight?.strides[0] ?? 0,
        bias_offset: bias?.offset ?? 0,
        bias_step: bias?.strides[0] ?? 0,
        epsilon,
        row_shape: padAxes(shape, 1),
        a_strides: padAxes(strides[0]!, 0),
        out_strides: padAxes(strides[1]!, 0),
      }),
      workgroups: rows,
    });
  });
  return narrow(runtime, out, a.dtype);
}

function assertFloat({ dtype }: DeviceArray, action: string): void {
  if (!isFloat(dtype)) {
    throw new TypeError(
      `Cannot ${action}: dtype is ${dtype}, expected f32, f16 or bf16, convert with .to("f32")`,
    );
  }
}

const kernels = new Map<string, Kernel>();

function memoize(key: string, build: () => Kernel): Kernel {
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, kernel = build());
  return kernel;
}

function declareOutput(binding: number): string {
  return `@group(0) @binding(${binding}) var<storage, read_write> out: array<u32>;\n`;
}

function softmaxKernel(dtype: DType, rank: number, logSumExp: boolean): Kernel {
  return memoize(`softmax ${dtype} ${rank} ${logSumExp}`, () => ({
    label: logSumExp ? "log_sum_exp" : "softmax",
    bindings: ["read", "write"],
    source: [
      PARAMS.wgsl,
      `const LOG_SUM_EXP = ${logSumExp};\n`,
      accessorHelpers([dtype]),
      declareOperand("a", 0, dtype),
      declareWalk("a", "row_shape", rank),
      declareWalk("out", "row_shape", rank),
      declareOutput(1),
      COMMON,
      IS_NAN,
      WORKGROUP_INDEX,
      SOFTMAX,
    ].join(""),
  }));
}

/** `weight` and `bias` are the types of these vectors where there are any. */
function layerNormKernel(
  dtype: DType,
  weight: DType | undefined,
  bias: DType | undefined,
  rank: number,
): Kernel {
  return memoize(`layer_norm ${dtype} ${weight} ${bias} ${rank}`, () => {
    let binding = 1;
    const vector = (name: string, type: DType | undefined, absent: string) => {
      const value = `load_${name}(params.${name}_offset + i * params.${name}_step)`;
      const declaration = type ? declareOperand(name, binding++, type) : "";
      return `${declaration}fn ${name}_at(i: u32) -> f32 { return ${type ? value : absent}; }\n`;
    };
    const source = [
      PARAMS.wgsl,
      accessorHelpers([dtype, weight, bias].filter((type) => type !== undefined)),
      declareOperand("a", 0, dtype),
      declareWalk("a", "row_shape", rank),
      declareWalk("out", "row_shape", rank),
      vector("weight", weight, "1.0"),
      vector("bias", bias, "0.0"),
      declareOutput(binding),
      COMMON,
      WORKGROUP_INDEX,
      LAYER_NORM,
    ].join("");
    const bindings = [...new Array<"read">(binding).fill("read"), "write" as const];
    return { label: "layer_norm", source, bindings };
  });
}
