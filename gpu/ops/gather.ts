/**
 * Copies elements from anywhere to anywhere, one a thread: any strides on either side. Every element has
 * a 32-bit word of the target, since neighbours within a word would race for it. Arrays larger than a
 * binding are copied block by block. Time O(elements).
 */
import { type DeviceArray, produce } from "../array.ts";
import { type DType, elementsPerWord, wordType } from "../dtype.ts";
import { coalesce, type Layout } from "../layout.ts";
import { type Binding, type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import type { Storage } from "../runtime/memory.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, numel } from "../shape.ts";
import { accessorHelpers, declareOperand, declareWalk, padAxes } from "./accessors.ts";
import { blocks, type Window } from "./ranges.ts";

const THREADS = 128;

const PARAMS = paramStruct({
  elements: "u32",
  a_offset: "u32",
  out_offset: "u32",
  shape: "axes",
  a_strides: "axes",
  out_strides: "axes",
});

const BODY = /* wgsl */ `
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = workgroup_index(group, groups) * THREADS + thread;
  if (index < params.elements) { out[at_out(index)] = bitcast<u32>(load_a(at_a(index))); }
}
`;

/** The elements of an array, densely, each widened to a word of {@linkcode wordType}. */
export function gather(runtime: Runtime, source: DeviceArray): DeviceArray {
  return produce(runtime, source.layout.shape, wordType(source.dtype), (out) => {
    gatherInto(runtime, source, out, out.layout);
  });
}

/**
 * Copies an array into a part of another.
 *
 * @param source The elements.
 * @param out An array of the source's {@linkcode wordType}.
 * @param target Where in `out` the elements go; as many as the source has.
 */
export function gatherInto(
  runtime: Runtime,
  source: DeviceArray,
  out: DeviceArray,
  target: Layout,
): void {
  if (numel(target.shape) === 0) return;
  const { shape, strides } = coalesce([source.layout.strides, target.strides], target.shape);
  const arrays = [source, { ...out, layout: target }].map(({ dtype, layout: { offset } }, i) => ({
    layout: { shape, strides: strides[i]!, offset },
    bytes: 4 / elementsPerWord(dtype),
  }));
  const { maxStorageBufferBindingSize: limit } = runtime.info.limits;
  const fits = [source, out].every(({ storage }) => storage.buffer.size <= limit);
  if (fits) {
    dispatch(runtime, source.dtype, [source.storage, out.storage], arrays.map((a) => a.layout));
    return;
  }
  for (const windows of blocks(arrays, limit)) {
    const bindings = [source, out].map(({ storage }, i) => rangeOf(storage, windows[i]!));
    dispatch(runtime, source.dtype, bindings, windows.map((window) => window.layout));
  }
}

function rangeOf(storage: Storage, { offset, size }: Window): Binding {
  return { storage, offset, size };
}

function dispatch(
  runtime: Runtime,
  dtype: DType,
  storages: readonly Binding[],
  layouts: readonly Layout[],
): void {
  const [a, out] = layouts as [Layout, Layout];
  const elements = numel(a.shape);
  runtime.kernels.dispatch(gatherKernel(dtype, a.shape.length), {
    storages,
    params: PARAMS.pack({
      elements,
      a_offset: a.offset,
      out_offset: out.offset,
      shape: padAxes(a.shape, 1),
      a_strides: padAxes(a.strides, 0),
      out_strides: padAxes(out.strides, 0),
    }),
    workgroups: ceilDiv(elements, THREADS),
  });
}

const kernels = new Map<string, Kernel>();

function gatherKernel(dtype: DType, rank: number): Kernel {
  // Words are copied as they are, whatever they stand for.
  const read = elementsPerWord(dtype) === 1 ? "u32" : dtype;
  const key = `${read} ${rank}`;
  let kernel = kernels.get(key);
  if (!kernel) {
    const source = [
      PARAMS.wgsl,
      `const THREADS = ${THREADS}u;\n`,
      accessorHelpers([read]),
      declareOperand("a", 0, read),
      declareWalk("a", "shape", rank),
      declareWalk("out", "shape", rank),
      WORKGROUP_INDEX,
      BODY,
    ].join("");
    kernel = { label: "gather", source, bindings: ["read", "write"] };
    kernels.set(key, kernel);
  }
  return kernel;
}
