/**
 * The kernels behind `map.ts`. A thread computes four neighbouring elements of the output, so that dense
 * operands are read and written 16 bytes at a time, and finds the place of any other operand by one walk
 * over the axes for all four.
 */
import { type computeType, type DType, elementsPerWord, encodingOf } from "../dtype.ts";
import { type Access, type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { type ParamFields, paramStruct, type ParamType } from "../runtime/params.ts";
import { accessorHelpers, declareOperand, IS_NAN } from "./accessors.ts";
import { declareVectorOutput, declareVectors, isAligned, LANES } from "./vectors.ts";

/** What a map computes at each element. */
export interface MapFunction {
  /** Name in errors and profiles. */
  readonly name: string;
  /** The type that every operand is converted to first. */
  readonly compute: ReturnType<typeof computeType>;
  /** Element type of the result. */
  readonly output: DType;
  /** WGSL expression of `a`, `b`, `c`, the operands in order. */
  readonly expression: string;
  /** WGSL functions that the expression calls. */
  readonly helpers?: string;
}

/**
 * How a thread gets its four elements of an operand: they are the vector of its own number (`dense`) or that
 * at a place (`vector`), all are the one at a place (`single`), lie evenly from a place on (`even`), have a
 * place each (`apart`), or are a number for all (`scalar`).
 */
export type Mode = "dense" | "vector" | "single" | "even" | "apart" | "scalar";

/** How one operand is read: part of the kernel's compile-time configuration. */
export interface MapOperandKind {
  /** Element type in storage; none for a number. */
  readonly dtype?: DType;
  readonly mode: Mode;
}

/** Threads of a workgroup, and elements that it computes. */
const THREADS = 256;
export const GROUP_ELEMENTS = THREADS * LANES;

/** Names of the operands in order. */
export const OPERAND_NAMES = ["a", "b", "c"] as const;

/** How an operand that is not dense is read, given its strides over axes that are as few as can be. */
export function modeOf(shape: readonly number[], strides: readonly number[], offset: number): Mode {
  const inner = shape.length - 1;
  // Four elements may end one row and begin the next.
  if (inner > 0 && shape[inner]! % LANES !== 0) return "apart";
  if (strides[inner] === 0) return "single";
  return strides[inner] === 1 && isAligned(offset, strides.slice(0, -1)) ? "vector" : "even";
}

const BODY = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let unit = workgroup_index(group, groups) * THREADS + thread;
  if (unit < params.units) { compute(unit); }
}
`;

/** A kernel and its parameters. */
export interface MapKernel {
  readonly kernel: Kernel;
  readonly params: ReturnType<typeof paramStruct<ParamFields>>;
}

const kernels = new Map<string, MapKernel>();

/**
 * The kernel of a function of these operands.
 *
 * @param rank Number of axes that are walked over; 0 if all operands are dense or numbers.
 * @param isLater Whether it is for a share that does not begin with the first element.
 */
export function mapKernel(
  fn: MapFunction,
  operands: readonly MapOperandKind[],
  rank: number,
  isLater: boolean,
): MapKernel {
  let key = `${fn.name} ${fn.compute} ${fn.output} ${rank} ${isLater}`;
  for (const { dtype, mode } of operands) key += ` ${dtype} ${mode}`;
  key += ` ${fn.expression} ${fn.helpers}`;
  let built = kernels.get(key);
  if (!built) kernels.set(key, built = buildKernel(fn, operands, rank, isLater));
  return built;
}

function buildKernel(
  fn: MapFunction,
  operands: readonly MapOperandKind[],
  rank: number,
  isLater: boolean,
): MapKernel {
  const named = operands.map((operand, i) => ({ ...operand, name: OPERAND_NAMES[i]! }));
  const walked = named.filter(({ mode }) => mode !== "dense" && mode !== "scalar");
  const fields: Record<string, ParamType> = { units: "u32", elements: "u32" };
  if (isLater) fields.start = "u32";
  for (const { name, mode } of named) if (mode === "scalar") fields[`${name}_scalar`] = "u32";
  for (const { name } of walked) fields[`${name}_offset`] = fields[`${name}_step`] = "u32";
  if (walked.length > 0) fields.shape = "axes";
  for (const { name } of walked) fields[`${name}_strides`] = "axes";
  const params = paramStruct(fields);

  let binding = 0;
  const declarations = named.map(({ name, dtype, mode }) => {
    if (!dtype) return "";
    const declare = mode === "dense" || mode === "vector" ? declareVectors : declareOperand;
    return declare(name, binding++, dtype);
  });
  const types = named.flatMap(({ dtype }) => dtype ?? []);
  const source = [
    params.wgsl,
    `const THREADS = ${THREADS}u;\n`,
    accessorHelpers([...types, fn.output]),
    ...declarations,
    declareVectorOutput("out", binding, fn.output),
    IS_NAN,
    fn.helpers ?? "",
    walked.length > 0 ? declarePlace(walked.map(({ name }) => name), rank, isLater) : "",
    declareCompute(fn, named, walked.length > 0),
    WORKGROUP_INDEX,
    BODY,
  ].join("");
  const bindings: Access[] = [...types.map(() => "read" as const), "write"];
  return { kernel: { label: fn.name, source, bindings }, params };
}

/**
 * `place(index)`: where the elements with this row-major index lie in each operand that is walked over. The
 * axes are shared, so that there is one division an axis, and none for the first.
 */
function declarePlace(names: readonly string[], rank: number, isLater: boolean): string {
  const each = (text: (name: string) => string) => names.map(text).join(" ");
  return /* wgsl */ `
