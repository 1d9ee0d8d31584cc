/**
 * What the steps of optimisers share: a kernel that changes a parameter in place by its gradient, and
 * arrays of state beside it. A thread takes four neighbouring elements.
 */
import { type DeviceArray, isDense } from "../array.ts";
import { type DType, isFloat } from "../dtype.ts";
import { coalesce } from "../layout.ts";
import { type Access, type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { type ParamFields, paramStruct, type ParamType } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, formatShape, numel, sameShape } from "../shape.ts";
import {
  accessorHelpers,
  declareOperand,
  declareWalk,
  type OperandKind,
  operandKind,
  padAxes,
} from "./accessors.ts";
import { inShares, type Share } from "./bindings.ts";
import { copy } from "./map.ts";
import { declareVectorOutput, declareVectors, LANES, readBack } from "./vectors.ts";

const THREADS = 128;

/** Elements behind the last are left as they are: the memory may be another's. */
const UPDATE_UNITS = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let unit = workgroup_index(group, groups) * THREADS + thread;
  if (unit * LANES >= params.elements) { return; }
  let old = vector_parameter(unit);
  write_parameter(unit, live(unit, updated(unit, old, gradient_of(unit)), old));
}
`;

/** `live(unit, value, old)`: the new values of elements of the array, the old ones of elements behind its last. */
const LIVE = /* wgsl */ `
fn live(unit: u32, value: vec4f, old: vec4f) -> vec4f {
  let index = vec4u(unit * LANES) + vec4u(0u, 1u, 2u, 3u);
  return select(old, value, index < vec4u(params.elements));
}
`;

/** What every step has: the parameter that changes, and its gradient. */
export interface StepArrays {
  /** f32, f16 or bf16, dense. */
  readonly parameter: DeviceArray;
  /** Any float type and any strides, of the parameter's shape. */
  readonly gradient: DeviceArray;
}

/** How a parameter changes. */
export interface Step {
  /** Name in profiles; one a body. */
  readonly label: string;
  /** f32 arrays that change with the parameter, by name. */
  readonly state: Readonly<Record<string, DeviceArray>>;
  /** Numbers: name, type and value. */
  readonly values: Readonly<Record<string, readonly ["u32" | "f32", number]>>;
  /**
   * WGSL of `fn updated(unit: u32, p: vec4f, gradient: vec4f) -> vec4f`, for elements 4 unit to 4 unit + 3. It
   * sees those of a state x as `x[unit]`, and changes them by `keep_x(unit, value)`.
   */
  readonly body: string;
}

/**
 * Changes a parameter and the state beside it, by one kernel.
 *
 * @throws {TypeError} For types other than those that {@linkcode StepArrays} and {@linkcode Step} name.
 * @throws {RangeError} For arrays that are not dense or of another shape than the parameter's.
 */
export function step(runtime: Runtime, fn: Step, { parameter, gradient }: StepArrays): void {
  const action = "take a step";
  const state = Object.entries(fn.state);
  assertUpdatable(action, "the parameter", parameter);
  assertFloat(action, "the parameter", parameter.dtype);
  assertFloat(action, "the gradient", gradient.dtype);
  assertShapeOf(action, "the gradient", gradient, parameter);
  for (const [name, array] of state) {
    assertUpdatable(action, name, array);
    assertShapeOf(action, name, array, parameter);
    if (array.dtype !== "f32") {
      throw new TypeError(`Cannot ${action}: ${name} has dtype ${array.dtype}, expected f32`);
    }
  }
  if (numel(parameter.layout.shape) === 0) return;
  const changing = [parameter, ...Object.values(fn.state)];
  const isApart = changing.every(({ storage }) => storage !== gradient.storage);
  const apart = isApart ? gradient : copy(runtime, gradient);
  try {
    inShares(runtime, [apart, ...Object.values(fn.state)], parameter, (share) => {
      dispatchStep(runtime, fn, parameter, share);
    });
  } finally {
    if (!isApart) apart.storage.release();
  }
}

function dispatchStep(runtime: Runtime, fn: Step, parameter: DeviceArray, share: Share): void {
  const gradient = share.arrays[0]!;
  const { shape, strides } = coalesce([gradient.layout.strides], parameter.layout.shape);
  const { kernel, params } = stepKernel(fn, parameter.dtype, operandKind(gradient), shape.length);
  const values: Record<string, number | readonly number[]> = {
    elements: share.count,
    start: share.start,
    gradient_offset: gradient.layout.offset,
    shape: padAxes(shape, 1),
    gradient_strides: padAxes(strides[0]!, 0),
  };
  for (const [name, [, value]] of Object.entries(fn.values)) values[name] = value;
  runtime.kernels.dispatch(kernel, {
    storages: [...share.arrays.map(({ binding }) => binding), share.out],
    params: params.pack(values),
    workgroups: ceilDiv(share.count, THREADS * LANES),
  });
}

type Built = { kernel: Kernel; params: ReturnType<typeof paramStruct<ParamFields>> };
const kernels = new Map<string, Built>();

function stepKernel(fn: Step, dtype: DType, gradient: OperandKind, rank: number): Built {
  const key = [fn.label, dtype, gradient.dtype, gradient.dense, rank].join();
  let built = kernels.get(key);
  if (!built) kernels.set(key, built = buildKernel(fn, dtype, gradient, rank));
  return built;
}

function buildKernel(fn: Step, dtype: DType, gradient: OperandKind, rank: number): Built {
  const fields: Record<string, ParamType> = {
    elements: "u32",
    /** Index of the first element that this dispatch changes. */
    start: "u32",
    gradient_offset: "u32",
  };
  for (const [name, [type]] of Object.entries(fn.values)) fields[name] = type;
  fields.shape = "axes";
  fields.gradient_strides = "axes";
  const params = paramStruct(fields);
  const state = Object.keys(fn.state);
  const places = [0, 1, 2, 3].map((i) => `at_gradient(params.start + unit * LANES + ${i}u)`);
  const elements = places.map((place) => `load_gradient(${place})`).join(", ");
  const declared = gradient.dense
    ? declareVectors("gradient", 0, gradient.dtype)
    : declareOperand("gradient", 0, gradient.dtype) + declareWalk("gradient", "shape", rank);
  const source = /* wgsl */ `${params.wgsl}
