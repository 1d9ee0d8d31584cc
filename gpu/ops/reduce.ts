/**
 * Sums, means and extremes over any axes. One workgroup reduces one element of the output: its
 * threads stride over the inputs, then join by a tree in workgroup memory; where only a few inputs are
 * behind an output, one thread does it. Few outputs of many inputs are first cut into pieces, so that more than a few workgroups have work. The order of additions
 * depends only on the sizes, so results repeat bit by bit. Time O(inputs).
 */
import { type DeviceArray, produce, withLayout } from "../array.ts";
import { computeType, type DType, encodingOf, isHalf } from "../dtype.ts";
import { coalesce, contiguousLayout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, formatShape, numel } from "../shape.ts";
import { accessorHelpers, declareOperand, IS_NAN, padAxes, WALK } from "./accessors.ts";
import { assertOneBinding, bindArray } from "./bindings.ts";
import { fill, narrow } from "./map.ts";

/** The reductions by name. */
export type ReduceName = "sum" | "mean" | "max" | "min";

const THREADS = 128;
/** Inputs of an output up to which one thread is faster than a workgroup that joins what its threads have. */
const SHORT = 32;
/** Inputs per workgroup up to which one workgroup does an output alone. */
const PIECE = 16_384;

const PARAMS = paramStruct({
  outputs: "u32",
  /** Inputs behind one output, and how many of them one workgroup takes. */
  length: "u32",
  piece: "u32",
  pieces: "u32",
  offset: "u32",
  factor: "f32",
  kept_shape: "axes",
  kept_strides: "axes",
  reduced_shape: "axes",
  reduced_strides: "axes",
});

const BODY = /* wgsl */ `
var<workgroup> partial: array<Value, THREADS>;

fn reduced_at(index: u32) -> u32 {
  return walk(index, REDUCED_RANK, params.reduced_shape, params.reduced_strides);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let job = workgroup_index(group, groups);
  let output = job / params.pieces;
  let begin = (job % params.pieces) * params.piece;
  let end = min(begin + params.piece, params.length);
  let origin = params.offset + walk(output, KEPT_RANK, params.kept_shape, params.kept_strides);

  // Extremes start from an element, so that no finite bound takes the place of an infinity.
  var value = Value();
  if (IS_EXTREME) { value = Value(load_a(origin + reduced_at(begin))); }
  for (var i = begin + thread; i < end; i += THREADS) {
    value = join(value, Value(load_a(origin + reduced_at(i))));
  }
  partial[thread] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partial[thread] = join(partial[thread], partial[thread + half]); }
  }
  if (thread == 0u && job < params.outputs * params.pieces) { out[job] = finish(partial[0]); }
}
`;

