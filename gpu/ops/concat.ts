/** Concatenation: each input is copied into its slice of the output. Time and memory O(output). */
import { allocate, type DeviceArray } from "../array.ts";
import { coalesce, type Layout, sliceLayout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, formatShape, numel } from "../shape.ts";
import { declareWalk, padAxes } from "./accessors.ts";
import { copy } from "./map.ts";

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
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = workgroup_index(group, groups) * THREADS + thread;
  if (index < params.elements) { out[at_out(index)] = a[at_a(index)]; }
}
`;

/** Joins arrays of one type along an axis; their other sizes must agree. */
export function concat(
  runtime: Runtime,
  arrays: readonly DeviceArray[],
  axis: number,
): DeviceArray {
  const first = arrays[0]!;
  for (const { dtype, layout } of arrays) {
    if (dtype !== first.dtype) {
      throw new TypeError(
        `Cannot cat: dtypes ${first.dtype} and ${dtype} differ, convert with .to()`,
      );
    }
    const agrees = layout.shape.length === first.layout.shape.length &&
      layout.shape.every((size, i) => i === axis || size === first.layout.shape[i]);
    if (!agrees) {
      throw new RangeError(
        `Cannot cat along axis ${axis}: shapes ${formatShape(first.layout.shape)} and ${
          formatShape(layout.shape)
        } differ elsewhere`,
      );
    }
  }
  // Neighbouring elements of less than a word would race for it, so such types travel as words.
  if (first.dtype === "bool") return concatAsWords(runtime, arrays, axis);
  const length = arrays.reduce((sum, { layout }) => sum + layout.shape[axis]!, 0);
  const out = allocate(runtime, first.layout.shape.with(axis, length), first.dtype);
  let start = 0;
  for (const array of arrays) {
    const end = start + array.layout.shape[axis]!;
    copyInto(runtime, array, out, sliceLayout(out.layout, axis, start, end, 1));
    start = end;
  }
  return out;
}

function concatAsWords(
  runtime: Runtime,
  arrays: readonly DeviceArray[],
  axis: number,
): DeviceArray {
  // The whole as words is the largest of these; if it cannot be, nothing is begun.
  const elements = arrays.reduce((sum, { layout }) => sum + numel(layout.shape), 0);
  runtime.memory.assertFits(4 * elements, "a bool tensor to cat, at 4 bytes an element meanwhile");
  const words = arrays.map((array) => copy(runtime, array, "u32"));
  const joined = concat(runtime, words, axis);
  const out = copy(runtime, joined, arrays[0]!.dtype);
  for (const { storage } of [...words, joined]) storage.release();
  return out;
}

function copyInto(runtime: Runtime, source: DeviceArray, out: DeviceArray, target: Layout): void {
  const elements = numel(target.shape);
  if (elements === 0) return;
  const { shape, strides } = coalesce([source.layout.strides, target.strides], target.shape);
  runtime.kernels.dispatch(copyKernel(shape.length), {
    storages: [source.storage, out.storage],
    params: PARAMS.pack({
      elements,
      a_offset: source.layout.offset,
      out_offset: target.offset,
      shape: padAxes(shape, 1),
      a_strides: padAxes(strides[0]!, 0),
      out_strides: padAxes(strides[1]!, 0),
    }),
    workgroups: ceilDiv(elements, THREADS),
  });
}

const kernels = new Map<number, Kernel>();

function copyKernel(rank: number): Kernel {
  let kernel = kernels.get(rank);
  if (!kernel) {
    const source = [
      PARAMS.wgsl,
      `const THREADS = ${THREADS}u;\n`,
      declareWalk("a", "shape", rank),
      declareWalk("out", "shape", rank),
      WORKGROUP_INDEX,
      BODY,
    ].join("");
    kernel = { label: "cat", source, bindings: ["read", "write"] };
    kernels.set(rank, kernel);
  }
  return kernel;
}