struct Place { ${each((name) => `${name}: u32,`)} }
fn place(index: u32) -> Place {
  var rest = index${isLater ? " + params.start" : ""};
  var at = Place(${names.map((name) => `params.${name}_offset`).join(", ")});
  for (var axis = ${rank - 1}u; axis > 0u; axis--) {
    let size = params.shape[axis / 4u][axis % 4u];
    let outer = rest / size;
    let i = rest - outer * size;
    ${each((name) => `at.${name} += i * params.${name}_strides[axis / 4u][axis % 4u];`)}
    rest = outer;
  }
  ${each((name) => `at.${name} += rest * params.${name}_strides[0][0];`)}
  return at;
}
`;
}

/** `compute(unit)`: computes and writes elements 4 unit to 4 unit + 3. */
function declareCompute(
  fn: MapFunction,
  operands: readonly (MapOperandKind & { readonly name: string })[],
  isWalked: boolean,
): string {
  const type = encodingOf(fn.compute).wgsl;
  const result = encodingOf(fn.output).wgsl;
  const each = (text: (lane: number) => string) => [0, 1, 2, 3].map(text).join(", ");
  const isApart = operands.some(({ mode }) => mode === "apart");
  const values = operands.map(({ name, mode }) => {
    switch (mode) {
      case "scalar":
        return `vec4(bitcast<${type}>(params.${name}_scalar))`;
      case "dense":
        return `vec4<${type}>(vector_${name}(unit))`;
      case "vector":
        return `vec4<${type}>(vector_${name}(at.${name} / 4u))`;
      case "single":
        return `vec4(${type}(load_${name}(at.${name})))`;
      case "even":
        return `vec4(${
          each((i) => `${type}(load_${name}(at.${name} + ${i}u * params.${name}_step))`)
        })`;
      case "apart":
        return `vec4(${each((i) => `${type}(load_${name}(at${i}.${name}))`)})`;
    }
  });
  const names = operands.map(({ name }) => name);
  const arguments_ = names.map((name) => `${name}: ${type}`).join(", ");
  const element = (lane: number) =>
    `element(${names.map((name) => `${name}4[${lane}]`).join(", ")})`;
  const places = isApart
    ? [0, 1, 2, 3].map((i) => `  let at${i} = place(4u * unit + ${i}u);\n`).join("")
    : isWalked
    ? "  let at = place(4u * unit);\n"
    : "";
  // Behind the last element of a word that is not full lie zeros, whatever the buffer held.
  return /* wgsl */ `
fn whole(unit: u32, values: vec4<${result}>) -> vec4<${result}> {
  let index = vec4u(4u * unit) + vec4u(0u, 1u, 2u, 3u);
  return select(vec4<${result}>(), values, index < vec4u(params.elements));
}
fn element(${arguments_}) -> ${result} { return ${fn.expression}; }
fn compute(unit: u32) {
${places}${values.map((value, i) => `  let ${names[i]}4 = ${value};\n`).join("")}
  let values = vec4(${each(element)});
  write_out(unit, ${elementsPerWord(fn.output) > 1 ? "whole(unit, values)" : "values"});
}
`;
}
