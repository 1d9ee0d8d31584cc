/**
 * The kernels behind `rows.ts`: how the operands of a function of rows are declared, how threads share a row,
 * and how they join a value of each.
 */
import { type DType, encodingOf } from "../dtype.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { type ParamFields, paramStruct, type ParamType } from "../runtime/params.ts";
import { unroll } from "../runtime/unroll.ts";
import { accessorHelpers, declareOperand, declareWalk, IS_NAN } from "./accessors.ts";
import { declareJoin, type Joining, PLACE, usesSubgroups } from "./joins.ts";
import { sumLoop } from "./sums.ts";
import { declareVectorOutput, declareVectors, LANES } from "./vectors.ts";

/** How threads take rows; compiled in. */
export interface RowPlan extends Joining {
  /** Threads of one row, a power of two. A workgroup has {@linkcode ROW_THREADS} or as many as these. */
  readonly threads: number;
  /** Whether threads take four neighbouring elements at a time. */
  readonly vectors: boolean;
  /** Chunks of a row that each thread keeps in registers; 0 for rows that are read anew in each pass. */
  readonly held: number;
  /** Loops around a thread's innermost one over its chunks, as `levelsFor` counts them. */
  readonly levels: number;
}

/** Threads of a workgroup, at least. */
export const ROW_THREADS = 64;

/** Parts of a body that depend on the plan. All of it is WGSL. */
export interface RowText {
  /** Declares what is kept of operand `x`, whose row begins at `begin_x`. */
  hold(name: string): string;
  /** A loop over all chunks of a thread, with the chunk's number `c`. */
  each(body: string): string;
  /** The same with sums, which it declares: WGSL of what each chunk adds, by name, behind the body. */
  sums(terms: Readonly<Record<string, string>>, body: string): string;
  /** `RowPlan.levels`, for loops that a body has of its own. */
  readonly levels: number;
  /** Within the first loop: reads chunk `c` of an operand that is held. */
  take(name: string): string;
  /** Within any loop: chunk `c` of an operand that is held. */
  held(name: string): string;
}

/** The text of a plan. */
function rowText({ held, levels }: RowPlan): RowText {
  if (held === 0) {
    return {
      hold: () => "",
      each: (body) =>
        `for (var c = thread; c < params.chunks; c += THREADS) {
    ${body}
  }`,
      sums: (terms, body) =>
        sumLoop({
          variable: "c",
          begin: "thread",
          end: "params.chunks",
          step: "THREADS",
          type: "Chunk",
          terms,
          body,
          levels,
        }),
      levels,
      take: () => "",
      held: (name) => `${name}_chunk(begin_${name}, c)`,
    };
  }
  const each = (body: string) => `
  /* unroll */ for (var k = 0u; k < HELD; k++) {
    let c = k * THREADS + thread;
    if (c < params.chunks) {
      ${body}
    }
  }`;
  return {
    hold: (name) => `var held_${name} = array<Chunk, HELD>();`,
    each,
    levels,
    sums: (terms, body) => {
      const all = Object.entries(terms);
      const added = all.map(([name, term]) => `${name} += ${term};`).join(" ");
      return all.map(([name]) => `var ${name} = Chunk();`).join(" ") + each(`${body} ${added}`);
    },
    take: (name) => `held_${name}[k] = ${name}_chunk(begin_${name}, c);`,
    held: (name) => `held_${name}[k]`,
  };
}

/** An operand of a kernel: rows of an array, or one number in the place of one. */
export interface RowOperandKind {
  readonly name: string;
  /** Element type of an array. */
  readonly dtype?: DType;
  /** The number. */
  readonly value?: number;
  /** Whether one element stands for all of a row. */
  readonly isSingle?: boolean;
}

/** What a kernel is built from. */
export interface RowConfig {
  readonly label: string;
  /** See `RowFunction.body`. */
  readonly body: string | ((text: RowText) => string);
  readonly operands: readonly RowOperandKind[];
  /** Further parameters. */
  readonly values: Readonly<Record<string, ParamType>>;
  /** Number of axes that number the rows. */
  readonly rank: number;
  /** Type of the output, if it is written in vectors. */
  readonly vectorOutput: DType | undefined;
}

const CHUNKS = {
  scalars: /* wgsl */ `
alias Chunk = f32;
alias Bits = u32;
alias Flags = bool;
fn sum_of(v: Chunk) -> f32 { return v; }
fn max_of(v: Chunk) -> f32 { return v; }
`,
  vectors: /* wgsl */ `
alias Chunk = vec4f;
alias Bits = vec4u;
alias Flags = vec4<bool>;
fn sum_of(v: Chunk) -> f32 { return (v.x + v.y) + (v.z + v.w); }
fn max_of(v: Chunk) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }
`,
};

const COMMON = /* wgsl */ `
const LOWEST = -3.4028234663852886e38;
fn are_nan(v: Chunk) -> Flags { return (bitcast<Bits>(v) & Bits(0x7fffffffu)) > Bits(0x7f800000u); }
`;

/** The output is dense, and what lies behind the axis lies between a row's elements. */
const AT_OUT = /* wgsl */ `
fn at_out(row: u32) -> u32 {
  if (params.out_step == 1u) { return row * params.out_length; }
  let outer = row / params.out_step;
  return outer * params.out_step * params.out_length + row % params.out_step;
}
`;

