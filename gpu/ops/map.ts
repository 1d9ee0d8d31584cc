/**
 * Elementwise kernels: out[i] = apply(a[i], b[i], ...) over operands that broadcast together. Each
 * thread computes one 32-bit word of the output, so that types of less than a word need no atomics.
 * Time and memory are O(elements).
 */
import { allocate, type DeviceArray } from "../array.ts";
import { elementsPerWord, encodingOf, type SupportedDType } from "../dtype.ts";
import { coalesce, expandLayout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { type ParamFields, paramStruct, type ParamType } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { broadcastShapes, ceilDiv, numel } from "../shape.ts";
import {
  declareOperand,
  declareWalk,
  IS_NAN,
  type OperandKind,
  operandKind,
  padAxes,
} from "./accessors.ts";

/** What a map computes at each element. */
export interface MapFunction {
  /** Name in errors and profiles. */
  readonly name: string;
  /** The type that every operand is converted to first. */
  readonly compute: SupportedDType;
  /** Element type of the result. */
  readonly output: SupportedDType;
  /** WGSL expression of `a`, `b`, `c`, the operands in order. */
  readonly expression: string;
  /** WGSL functions that the expression calls. */
  readonly helpers?: string;
}

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
  const out = allocate(runtime, shape, fn.output);
  mapInto(runtime, fn, operands, out);
  return out;
}

/** As {@linkcode map}, with all elements of a dense array of the common shape as the target. */
export function mapInto(
  runtime: Runtime,
  fn: MapFunction,
  operands: readonly MapOperand[],
  out: DeviceArray,
): void {
  const elements = numel(out.layout.shape);
  if (elements === 0) return;
  const layouts = operands.map((operand) =>
    typeof operand === "number" ? undefined : expandLayout(operand.layout, out.layout.shape)
  );
  const { shape, strides } = coalesce(
    layouts.map((layout) => layout?.strides ?? out.layout.strides),
    out.layout.shape,
  );
  const kinds = operands.map((operand, i) => {
    if (typeof operand === "number") return "scalar";
    return operandKind({ ...operand, layout: layouts[i]! });
  });
  const { kernel, params } = mapKernel(fn, kinds, shape.length);
  const words = ceilDiv(elements, elementsPerWord(fn.output));
  const values: Record<string, number | number[]> = { words, elements };
  operands.forEach((operand, i) => {
    if (typeof operand === "number") {
      values[`${NAMES[i]}_scalar`] = scalarBits(operand, fn.compute);
    } else {
      values[`${NAMES[i]}_offset`] = layouts[i]!.offset;
    }
  });
  values.shape = padAxes(shape, 1);
  operands.forEach((_, i) => values[`${NAMES[i]}_strides`] = padAxes(strides[i]!, 0));
  runtime.kernels.dispatch(kernel, {
    storages: [
      ...operands.filter((operand) => typeof operand !== "number"),
      out,
    ].map((array) => array.storage),
    params: params.pack(values),
    workgroups: ceilDiv(words, THREADS),
  });
}

/** Row-major copy of an array, or the array's own elements converted to another type. */
export function copy(runtime: Runtime, array: DeviceArray, dtype = array.dtype): DeviceArray {
  return map(runtime, castFunction(array.dtype, dtype), [array]);
}

/** Fills a new array with one number. */
export function fill(
  runtime: Runtime,
  shape: readonly number[],
  dtype: SupportedDType,
  value: number,
): DeviceArray {
  const out = allocate(runtime, shape, dtype);
  mapInto(runtime, { name: "fill", compute: dtype, output: dtype, expression: "a" }, [value], out);
  return out;
}

function castFunction(from: SupportedDType, to: SupportedDType): MapFunction {
  const expression = to === "bool" ? "select(1u, 0u, a == 0)" : `${encodingOf(to).wgsl}(a)`;
  return { name: from === to ? "copy" : `cast_${to}`, compute: from, output: to, expression };
}

function scalarBits(value: number, dtype: SupportedDType): number {
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

function mapKernel(
  fn: MapFunction,
  kinds: readonly (OperandKind | "scalar")[],
  rank: number,
): Built {
  const key = JSON.stringify([fn, kinds, rank]);
  let built = kernels.get(key);
  if (!built) kernels.set(key, built = buildMapKernel(fn, kinds, rank));
  return built;
}

function buildMapKernel(
  fn: MapFunction,
  kinds: readonly (OperandKind | "scalar")[],
  rank: number,
): Built {
  const fields: Record<string, ParamType> = { words: "u32", elements: "u32" };
  kinds.forEach((kind, i) => {
    fields[kind === "scalar" ? `${NAMES[i]}_scalar` : `${NAMES[i]}_offset`] = "u32";
  });
  fields.shape = "axes";
  kinds.forEach((_, i) => fields[`${NAMES[i]}_strides`] = "axes");
  const params = paramStruct(fields);

  const compute = encodingOf(fn.compute).wgsl;
  const { wgsl: result, pack } = encodingOf(fn.output);
  let binding = 0;
  const loads = kinds.map((kind, i) => {
    const name = NAMES[i]!;
    if (kind === "scalar") {
      return { declaration: "", value: `bitcast<${compute}>(params.${name}_scalar)` };
    }
    const walk = kind.dense ? "" : declareWalk(name, "shape", rank);
    return {
      declaration: declareOperand(name, binding++, kind.dtype) + walk,
      value: `${compute}(load_${name}(${kind.dense ? "index" : `at_${name}(index)`}))`,
    };
  });
  const source = [
    params.wgsl,
    `const THREADS = ${THREADS}u;\nconst ELEMENTS_PER_WORD = ${elementsPerWord(fn.output)}u;\n`,
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
