/**
 * Elementwise functions: out[i] = apply(a[i], b[i], ...) over operands that broadcast together. Time and
 * memory are O(elements).
 */
import { type DeviceArray, isDense, produce, withLayout } from "../array.ts";
import { computeType, type DType, encodingOf, isFloat, roundedTo, wordType } from "../dtype.ts";
import { coalesce, expandLayout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { broadcastShapes, ceilDiv, numel } from "../shape.ts";
import { padAxes } from "./accessors.ts";
import { type BoundArray, inShares, type Share } from "./bindings.ts";
import { gather } from "./gather.ts";
import {
  GROUP_ELEMENTS,
  type MapFunction,
  mapKernel,
  type MapOperandKind,
  modeOf,
  OPERAND_NAMES,
} from "./map_kernel.ts";
import { transposedCopy } from "./transpose.ts";
import { LANES } from "./vectors.ts";

export type { MapFunction };

/** An operand: an array, or one number for all elements. */
export type MapOperand = DeviceArray | number;

/** Computes `fn` at each element of the operands' common shape. */
export function map(
  runtime: Runtime,
  fn: MapFunction,
  operands: readonly MapOperand[],
): DeviceArray {
  const arrays = operands.filter((operand) => typeof operand !== "number");
  const shape = arrays.reduce<number[]>(
    (sofar, { layout }) => broadcastShapes(sofar, layout.shape, fn.name),
    [],
  );
  return produce(runtime, shape, fn.output, (out) => mapInto(runtime, fn, operands, out));
}

/** Computes `fn` at each element of a dense array, to whose shape the operands expand. */
function mapInto(
  runtime: Runtime,
  fn: MapFunction,
  operands: readonly MapOperand[],
  out: DeviceArray,
): void {
  const { shape } = out.layout;
  if (numel(shape) === 0) return;
  const arrays = operands.filter((operand) => typeof operand !== "number")
    .map((array) => withLayout(array, expandLayout(array.layout, shape)));
  inShares(runtime, arrays, out, (share) => {
    const rest = share.arrays.values();
    const inputs = operands.map((operand) =>
      typeof operand === "number" ? operand : rest.next().value!
    );
    dispatchShare(runtime, fn, inputs, share, shape);
  });
}

function dispatchShare(
  runtime: Runtime,
  fn: MapFunction,
  inputs: readonly (BoundArray | number)[],
  share: Share,
  outShape: readonly number[],
): void {
  const isWalked = (input: BoundArray | number): input is BoundArray =>
    typeof input !== "number" && !input.dense;
  const walked = inputs.filter(isWalked);
  const { shape, strides } = coalesce(walked.map(({ layout }) => layout.strides), outShape);
  const units = ceilDiv(share.count, LANES);
  const values: Record<string, number | number[]> = {
    units,
    elements: share.count,
    start: share.start,
  };
  if (walked.length > 0) values.shape = padAxes(shape, 1);
  const kinds = inputs.map((input, i): MapOperandKind => {
    const name = OPERAND_NAMES[i]!;
    if (typeof input === "number") {
      values[`${name}_scalar`] = scalarBits(input, fn.compute);
      return { mode: "scalar" };
    }
    const { dtype, layout: { offset } } = input;
    if (input.dense) return { dtype, mode: "dense" };
    const own = strides[walked.indexOf(input)]!;
    values[`${name}_offset`] = offset;
    values[`${name}_step`] = own.at(-1)!;
    values[`${name}_strides`] = padAxes(own, 0);
    return { dtype, mode: modeOf(shape, own, offset) };
  });
  const rank = walked.length > 0 ? shape.length : 0;
  const { kernel, params } = mapKernel(fn, kinds, rank, share.start > 0);
  runtime.kernels.dispatch(kernel, {
    storages: [...share.arrays.map(({ binding }) => binding), share.out],
    params: params.pack(values),
    workgroups: ceilDiv(share.count, GROUP_ELEMENTS),
  });
}

/** Row-major copy of an array, or the array's own elements converted to another type. */
export function copy(runtime: Runtime, array: DeviceArray, dtype = array.dtype): DeviceArray {
  const { maxStorageBufferBindingSize: limit } = runtime.info.limits;
  // Whose elements may lie anywhere is gathered straight to its place, without scratch memory.
  const isGathered = array.storage.buffer.size > limit && !isDense(array) &&
    dtype === array.dtype && wordType(dtype) === dtype;
  if (isGathered) return gather(runtime, array);
  const transposed = dtype === array.dtype ? transposedCopy(runtime, array) : undefined;
  return transposed ?? map(runtime, castFunction(array.dtype, dtype), [array]);
}

/** An array as another type: itself, or a copy that takes the place of the array, which is released. */
export function narrow(runtime: Runtime, array: DeviceArray, dtype: DType): DeviceArray {
  if (array.dtype === dtype) return array;
  try {
    return copy(runtime, array, dtype);
  } finally {
    array.storage.release();
  }
}

/** Fills a new array with one number. */
export function fill(
  runtime: Runtime,
  shape: readonly number[],
  dtype: DType,
  value: number,
): DeviceArray {
  const fn = { name: "fill", compute: computeType(dtype), output: dtype, expression: "a" };
  const rounded = roundedTo(dtype, value);
  return produce(runtime, shape, dtype, (out) => mapInto(runtime, fn, [rounded], out));
}

/** Whether a float is not 0, by its bits: drivers take subnormal numbers for 0. */
const FLOAT_TO_BOOL = "select(1u, 0u, (bitcast<u32>(a) << 1u) == 0u)";

function castFunction(from: DType, to: DType): MapFunction {
  const toBool = isFloat(from) ? FLOAT_TO_BOOL : "select(1u, 0u, a == 0)";
  const expression = to === "bool" ? toBool : `${encodingOf(to).wgsl}(a)`;
  const name = from === to ? "copy" : `cast_${to}`;
  return { name, compute: computeType(from), output: to, expression };
}

function scalarBits(value: number, dtype: MapFunction["compute"]): number {
  switch (dtype) {
    case "f32":
      return new Uint32Array(new Float32Array([value]).buffer)[0]!;
    case "bool":
      return value !== 0 ? 1 : 0;
    default:
      return value >>> 0;
  }
}
