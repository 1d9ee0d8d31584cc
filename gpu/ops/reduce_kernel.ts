/**
 * The kernels behind `reduce.ts`. Neighbouring threads read neighbouring inputs: along the reduced axes, where
 * these are innermost in memory, and then join what they have; else across outputs, where each thread has
 * outputs of its own, and the rows of threads in a workgroup are joined.
 */
import { type DType, encodingOf } from "../dtype.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import { accessorHelpers, declareOperand, declareWalk, IS_NAN } from "./accessors.ts";
import { declareJoin, type Joining, PLACE, usesSubgroups } from "./joins.ts";
import { sumLoop } from "./sums.ts";
import { declareVectors, LANES } from "./vectors.ts";

/** The reductions by name. */
export type ReduceName = "sum" | "mean" | "max" | "min";

/** What is compiled in. */
export interface ReduceConfig extends Joining {
  readonly name: ReduceName;
  readonly input: DType;
  readonly output: DType;
  /** Whether threads share an output, or have outputs of their own. */
  readonly form: "along" | "across";
  /** Whether a thread reads four neighbours at a time: inputs of one output, or one of four outputs. */
  readonly vectors: boolean;
  /** Threads that share an output: neighbours (`along`), or rows of them (`across`). */
  readonly threads: number;
  /** Threads of a workgroup. */
  readonly group: number;
  /** Loops around a thread's innermost one, as `levelsFor` counts them. */
  readonly levels: number;
  /** Numbers of axes that are kept and reduced, once neighbours are joined. */
  readonly ranks: readonly [kept: number, reduced: number];
}

/** The uniforms of all forms. A chunk is four elements, or one. */
export const REDUCE_PARAMS = paramStruct({
  /** Outputs (`along`) or chunks of them (`across`). */
  outputs: "u32",
  /** Chunks of inputs (`along`) or inputs (`across`) behind an output. */
  length: "u32",
  /** How many of these one team of threads takes, and the number of such pieces. */
  piece: "u32",
  pieces: "u32",
  kept_offset: "u32",
  reduced_offset: "u32",
  factor: "f32",
  kept_shape: "axes",
  kept_strides: "axes",
  reduced_shape: "axes",
  reduced_strides: "axes",
});

/** What a thread joins alone. */
const ACCUMULATE = {
  sum: (levels: number) => /* wgsl */ `
fn accumulate(origin: u32, begin: u32, end: u32, thread: u32) -> Chunk {
  ${
    sumLoop({
      variable: "i",
      begin: "begin + thread",
      end: "end",
      step: "THREADS",
      type: "Chunk",
      terms: { value: "load(origin, i)" },
      body: "",
      levels,
    })
  }
  return value;
}
`,
  /** Extremes start from an element, so that no finite bound takes the place of an infinity. */
  extreme: () => /* wgsl */ `
fn accumulate(origin: u32, begin: u32, end: u32, thread: u32) -> Chunk {
  var value = load(origin, begin);
  for (var i = begin + thread; i < end; i += THREADS) { value = join(value, load(origin, i)); }
  return value;
}
`,
};

const ALONG = /* wgsl */ `
fn load(origin: u32, i: u32) -> Chunk { return chunk_at(origin + at_reduced(i * LANES)); }
@compute @workgroup_size(GROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  place = local;
  let thread = local % THREADS;
  let job = workgroup_index(group, groups) * (GROUP / THREADS) + local / THREADS;
  let begin = (job % params.pieces) * params.piece;
  let end = min(begin + params.piece, params.length);
  let value = accumulate(at_kept(job / params.pieces), begin, end, thread);
  let result = join_threads(join_lanes(value), thread);
  if (thread == 0u && job < params.outputs * params.pieces) { out[job] = finish(result); }
}
`;

