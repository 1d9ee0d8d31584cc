/** WGSL that reads elements of a strided array of any element type, shared by the kernels here. */
import { type DType, elementsPerWord, encodingOf } from "../dtype.ts";
import { MAX_RANK } from "../shape.ts";

/** How one operand is read: part of a kernel's compile-time configuration. */
export interface OperandKind {
  /** Element type in storage. */
  readonly dtype: DType;
  /** Whether element `i` is simply the `i`-th from the start. */
  readonly dense: boolean;
}

/** The kind of an operand. */
export function operandKind({ dtype, dense }: OperandKind): OperandKind {
  return { dtype, dense };
}

/** WGSL that accessors of elements of these types call, each function once. */
export function accessorHelpers(dtypes: readonly DType[]): string {
  return [...new Set(dtypes)].map((dtype) => encodingOf(dtype).helpers).join("");
}

/**
 * Declares operand `name` at a binding, with `load_<name>(position)`, which gives the element at a
 * position of its storage. Needs {@linkcode accessorHelpers} of its type.
 */
export function declareOperand(name: string, binding: number, dtype: DType): string {
  const { wgsl, unpack } = encodingOf(dtype);
  const perWord = elementsPerWord(dtype);
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> ${name}: array<u32>;
fn load_${name}(position: u32) -> ${wgsl} {
  let w = ${name}[position / ${perWord}u];
  let e = position % ${perWord}u;
  return ${unpack};
}
`;
}

/**
 * `at_<name>(index)`: the position of the element with this row-major index, found by walking the
 * axes `params.<axes>` with the strides `params.<name>_strides`, innermost first. The outermost takes what is
 * left, so that one axis needs no division.
 */
export function declareWalk(name: string, axes: string, rank: number): string {
  return /* wgsl */ `
fn at_${name}(index: u32) -> u32 {
  var rest = index;
  var position = params.${name}_offset;
  for (var axis = ${rank - 1}u; axis > 0u; axis--) {
    let size = params.${axes}[axis / 4u][axis % 4u];
    let outer = rest / size;
    position += (rest - outer * size) * params.${name}_strides[axis / 4u][axis % 4u];
    rest = outer;
  }
  return position + rest * params.${name}_strides[0][0];
}
`;
}

/**
 * `walk(index, rank, shape, strides)`: the same for axes that are named at the call, counted from their
 * origin.
 */
export const WALK = /* wgsl */ `
fn walk(index: u32, rank: u32, shape: array<vec4u, 2>, strides: array<vec4u, 2>) -> u32 {
  var rest = index;
  var position = 0u;
  for (var i = rank; i > 0u; i--) {
    let axis = i - 1u;
    let size = shape[axis / 4u][axis % 4u];
    position += (rest % size) * strides[axis / 4u][axis % 4u];
    rest /= size;
  }
  return position;
}
`;

/** Sizes or strides as a uniform field holds them, filled up to the fixed number of axes. */
export function padAxes(values: readonly number[], fill: number): number[] {
  return [...values, ...new Array<number>(MAX_RANK - values.length).fill(fill)];
}

/**
 * `is_nan(a)`, by the bits: WGSL lets compilers assume that there is no NaN, and `a != a` be false;
 * its `max` and `min` may drop one, where users expect it to come through.
 */
export const IS_NAN = /* wgsl */ `
fn is_nan(a: f32) -> bool { return (bitcast<u32>(a) & 0x7fffffffu) > 0x7f800000u; }
`;
