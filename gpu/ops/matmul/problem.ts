/**
 * A matrix product as its kernels see it: C[b, m, n] = sum over k of A[b, m, k] B[b, k, n]. Rows of A and columns
 * of B are both "lines" along k, so that what is said of one operand holds for the other: `line` is the
 * stride from one line to the next, `step` the stride along k.
 */
import type { FloatDType } from "../../dtype.ts";
import type { Binding } from "../../runtime/kernels.ts";
import { paramStruct } from "../../runtime/params.ts";
import { ceilDiv } from "../../shape.ts";
import { declareOperand, padAxes } from "../accessors.ts";

/** One operand; offset and strides in elements. */
export interface MatmulOperand {
  /** What is bound. */
  readonly binding: Binding;
  /** Where the first element is. */
  readonly offset: number;
  /** Stride from one row of A, or column of B, to the next. */
  readonly line: number;
  /** Stride along k. */
  readonly step: number;
  /** Strides along the axes of the batch, 0 where it is broadcast. */
  readonly batchStrides: readonly number[];
}

/** Sizes of a product. */
export interface MatmulSizes {
  /** Rows of A and of C. */
  readonly m: number;
  /** Columns of B and of C. */
  readonly n: number;
  /** Columns of A, rows of B. */
  readonly k: number;
  /** Number of matrices. */
  readonly batches: number;
}

/** All that a form of the kernel needs to know. */
export interface MatmulProblem extends MatmulSizes {
  /** Element type of A, B and the bias; C is f32. */
  readonly dtype: FloatDType;
  /** A. */
  readonly a: MatmulOperand;
  /** B. */
  readonly b: MatmulOperand;
  /** Sizes of the axes of the batch. */
  readonly batchShape: readonly number[];
  /** Added to every row of C. */
  readonly bias?: { readonly binding: Binding; readonly offset: number; readonly step: number };
  /** Whether a zero in A times anything is zero. */
  readonly zeroHides: boolean;
}

/** How C is cut into the work of one workgroup each. */
export interface Cut {
  /** Rows of a tile of C. */
  readonly tileRows: number;
  /** Columns of a tile of C. */
  readonly tileColumns: number;
  /** Into how many runs k is cut; C then holds as many partial sums, one set after the other. */
  readonly slices: number;
  /** Length of a run of k. */
  readonly sliceDepth: number;
}

/** Parameters of all forms. */
export const PARAMS = paramStruct({
  m: "u32",
  n: "u32",
  k: "u32",
  batches: "u32",
  row_tiles: "u32",
  column_tiles: "u32",
  planes: "u32",
  slice_depth: "u32",
  a_offset: "u32",
  a_line: "u32",
  a_step: "u32",
  b_offset: "u32",
  b_line: "u32",
  b_step: "u32",
  has_bias: "u32",
  bias_offset: "u32",
  bias_step: "u32",
  a_dense_in_k: "u32",
  b_dense_in_k: "u32",
  batch_rank: "u32",
  batch_shape: "axes",
  a_strides: "axes",
  b_strides: "axes",
});

/** Packs {@linkcode PARAMS}. `units` are the elements of A and B that one index into its binding stands for. */
export function packParams(
  { m, n, k, batches, a, b, bias, batchShape }: MatmulProblem,
  { tileRows, tileColumns, slices, sliceDepth }: Cut,
  units: Readonly<Record<"a" | "b", number>> = { a: 1, b: 1 },
): Uint32Array<ArrayBuffer> {
  // A stride of 1 counts single elements of a vec4, which no index reaches: the kernel knows.
  const within = (operand: MatmulOperand, unit: number) => ({
    offset: operand.offset / unit,
    line: Math.floor(operand.line / unit),
    step: Math.floor(operand.step / unit),
    strides: padAxes(operand.batchStrides.map((stride) => stride / unit), 0),
  });
  const [left, right] = [within(a, units.a), within(b, units.b)];
  return PARAMS.pack({
    m,
    n,
    k,
    batches,
    row_tiles: ceilDiv(m, tileRows),
    column_tiles: ceilDiv(n, tileColumns),
    planes: slices * batches,
    slice_depth: sliceDepth,
    a_offset: left.offset,
    a_line: left.line,
    a_step: left.step,
    b_offset: right.offset,
    b_line: right.line,
    b_step: right.step,
    has_bias: bias ? 1 : 0,
    bias_offset: bias?.offset ?? 0,
    bias_step: bias?.step ?? 0,
    a_dense_in_k: a.step === 1 ? 1 : 0,
    b_dense_in_k: b.step === 1 ? 1 : 0,
    batch_rank: batchShape.length,
    batch_shape: padAxes(batchShape, 1),
    a_strides: left.strides,
    b_strides: right.strides,
  });
}

