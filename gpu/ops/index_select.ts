/**
 * Picking along an axis by a list of indices, as embeddings do, and the gradient of that. Sums are in f32
 * and in an order that depends on the indices alone.
 */
import { type DeviceArray, produce, withLayout } from "../array.ts";
import { type DType, elementsPerWord, encodingOf, isFloat } from "../dtype.ts";
import { coalesce, type Layout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, formatShape, numel } from "../shape.ts";
import { accessorHelpers, declareOperand, declareWalk, padAxes } from "./accessors.ts";
import { assertOneBinding, bindArray } from "./bindings.ts";
import { narrow } from "./map.ts";
import { bindRows, dispatchRows, floatTypeOf, ROW_THREADS, type RowFunction } from "./rows.ts";

const THREADS = 128;

const PARAMS = paramStruct({
  words: "u32",
  elements: "u32",
  /** Elements of one index of the axis, the number of indices, and the axis' size in `a`. */
  inner: "u32",
  count: "u32",
  size: "u32",
  /** Bits of what stands for an index out of range. */
  missing: "u32",
  a_offset: "u32",
  a_step: "u32",
  indices_offset: "u32",
  indices_step: "u32",
  row_shape: "axes",
  a_strides: "axes",
});

/** A thread computes one word of the output. */
const SELECT = /* wgsl */ `
fn element(place: u32) -> Value {
  let n = place / params.inner % params.count;
  let index = load_indices(params.indices_offset + n * params.indices_step);
  if (index < 0 || u32(index) >= params.size) { return bitcast<Value>(params.missing); }
  let row = place / (params.inner * params.count) * params.inner + place % params.inner;
  return load_a(at_a(row) + u32(index) * params.a_step);
}

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
    let place = word * ELEMENTS_PER_WORD + e;
    if (place < params.elements) { packed |= pack(element(place), e); }
  }
  out[word] = packed;
}
`;

/**
 * A workgroup takes one index of the output's axis and four times as many of its elements as it has
 * threads. Each thread looks at some places of the list, and notes by a bit where it found the index; then
 * all threads go through what any has found. What one and what all have found is added up apart, so that roundings
 * stay few where one index is most of the list.
 */
const ADD = /* wgsl */ `
var<workgroup> matches: array<u32, THREADS>;

fn work(job: u32, thread: u32) {
  let blocks = (params.rows + 4u * THREADS - 1u) / (4u * THREADS);
  let wanted = job / blocks;
  let rows = vec4u(job % blocks * 4u * THREADS + thread) + vec4u(0u, 1u, 2u, 3u) * THREADS;
  let begins = vec4u(
    at_gradient(rows.x), at_gradient(rows.y), at_gradient(rows.z), at_gradient(rows.w),
  );
  let inside = rows < vec4u(params.rows);
  let list = at_indices(0u);

  var sum = vec4f(0.0);
  for (var base = 0u; base < params.length; base += params.turns * THREADS) {
    var found = 0u;
    for (var turn = 0u; turn < params.turns; turn++) {
      let n = base + turn * THREADS + thread;
      if (n < params.length && indices_at(list, n) == i32(wanted)) { found |= 1u << turn; }
    }
    workgroupBarrier();
    matches[thread] = found;
    workgroupBarrier();
    var found_by_all = vec4f(0.0);
    for (var finder = 0u; finder < params.finders; finder++) {
      var found_by_one = vec4f(0.0);
      for (var rest = matches[finder]; rest != 0u; rest &= rest - 1u) {
        let n = base + firstTrailingBit(rest) * THREADS + finder;
        if (inside.x) { found_by_one.x += gradient_at(begins.x, n); }
        if (inside.y) { found_by_one.y += gradient_at(begins.y, n); }
        if (inside.z) { found_by_one.z += gradient_at(begins.z, n); }
        if (inside.w) { found_by_one.w += gradient_at(begins.w, n); }
      }
      found_by_all += found_by_one;
    }
    sum += found_by_all;
  }

  if (wanted >= params.out_length) { return; }
  for (var k = 0u; k < 4u; k++) {
    if (rows[k] < params.rows) {
      out[at_out(rows[k]) + wanted * params.out_step] = bitcast<u32>(sum[k]);
    }
  }
}
`;

/**
 * The elements of `a` at some indices of an axis. An index out of range, negative ones included, gives
 * NaN, or 0 if the type has none: a kernel cannot throw. Time O(result).
 *
 * @param a Any type, any strides.
 * @param axis Counted from the start.
 * @param indices i32 `[N]`.
 * @returns A dense array of the shape of `a` with N along the axis, in its type.
 */