/** The output is [pieces, outputs]. */
const ACROSS = /* wgsl */ `
const COLUMNS = GROUP / THREADS;

fn load(origin: u32, i: u32) -> Chunk { return chunk_at(origin + at_reduced(i)); }
@compute @workgroup_size(GROUP)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) local: u32,
) {
  let job = workgroup_index(group, groups);
  let blocks = (params.outputs + COLUMNS - 1u) / COLUMNS;
  let column = job % blocks * COLUMNS + local % COLUMNS;
  let thread = local / COLUMNS;
  let piece = job / blocks;
  let begin = piece * params.piece;
  let end = min(begin + params.piece, params.length);
  var value = accumulate(at_kept(column * LANES), begin, end, thread);
  value = join_rows(value, local, thread);
  if (thread == 0u && column < params.outputs && piece < params.pieces) {
    out[piece * params.outputs + column] = finish(value);
  }
}
`;

/** Joins what the rows of threads in a workgroup have; the first row gets the result. */
const JOIN_ROWS = /* wgsl */ `
var<workgroup> partial: array<Chunk, GROUP>;
fn join_rows(value: Chunk, local: u32, thread: u32) -> Chunk {
  partial[local] = value;
  for (var half = THREADS / 2u; half > 0u; half /= 2u) {
    workgroupBarrier();
    if (thread < half) { partial[local] = join(partial[local], partial[local + half * COLUMNS]); }
  }
  return partial[local];
}
`;

const ONE_ROW = "fn join_rows(value: Chunk, local: u32, thread: u32) -> Chunk { return value; }\n";

const kernels = new Map<string, Kernel>();

/** The kernel of a configuration. */
export function reduceKernel(config: ReduceConfig): Kernel {
  const key = Object.values(config).join();
  let kernel = kernels.get(key);
  if (!kernel) kernels.set(key, kernel = buildKernel(config));
  return kernel;
}

function buildKernel(config: ReduceConfig): Kernel {
  const { name, input, output, form, vectors, threads, group, ranks, levels } = config;
  const type = encodingOf(output).wgsl;
  const chunk = vectors ? `vec4<${type}>` : type;
  const isExtreme = name === "max" || name === "min";
  const isAlong = form === "along";
  // The results of threads that share an output are single values, others' are chunks.
  const result = isAlong ? type : chunk;
  const source = /* wgsl */ `${REDUCE_PARAMS.wgsl}
const GROUP = ${group}u;
const THREADS = ${threads}u;
const LANES = ${vectors ? LANES : 1}u;
alias Chunk = ${chunk};
${IS_NAN}${accessorHelpers([input])}
${(vectors ? declareVectors : declareOperand)("a", 0, input)}
@group(0) @binding(1) var<storage, read_write> out: array<${result}>;
fn chunk_at(position: u32) -> Chunk { return Chunk(${
    vectors ? "vector_a(position / LANES)" : "load_a(position)"
  }); }
${declareWalk("kept", "kept_shape", ranks[0])}${declareWalk("reduced", "reduced_shape", ranks[1])}
fn join_values(a: ${type}, b: ${type}) -> ${type} { return ${joinOf(name, type)}; }
fn join(a: Chunk, b: Chunk) -> Chunk { return ${
    vectors ? eachLane("join_values(a.$, b.$)") : "join_values(a, b)"
  }; }
fn join_lanes(v: Chunk) -> ${type} { return ${
    vectors ? "join_values(join_values(v.x, v.y), join_values(v.z, v.w))" : "v"
  }; }
fn finish(a: ${result}) -> ${result} { return ${name === "mean" ? "a * params.factor" : "a"}; }
${isAlong ? PLACE + declareJoin("join_threads", type, "join_values(a, b)", config) : ""}${
    isAlong ? "" : threads > 1 ? JOIN_ROWS : ONE_ROW
  }
${WORKGROUP_INDEX}${isAlong ? ALONG : ACROSS}${ACCUMULATE[isExtreme ? "extreme" : "sum"](levels)}`;
  const subgroups = isAlong && usesSubgroups(config);
  return { label: name, source, bindings: ["read", "write"], subgroups };
}

function joinOf(name: ReduceName, type: string): string {
  if (name === "sum" || name === "mean") return "a + b";
  const extreme = `${name}(a, b)`;
  return type === "f32" ? `select(${extreme}, a + b, is_nan(a) || is_nan(b))` : extreme;
}

function eachLane(text: string): string {
  return `Chunk(${["x", "y", "z", "w"].map((lane) => text.replaceAll("$", lane)).join(", ")})`;
}
