/**
 * Elementwise kernels: out[i] = apply(a[i], b[i], ...) over operands that broadcast together. Each
 * thread computes one 32-bit word of the output, so that types of less than a word need no atomics.
 * Time and memory are O(elements).
 */
import { type DeviceArray, isDense, produce, withLayout } from "../array.ts";
import {
  computeType,
  type DType,
  elementsPerWord,
  encodingOf,
  roundedTo,
  wordType,
} from "../dtype.ts";
import { coalesce, expandLayout, type Layout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { type ParamFields, paramStruct, type ParamType } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { broadcastShapes, ceilDiv, numel } from "../shape.ts";
import {
  accessorHelpers,
  declareOperand,
  declareWalk,
  IS_NAN,
  type OperandKind,
  operandKind,
  padAxes,
} from "./accessors.ts";
import { type BoundArray, inShares, type Share } from "./bindings.ts";
import { gather } from "./gather.ts";

/** What a map computes at each element. */
export interface MapFunction {
  /** Name in errors and profiles. */
  readonly name: string;
  /** The type that every operand is converted to first. */
  readonly compute: ComputeDType;
  /** Element type of the result. */
  readonly output: DType;
  /** WGSL expression of `a`, `b`, `c`, the operands in order. */
  readonly expression: string;
  /** WGSL functions that the expression calls. */
  readonly helpers?: string;
}

type ComputeDType = ReturnType<typeof computeType>;

/** An operand: an array, or one number for all elements. */
export type MapOperand = DeviceArray | number;

const THREADS = 128;
const NAMES = ["a", "b", "c"] as const;

const BODY = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let word = workgroup_index(group, groups) * THREADS + thread;
  if (word >= params.words) { return; }
  var packed = 0u;
  for (var e = 0u; e < ELEMENTS_PER_WORD; e++) {
    let index = word * ELEMENTS_PER_WORD + e;
    if (index < params.elements) { packed |= pack(element(index), e); }
  }
  out[word] = packed;
}
`;

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
    dispatchShare(runtime, fn, inputs, share, out.layout);
  });
}

function dispatchShare(
  runtime: Runtime,
  fn: MapFunction,
  inputs: readonly (BoundArray | number)[],
  share: Share,
  outLayout: Layout,
): void {
  const { shape, strides } = coalesce(
    inputs.map((input) => typeof input === "number" ? outLayout.strides : input.layout.strides),
    outLayout.shape,
  );
  const kinds = inputs.map((input) => typeof input === "number" ? "scalar" : operandKind(input));
  const { kernel, params } = mapKernel(fn, kinds, shape.length, share.start > 0);
  const words = ceilDiv(share.count, elementsPerWord(fn.output));
  const values: Record<string, number | number[]> = { words, elements: share.count };
  if (share.start > 0) values.start = share.start;
  inputs.forEach((input, i) => {
    if (typeof input === "number") {
      values[`${NAMES[i]}_scalar`] = scalarBits(input, fn.compute);
    } else {
      values[`${NAMES[i]}_offset`] = input.layout.offset;
    }
  });
  values.shape = padAxes(shape, 1);
  inputs.forEach((_, i) => values[`${NAMES[i]}_strides`] = padAxes(strides[i]!, 0));
  runtime.kernels.dispatch(kernel, {
    storages: [...share.arrays.map(({ binding }) => binding), share.out],
    params: params.pack(values),
    workgroups: ceilDiv(words, THREADS),
  });
}

/** Row-major copy of an array, or the array's own elements converted to another type. */
export function copy(runtime: Runtime, array: DeviceArray, dtype = array.dtype): DeviceArray {
  const { maxStorageBufferBindingSize: limit } = runtime.info.limits;
  // Whose elements may lie anywhere is gathered straight to its place, without scratch memory.
  const isGathered = array.storage.buffer.size > limit && !isDense(array) &&
    dtype === array.dtype && wordType(dtype) === dtype;
  if (isGathered) return gather(runtime, array);
  return map(runtime, castFunction(array.dtype, dtype), [array]);
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

function castFunction(from: DType, to: DType): MapFunction {
  const expression = to === "bool" ? "select(1u, 0u, a == 0)" : `${encodingOf(to).wgsl}(a)`;
  const name = from === to ? "copy" : `cast_${to}`;
  return { name, compute: computeType(from), output: to, expression };
}

function scalarBits(value: number, dtype: ComputeDType): number {
  switch (dtype) {
    case "f32":
      return new Uint32Array(new Float32Array([value]).buffer)[0]!;
    case "bool":
      return value !== 0 ? 1 : 0;
    default:
      return value >>> 0;
  }
}

type Built = { kernel: Kernel; params: ReturnType<typeof paramStruct<ParamFields>> };
const kernels = new Map<string, Built>();

/** @param isLater Whether the kernel is for a share that does not begin with the first element. */
function mapKernel(
  fn: MapFunction,
  kinds: readonly (OperandKind | "scalar")[],
  rank: number,
  isLater: boolean,
): Built {
  const key = JSON.stringify([fn, kinds, rank, isLater]);
  let built = kernels.get(key);
  if (!built) kernels.set(key, built = buildMapKernel(fn, kinds, rank, isLater));
  return built;
}

function buildMapKernel(
  fn: MapFunction,
  kinds: readonly (OperandKind | "scalar")[],
  rank: number,
  isLater: boolean,
): Built {
  const fields: Record<string, ParamType> = { words: "u32", elements: "u32" };
  if (isLater) fields.start = "u32";
  kinds.forEach((kind, i) => {
    fields[kind === "scalar" ? `${NAMES[i]}_scalar` : `${NAMES[i]}_offset`] = "u32";
  });
  fields.shape = "axes";
  kinds.forEach((_, i) => fields[`${NAMES[i]}_strides`] = "axes");
  const params = paramStruct(fields);

  const compute = encodingOf(fn.compute).wgsl;
  const { wgsl: result, pack } = encodingOf(fn.output);
  const index = isLater ? "params.start + index" : "index";
  let binding = 0;
  const loads = kinds.map((kind, i) => {
    const name = NAMES[i]!;
    if (kind === "scalar") {
      return { declaration: "", value: `bitcast<${compute}>(params.${name}_scalar)` };
    }
    const walk = kind.dense ? "" : declareWalk(name, "shape", rank);
    return {
      declaration: declareOperand(name, binding++, kind.dtype) + walk,
      value: `${compute}(load_${name}(${kind.dense ? "index" : `at_${name}(${index})`}))`,
    };
  });
  const source = [
    params.wgsl,
    `const THREADS = ${THREADS}u;\nconst ELEMENTS_PER_WORD = ${elementsPerWord(fn.output)}u;\n`,
    accessorHelpers([...kinds.flatMap((kind) => kind === "scalar" ? [] : kind.dtype), fn.output]),
    ...loads.map(({ declaration }) => declaration),
    `@group(0) @binding(${binding}) var<storage, read_write> out: array<u32>;\n`,
    `fn pack(v: ${result}, e: u32) -> u32 { return ${pack}; }\n`,
    fn.helpers ?? "",
    `fn element(index: u32) -> ${result} {\n`,
    ...loads.map(({ value }, i) => `  let ${NAMES[i]} = ${value};\n`),
    `  return ${fn.expression};\n}\n`,
    IS_NAN,
    WORKGROUP_INDEX,
    BODY,
  ].join("");
  const bindings = [
    ...kinds.filter((kind) => kind !== "scalar").map(() => "read" as const),
    "write",
  ];
  return { kernel: { label: fn.name, source, bindings: bindings as Kernel["bindings"] }, params };
}