/** The same by one thread, for short runs of inputs. */
const SHORT_BODY = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let output = workgroup_index(group, groups) * THREADS + thread;
  if (output >= params.outputs) { return; }
  let origin = params.offset + walk(output, KEPT_RANK, params.kept_shape, params.kept_strides);
  var value = Value();
  if (IS_EXTREME) { value = Value(load_a(origin)); }
  for (var i = 0u; i < params.length; i++) {
    let at = walk(i, REDUCED_RANK, params.reduced_shape, params.reduced_strides);
    value = join(value, Value(load_a(origin + at)));
  }
  out[output] = finish(value);
}
`;

/**
 * Reduces `axes`, which come in ascending order.
 *
 * @returns An array with the reduced axes kept at size 1.
 */
export function reduce(
  runtime: Runtime,
  name: ReduceName,
  a: DeviceArray,
  axes: readonly number[],
): DeviceArray {
  const { shape } = a.layout;
  const outShape = shape.map((size, axis) => axes.includes(axis) ? 1 : size);
  const length = numel(axes.map((axis) => shape[axis]!));
  const dtype = resultType(name, a.dtype);
  if (length === 0) return emptyReduction(runtime, name, shape, outShape, dtype);
  // Pieces of equal size, few enough that one workgroup can join their results.
  const piece = Math.max(PIECE, ceilDiv(length, PIECE));
  const pieces = ceilDiv(length, piece);
  const factor = 1 / length;
  // Halves are summed in f32, whatever the result.
  const summed = computeType(dtype);
  const outputs = numel(outShape);
  assertOneBinding(runtime, name, [outputs, pieces], summed);
  const first = { piece, pieces, factor: pieces === 1 ? factor : 1 };
  const partial = reducePieces(runtime, name, a, axes, summed, first);
  if (pieces === 1) return reshaped(runtime, partial, outShape, dtype);
  try {
    const last = { piece: pieces, pieces: 1, factor };
    const joined = reducePieces(runtime, name, partial, [1], summed, last);
    return reshaped(runtime, joined, outShape, dtype);
  } finally {
    partial.storage.release();
  }
}

function reshaped(
  runtime: Runtime,
  array: DeviceArray,
  shape: readonly number[],
  dtype: DType,
): DeviceArray {
  return withLayout(narrow(runtime, array, dtype), contiguousLayout(shape));
}

/** One pass, to an array of shape `[outputs, pieces]`. */
function reducePieces(
  runtime: Runtime,
  name: ReduceName,
  a: DeviceArray,
  axes: readonly number[],
  dtype: DType,
  { piece, pieces, factor }: { piece: number; pieces: number; factor: number },
): DeviceArray {
  const bound = bindArray(runtime, name, a);
  const { shape, strides, offset } = bound.layout;
  const keptAxes = shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const pick = (values: readonly number[], list: readonly number[]) => list.map((i) => values[i]!);
  const kept = coalesce([pick(strides, keptAxes)], pick(shape, keptAxes));
  const reduced = coalesce([pick(strides, axes)], pick(shape, axes));
  const outputs = numel(kept.shape);
  const length = numel(reduced.shape);
  const isShort = pieces === 1 && length <= SHORT;
  const ranks = [kept.shape.length, reduced.shape.length] as const;
  const kernel = reduceKernel(name, a.dtype, dtype, ranks, isShort);
  return produce(runtime, [outputs, pieces], dtype, (out) =>
    runtime.kernels.dispatch(kernel, {
      storages: [bound.binding, out.storage],
      params: PARAMS.pack({
        outputs,
        length,
        piece,
        pieces,
        offset,
        factor,
        kept_shape: padAxes(kept.shape, 1),
        kept_strides: padAxes(kept.strides[0]!, 0),
        reduced_shape: padAxes(reduced.shape, 1),
        reduced_strides: padAxes(reduced.strides[0]!, 0),
      }),
      workgroups: isShort ? ceilDiv(outputs, THREADS) : outputs * pieces,
    }));
}

function resultType(name: ReduceName, dtype: DType): DType {
  if (name === "mean") return isHalf(dtype) ? dtype : "f32";
  if (dtype !== "bool") return dtype;
  if (name === "sum") return "i32";
  throw new TypeError(`Cannot compute ${name}: dtype is bool, convert with .to("i32")`);
}

function emptyReduction(
  runtime: Runtime,
  name: ReduceName,
  shape: readonly number[],
  outShape: readonly number[],
  dtype: DType,
): DeviceArray {
  if (name === "max" || name === "min") {
    throw new RangeError(`Cannot compute ${name} of no elements: shape is ${formatShape(shape)}`);
  }
  return fill(runtime, outShape, dtype, name === "mean" ? NaN : 0);
}

const kernels = new Map<string, Kernel>();

function reduceKernel(
  name: ReduceName,
  input: DType,
  output: DType,
  ranks: Ranks,
  isShort: boolean,
): Kernel {
  const key = [name, input, output, ranks, isShort].join();
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, kernel = buildKernel(name, input, output, ranks, isShort));
  return kernel;
}

/** Numbers of axes that are kept and reduced, once neighbours are joined. */
type Ranks = readonly [kept: number, reduced: number];

function buildKernel(
  name: ReduceName,
  input: DType,
  output: DType,
  [keptRank, reducedRank]: Ranks,
  isShort: boolean,
): Kernel {
  const type = encodingOf(output).wgsl;
  const isExtreme = name === "max" || name === "min";
  let join = isExtreme ? `${name}(a, b)` : "a + b";
  if (isExtreme && type === "f32") join = `select(${join}, a + b, is_nan(a) || is_nan(b))`;
  const source = /* wgsl */ `${PARAMS.wgsl}
const THREADS = ${THREADS}u;
const KEPT_RANK = ${keptRank}u;
const REDUCED_RANK = ${reducedRank}u;
const IS_EXTREME = ${isExtreme};
alias Value = ${type};
${IS_NAN}${accessorHelpers([input])}
fn join(a: Value, b: Value) -> Value { return ${join}; }
fn finish(a: Value) -> Value { return ${name === "mean" ? "a * params.factor" : "a"}; }
${declareOperand("a", 0, input)}
@group(0) @binding(1) var<storage, read_write> out: array<Value>;
${WALK}${WORKGROUP_INDEX}${isShort ? SHORT_BODY : BODY}`;
  return { label: name, source, bindings: ["read", "write"] };
}