/** Length of each run of k but the last. A multiple of the depths there are, and so of a vec4. */
export function sliceDepth(k: number, slices: number): number {
  return Math.ceil(k / slices / 32) * 32;
}

/** What slices compute: the bias is added to their sums. */
export function withoutBias({ bias: _, ...rest }: MatmulProblem): MatmulProblem {
  return rest;
}

/** A kernel's text with the parts that a form of it puts in, by the words in their places. */
export function withParts(text: string, parts: Readonly<Record<string, string>>): string {
  return Object.entries(parts).reduce((text, [name, part]) => text.replace(name, part), text);
}

/** How many workgroups a cut makes. */
export function workgroupsOf(
  { m, n, batches }: MatmulSizes,
  { tileRows, tileColumns, slices }: Cut,
): number {
  return slices * batches * ceilDiv(m, tileRows) * ceilDiv(n, tileColumns);
}

/**
 * `job_of(number)`: the tile of C that a workgroup computes. Neighbours share rows of A. A plane is a matrix
 * of C, one for each batch and slice of k; planes from `params.planes` on are nobody's and must not be
 * written. Needs `walk`.
 */
export const JOB = /* wgsl */ `
struct Job {
  row: u32,
  column: u32,
  plane: u32,
  slice: u32,
  a_origin: u32,
  b_origin: u32,
}

fn job_of(number: u32) -> Job {
  let tile = number / params.column_tiles;
  let plane = tile / params.row_tiles;
  let batch = plane % params.batches;
  return Job(
    tile % params.row_tiles * TILE_ROWS,
    number % params.column_tiles * TILE_COLUMNS,
    plane,
    plane / params.batches,
    params.a_offset + walk(batch, params.batch_rank, params.batch_shape, params.a_strides),
    params.b_offset + walk(batch, params.batch_rank, params.batch_shape, params.b_strides),
  );
}
`;

/**
 * `add_product(a, b, sum)`: the sum and a times b.
 *
 * @param zeroHides Whether a zero in A times anything is zero.
 */
export function addProduct(zeroHides: boolean): string {
  const sum = "fma(vec4f(a), b, sum)";
  return /* wgsl */ `
fn add_product(a: f32, b: vec4f, sum: vec4f) -> vec4f {
  return ${zeroHides ? `select(${sum}, sum, a == 0.0)` : sum};
}
`;
}

/**
 * Declares `name`, read element by element as `load_<name>(position)`. The buffer of an f32 operand is an array
 * of just that, and needs no unpacking.
 */
export function declareElements(name: string, binding: number, dtype: FloatDType): string {
  if (dtype !== "f32") return declareOperand(name, binding, dtype);
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> ${name}: array<f32>;
fn load_${name}(position: u32) -> f32 { return ${name}[position]; }
`;
}

/** `bias_at(column)`, 0 without a bias; what is bound in its place is not looked at then. */
export const BIAS = /* wgsl */ `
fn bias_at(column: u32) -> f32 {
  if (params.has_bias == 0u) { return 0.0; }
  return load_bias(params.bias_offset + column * params.bias_step);
}
`;