const MAIN = /* wgsl */ `
@compute @workgroup_size(GROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  place = thread;
  let number = workgroup_index(group, groups) * GROUP + thread;
  work(number / THREADS, number % THREADS);
}
`;

/** A kernel and its parameters. */
export interface RowKernel {
  readonly kernel: Kernel;
  readonly params: ReturnType<typeof paramStruct<ParamFields>>;
}

/** Builds the kernel of a function of rows. */
export function buildRowKernel(config: RowConfig, plan: RowPlan): RowKernel {
  const { operands, rank, vectorOutput } = config;
  const arrays = operands.filter(({ dtype }) => dtype !== undefined);
  const fields: Record<string, ParamType> = {
    rows: "u32",
    length: "u32",
    /** Elements of a row, or vectors of them. */
    chunks: "u32",
    out_length: "u32",
    out_step: "u32",
    ...config.values,
  };
  for (const { name } of arrays) fields[`${name}_offset`] = fields[`${name}_step`] = "u32";
  fields.row_shape = "axes";
  for (const { name } of arrays) fields[`${name}_strides`] = "axes";
  const params = paramStruct(fields);
  let binding = 0;
  const declared = operands.map((operand) =>
    operand.dtype === undefined
      ? declareNumber(operand)
      : declareRows(operand, operand.dtype, binding++, rank, plan.vectors)
  );
  const { body } = config;
  const work = typeof body === "string" ? body : body(rowText(plan));
  const types = arrays.map(({ dtype }) => dtype!);
  const source = [
    params.wgsl,
    `const GROUP = ${Math.max(ROW_THREADS, plan.threads)}u;\n`,
    `const THREADS = ${plan.threads}u;\nconst HELD = ${plan.held}u;\n`,
    accessorHelpers(vectorOutput ? [...types, vectorOutput] : types),
    plan.vectors ? CHUNKS.vectors : CHUNKS.scalars,
    ...declared,
    declareOutput(binding, plan.vectors, vectorOutput),
    AT_OUT,
    COMMON,
    PLACE,
    joins(plan, work),
    IS_NAN,
    WORKGROUP_INDEX,
    unroll(work, { HELD: plan.held }),
    MAIN,
  ].join("");
  const bindings = [...arrays.map(() => "read" as const), "write" as const];
  const subgroups = usesSubgroups(plan);
  return { kernel: { label: config.label, source, bindings, subgroups }, params };
}

function declareRows(
  { name, isSingle = false }: RowOperandKind,
  dtype: DType,
  binding: number,
  rank: number,
  vectors: boolean,
): string {
  const walk = declareWalk(name, "row_shape", rank);
  if (vectors && !isSingle) {
    return declareVectors(name, binding, dtype) + walk + /* wgsl */ `
fn ${name}_chunk(begin: u32, c: u32) -> Chunk { return vector_${name}(begin / ${LANES}u + c); }
`;
  }
  return declareOperand(name, binding, dtype) + walk + /* wgsl */ `
fn ${name}_at(begin: u32, i: u32) -> ${encodingOf(dtype).wgsl} {
  return load_${name}(begin + i * params.${name}_step);
}
fn ${name}_chunk(begin: u32, c: u32) -> Chunk { return Chunk(f32(${name}_at(begin, c))); }
`;
}

function declareNumber({ name, value }: RowOperandKind): string {
  return /* wgsl */ `
fn at_${name}(row: u32) -> u32 { return 0u; }
fn ${name}_at(begin: u32, i: u32) -> f32 { return ${value}.0; }
fn ${name}_chunk(begin: u32, c: u32) -> Chunk { return Chunk(${value}.0); }
`;
}

/** `put(begin, c, v)` writes chunk c of a row that begins there. */
function declareOutput(
  binding: number,
  vectors: boolean,
  vectorOutput: DType | undefined,
): string {
  if (vectorOutput) {
    return declareVectorOutput("out", binding, vectorOutput) + /* wgsl */ `
fn put(begin: u32, c: u32, v: Chunk) { write_out(begin / ${LANES}u + c, v); }
`;
  }
  const put = /* wgsl */ `
fn put(begin: u32, c: u32, v: Chunk) { out[begin + c * params.out_step] = bitcast<u32>(v); }
`;
  return `@group(0) @binding(${binding}) var<storage, read_write> out: array<u32>;\n` +
    (vectors ? "" : put);
}

/** Functions that join a value of each thread of a row, so that all get the result: type and how two are joined. */
const JOINS = {
  sum_over_workgroup: ["f32", "a + b"],
  max_over_workgroup: ["f32", "max(a, b)"],
  sums_over_workgroup: ["vec2f", "a + b"],
  sum_and_max_over_workgroup: ["vec2f", "vec2f(a.x + b.x, max(a.y, b.y))"],
} as const;

/** Those that a body calls. */
function joins(plan: RowPlan, body: string): string {
  return Object.entries(JOINS).filter(([name]) => body.includes(`${name}(`))
    .map(([name, [type, pair]]) => declareJoin(name, type, pair, plan)).join("");
}