const THREADS = ${THREADS}u;
const LANES = ${LANES}u;
${accessorHelpers([dtype, gradient.dtype])}${LIVE}${declared}
${state.map((name, i) => declareState(name, i + 1)).join("")}
${declareVectorOutput("parameter", state.length + 1, dtype)}${readBack("parameter", dtype)}
fn gradient_of(unit: u32) -> vec4f {
  return ${gradient.dense ? "vector_gradient(unit)" : `vec4f(${elements})`};
}
${fn.body}${WORKGROUP_INDEX}${UPDATE_UNITS}`;
  const bindings: Access[] = ["read", ...state.map(() => "update" as const), "update"];
  return { kernel: { label: fn.label, source, bindings }, params };
}

function declareState(name: string, binding: number): string {
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<vec4f>;
fn keep_${name}(unit: u32, value: vec4f) { ${name}[unit] = live(unit, value, ${name}[unit]); }
`;
}

/** Throws unless an array is the first elements of its storage in order, as in-place kernels need it. */
export function assertUpdatable(action: string, name: string, array: DeviceArray): void {
  if (!isDense(array)) {
    throw new RangeError(
      `Cannot ${action}: ${name} has strides ${formatShape(array.layout.strides)} and offset ` +
        `${array.layout.offset}, expected a dense array; update what it is a view of`,
    );
  }
}

/** Throws unless an array has the shape of what is to change. */
export function assertShapeOf(
  action: string,
  name: string,
  { layout: { shape } }: DeviceArray,
  { layout: { shape: expected } }: DeviceArray,
): void {
  if (!sameShape(shape, expected)) {
    throw new RangeError(
      `Cannot ${action}: ${name} has shape ${formatShape(shape)}, expected ${
        formatShape(expected)
      }`,
    );
  }
}

function assertFloat(action: string, name: string, dtype: DType): void {
  if (!isFloat(dtype)) {
    throw new TypeError(
      `Cannot ${action}: ${name} has dtype ${dtype}, expected f32, f16 or bf16`,
    );
  }
}