export function indexSelect(
  runtime: Runtime,
  a: DeviceArray,
  axis: number,
  indices: DeviceArray,
): DeviceArray {
  const action = "indexSelect";
  assertIndices(indices, action);
  const { dtype, layout: { shape } } = a;
  const count = indices.layout.shape[0]!;
  const outShape = shape.with(axis, count);
  assertOneBinding(runtime, action, outShape, dtype);
  const source = bindArray(runtime, action, a);
  const list = bindArray(runtime, action, indices);
  const without = (values: readonly number[]) => values.toSpliced(axis, 1);
  const rows = coalesce([without(source.layout.strides)], without(shape));
  const elements = numel(outShape);
  const words = ceilDiv(elements, elementsPerWord(dtype));
  return produce(runtime, outShape, dtype, (out) => {
    runtime.kernels.dispatch(selectKernel(dtype, rows.shape.length), {
      storages: [source.binding, list.binding, out.storage],
      params: PARAMS.pack({
        words,
        elements,
        inner: numel(shape.slice(axis + 1)),
        count,
        size: shape[axis]!,
        missing: isFloat(dtype) ? 0x7fc00000 : 0,
        a_offset: source.layout.offset,
        a_step: source.layout.strides[axis]!,
        indices_offset: list.layout.offset,
        indices_step: list.layout.strides[0]!,
        row_shape: padAxes(rows.shape, 1),
        a_strides: padAxes(rows.strides[0]!, 0),
      }),
      workgroups: ceilDiv(words, THREADS),
    });
  });
}

/**
 * The gradient of what {@linkcode indexSelect} picked from: zeros to which each index' elements are added.
 * Indices out of range are ignored. The list is searched once for every index of the result and every 256
 * of its elements: time O(size N + elements of the gradient), scratch none.
 *
 * @param gradient A float type, any strides, N along the axis.
 * @param axis Counted from the start.
 * @param indices i32 `[N]`.
 * @param size Size of the axis in the result.
 * @returns A dense array in the gradient's type; sums are in f32.
 */
export function indexAdd(
  runtime: Runtime,
  gradient: DeviceArray,
  axis: number,
  indices: DeviceArray,
  size: number,
): DeviceArray {
  const action = "indexAdd";
  const dtype = floatTypeOf(gradient, action);
  assertIndices(indices, action);
  const { shape } = gradient.layout;
  const count = indices.layout.shape[0]!;
  if (shape[axis] !== count) {
    throw new RangeError(
      `Cannot indexAdd: there are ${count} indices for axis ${axis} of shape ${
        formatShape(shape)
      }, expected ${shape[axis]}`,
    );
  }
  const outShape = shape.with(axis, size);
  assertOneBinding(runtime, action, outShape, "f32");
  const along = withLayout(indices, alongAxis(indices.layout, axis, shape.length));
  const fn: RowFunction = {
    label: "index_add",
    action,
    body: ADD,
    operands: { gradient, indices: along },
    // A word has bits for 32 turns. The compiler need not know how many threads there are to look at.
    values: {
      turns: ["u32", Math.min(32, ceilDiv(count, ROW_THREADS))],
      finders: ["u32", ROW_THREADS],
    },
  };
  const rows = bindRows(runtime, fn, shape, axis);
  const summed = produce(runtime, outShape, "f32", (out) => {
    const workgroups = size * ceilDiv(rows.count, 4 * ROW_THREADS);
    dispatchRows(runtime, fn, rows, out, size, workgroups);
  });
  return narrow(runtime, summed, dtype);
}

/** A list that lies along one of several axes, of which the others have size 1. */
function alongAxis({ shape, strides, offset }: Layout, axis: number, rank: number): Layout {
  const ones = new Array<number>(rank).fill(1);
  const zeros = new Array<number>(rank).fill(0);
  return { shape: ones.with(axis, shape[0]!), strides: zeros.with(axis, strides[0]!), offset };
}

function assertIndices({ dtype, layout: { shape } }: DeviceArray, action: string): void {
  if (dtype !== "i32" || shape.length !== 1) {
    throw new TypeError(
      `Cannot ${action}: indices have dtype ${dtype} and shape ${formatShape(shape)}, ` +
        `expected i32 and one axis; use .to("i32") and .reshape([-1])`,
    );
  }
}

const kernels = new Map<string, Kernel>();

function selectKernel(dtype: DType, rank: number): Kernel {
  const key = `${dtype} ${rank}`;
  let kernel = kernels.get(key);
  if (!kernel) {
    const { wgsl, pack } = encodingOf(dtype);
    const source = /* wgsl */ `${PARAMS.wgsl}
const THREADS = ${THREADS}u;
const ELEMENTS_PER_WORD = ${elementsPerWord(dtype)}u;
alias Value = ${wgsl};
${accessorHelpers([dtype, "i32"])}
fn pack(v: Value, e: u32) -> u32 { return ${pack}; }
${declareOperand("a", 0, dtype)}${declareWalk("a", "row_shape", rank)}
${declareOperand("indices", 1, "i32")}
@group(0) @binding(2) var<storage, read_write> out: array<u32>;
${WORKGROUP_INDEX}${SELECT}`;
    kernels.set(
      key,
      kernel = { label: "index_select", source, bindings: ["read", "read", "write"] },
    );
  }
  return kernel;
}
