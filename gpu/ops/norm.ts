/**
 * The root of the sum of squares of all elements, after J. L. Blue, "A Portable Fortran Program to Find the Euclidean
 * Norm of a Vector" (1978): squares of numbers far from 1 overflow or vanish, so large ones are summed after they were
 * made smaller, small ones after they were made larger, in one pass over the elements. Time O(elements); scratch
 * a float for 16,384 of them.
 */
import { type DeviceArray, produce } from "../array.ts";
import type { DType } from "../dtype.ts";
import { coalesce } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, numel } from "../shape.ts";
import { accessorHelpers, declareOperand, declareWalk, IS_NAN, padAxes } from "./accessors.ts";
import { bindArray } from "./bindings.ts";
import { declareJoin, type Joining, PLACE, usesSubgroups } from "./joins.ts";
import { fill } from "./map.ts";
import { levelsFor, sumLoop } from "./sums.ts";

/** Elements of a workgroup, and its threads on a GPU. */
const PIECE = 16_384;
const GROUP = 256;

const PARAMS = paramStruct({
  elements: "u32",
  a_offset: "u32",
  shape: "axes",
  a_strides: "axes",
});

const body = (levels: number) => /* wgsl */ `
const LARGE = 1099511627776.0; // 2^40
const SMALL = 8.881784197001252e-16; // 2^-50
const DOWN = 8.077935669463161e-28; // 2^-90
const LARGEST = 3.4028234663852886e38;
const UP = 1.2379400392853803e27; // 2^90

fn root(a: f32) -> f32 { return select(sqrt(a), a, is_nan(a)); }

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  place = thread;
  let piece = workgroup_index(group, groups);
  let begin = min(piece * PIECE, params.elements);
  let end = min(begin + PIECE, params.elements);
  ${
  sumLoop({
    variable: "i",
    begin: "begin + thread",
    end: "end",
    step: "THREADS",
    type: "vec3f",
    terms: {
      sums:
        "select(vec3f(), scaled * scaled, vec3<bool>(is_small, !is_small && !is_large, is_large))",
    },
    body: /* wgsl */ `
    let value = load_a(at_a(i));
    let is_large = abs(value) > LARGE;
    let is_small = abs(value) < SMALL;
    let scaled = value * vec3f(UP, 1.0, DOWN);`,
    levels,
  })
}
  let all = join_sums(sums, thread);
  if (thread > 0u || piece * PIECE >= params.elements) { return; }
  let parts = vec3f(root(all.x) * DOWN, root(all.y), root(all.z) * UP);
  var norm = parts.x + parts.y + parts.z; // Which lets infinities and NaN through.
  if (norm > 0.0 && norm <= LARGEST && !is_nan(norm)) {
    let top = max(max(parts.x, parts.y), parts.z);
    // Where a quotient is a product with the reciprocal, that of the largest numbers is subnormal, and may be 0.
    let near = select(1.0, DOWN, top > 1.0);
    let shares = parts * near / (top * near);
    norm = top * sqrt(dot(shares, shares));
  }
  out[piece] = norm;
}
`;

const kernels = new Map<string, Kernel>();

function normKernel(dtype: DType, rank: number, joining: Joining): Kernel {
  const { threads, subgroup } = joining;
  const key = [dtype, rank, threads, subgroup].join();
  let kernel = kernels.get(key);
  if (!kernel) {
    const source = [
      PARAMS.wgsl,
      `const THREADS = ${threads}u;\nconst GROUP = THREADS;\nconst PIECE = ${PIECE}u;\n`,
      accessorHelpers([dtype]),
      declareOperand("a", 0, dtype),
      "@group(0) @binding(1) var<storage, read_write> out: array<f32>;\n",
      declareWalk("a", "shape", rank),
      PLACE,
      declareJoin("join_sums", "vec3f", "a + b", joining),
      IS_NAN,
      WORKGROUP_INDEX,
      body(levelsFor(PIECE / threads)),
    ].join("");
    const subgroups = usesSubgroups(joining);
    kernels.set(key, kernel = { label: "norm", source, bindings: ["read", "write"], subgroups });
  }
  return kernel;
}

/**
 * The Euclidean norm of an array as one long vector.
 *
 * @param a Of a float type, any strides.
 * @returns A new f32 scalar: within some last places wherever the norm is a normal f32, infinite where an element is
 * or the norm is beyond f32, NaN where an element is.
 */
export function norm(runtime: Runtime, a: DeviceArray): DeviceArray {
  const elements = numel(a.layout.shape);
  if (elements === 0) return fill(runtime, [], "f32", 0);
  const { binding, layout: { shape, strides, offset } } = bindArray(runtime, "compute a norm", a);
  const walked = coalesce([strides], shape);
  const { isFallback, subgroupSize: subgroup } = runtime.info;
  const joining = { threads: isFallback ? Math.max(1, subgroup) : GROUP, subgroup };
  const pieces = ceilDiv(elements, PIECE);
  const norms = produce(
    runtime,
    pieces === 1 ? [] : [pieces],
    "f32",
    ({ storage }) =>
      runtime.kernels.dispatch(normKernel(a.dtype, walked.shape.length, joining), {
        storages: [binding, storage],
        params: PARAMS.pack({
          elements,
          a_offset: offset,
          shape: padAxes(walked.shape, 1),
          a_strides: padAxes(walked.strides[0]!, 0),
        }),
        workgroups: pieces,
      }),
  );
  if (pieces === 1) return norms;
  try {
    return norm(runtime, norms);
  } finally {
    norms.storage.release();
  }
}
