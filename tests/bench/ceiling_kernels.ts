/**
 * Kernels that do nothing but multiply and add, or copy: what is left to an adapter when nothing else is in
 * its way. Which of the forms is the fastest differs by compiler and adapter, so there are several.
 */

/** Turns of a loop are costly where compilers guard them; so many multiply-adds stand in one turn. */
export const FMAS_PER_TURN = 512;

/** Threads of a workgroup. */
export const WORKGROUP_SIZE = 256;

/** One way to write the arithmetic. */
export interface FmaForm {
  /** How it is called in results. */
  readonly name: string;
  /** Type of an accumulator. */
  readonly type: "f32" | "vec4<f32>" | "f16" | "vec2<f16>" | "vec4<f16>";
  /** Independent sums of a thread; enough of them hide how long one multiply-add takes. */
  readonly accumulators: number;
  /** Whether `fma(a, b, c)` is written, or `a * b + c`, which not every compiler joins. */
  readonly builtin: boolean;
}

/** All forms of one element type: numbers and vectors, few and many sums, both ways to write it. */
export function fmaForms(element: "f32" | "f16"): FmaForm[] {
  const types = element === "f32"
    ? (["f32", "vec4<f32>"] as const)
    : (["f16", "vec2<f16>", "vec4<f16>"] as const);
  return types.flatMap((type) => {
    const lanes = lanesOf(type);
    return [8, 16].flatMap((numbers) =>
      [true, false].map((builtin) => {
        const accumulators = Math.max(2, numbers / (lanes === 4 ? 2 : 1));
        const how = builtin ? "fma()" : "a * b + c";
        return { name: `${accumulators} x ${type}, ${how}`, type, accumulators, builtin };
      })
    );
  });
}

/** Numbers in one accumulator. */
export function lanesOf(type: FmaForm["type"]): number {
  return Number(/^vec(\d)/.exec(type)?.[1] ?? 1);
}

/** Floating-point operations of one thread in one turn of its loop. */
export function flopsPerTurn({ type, accumulators }: FmaForm): number {
  const rounds = Math.floor(FMAS_PER_TURN / accumulators / lanesOf(type));
  return 2 * rounds * accumulators * lanesOf(type);
}

/**
 * `params.turns` turns of multiply-adds by factors that are known at run time only, so that no compiler can
 * work the result out. The factors keep every sum finite.
 */
export function fmaSource(form: FmaForm): string {
  const { type, accumulators, builtin } = form;
  const rounds = flopsPerTurn(form) / 2 / accumulators / lanesOf(type);
  const names = Array.from({ length: accumulators }, (_, i) => `a${i}`);
  const step = (a: string) => builtin ? `${a} = fma(${a}, b, c);` : `${a} = ${a} * b + c;`;
  const isHalf = type.includes("f16");
  const lanes = lanesOf(type);
  const number = (value: number) => `${value}.0${isHalf ? "h" : "f"}`;
  // Every number begins with another value: compilers compute equal ones once.
  const start = (i: number) =>
    `c * ${type}(${Array.from({ length: lanes }, (_, l) => number(1 + i * lanes + l)).join(", ")})`;
  const sum = `(${names.join(" + ")})`;
  const ends = ["x", "y", "z", "w"].slice(0, lanes).map((axis) => `f32(total.${axis})`);
  return /* wgsl */ `${isHalf ? "enable f16;\n" : ""}
struct Params { turns: u32, factor: f32, addend: f32 }
@group(0) @binding(0) var<storage, read_write> results: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(${WORKGROUP_SIZE})
fn main(@builtin(global_invocation_id) id: vec3u) {
  let b = ${type}(${isHalf ? "f16(params.factor)" : "params.factor"});
  let c = ${type}(${isHalf ? "f16(params.addend)" : "params.addend"});
  ${names.map((a, i) => `var ${a} = ${start(i)};`).join("\n  ")}
  for (var turn = 0u; turn < params.turns; turn++) {
    ${Array.from({ length: rounds }, () => names.map(step).join(" ")).join("\n    ")}
  }
  let total = ${sum};
  results[id.x] = ${lanes > 1 ? ends.join(" + ") : "f32(total)"};
}
`;
}

/** How many `vec4f` a thread of a copying kernel moves; several, so that many loads are under way. */
export const COPIES_OF_A_THREAD: readonly number[] = [1, 2, 4, 8, 16];

/** Copies a buffer, neighbouring elements by neighbouring threads, `each` of them a thread. */
export function copySource(each: number): string {
  const lines = Array.from({ length: each }, (_, i) => {
    const place = `first + ${i * WORKGROUP_SIZE}u`;
    return `copied[${place}] = source[${place}];`;
  });
  return /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> copied: array<vec4f>;
@group(0) @binding(1) var<storage, read> source: array<vec4f>;

@compute @workgroup_size(${WORKGROUP_SIZE})
fn main(
  @builtin(local_invocation_index) lane: u32,
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
) {
  let first = (group.y * groups.x + group.x) * ${each * WORKGROUP_SIZE}u + lane;
  ${lines.join("\n  ")}
}
`;
}
