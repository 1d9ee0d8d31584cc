/**
 * Row-major copies of arrays whose elements lie across: along the copy's last axis they are far apart, along
 * another they are neighbours. A workgroup takes a square tile, reads it along the one axis and writes it along
 * the other, so that both are whole lines of memory. Time O(elements).
 */
import { type DeviceArray, produce } from "../array.ts";
import { wordType } from "../dtype.ts";
import { coalesce, type Layout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, contiguousStrides, numel } from "../shape.ts";
import { declareWalk, padAxes } from "./accessors.ts";

/** Elements along each side of a tile, and rows of them that a workgroup's threads take at a time. */
const TILE = 32;
const ROWS = 8;

/** Axes shorter than this are not worth a tile. */
const MIN_SIDE = 16;

const PARAMS = paramStruct({
  /** Sizes of the axis whose elements are neighbours in the source, and of that in the copy. */
  near: "u32",
  last: "u32",
  tiles_near: "u32",
  tiles_last: "u32",
  batch: "u32",
  /** Distance of elements along the last axis in the source, along the near one in the copy. */
  a_step: "u32",
  out_step: "u32",
  a_offset: "u32",
  out_offset: "u32",
  batch_shape: "axes",
  a_strides: "axes",
  out_strides: "axes",
});

const BODY = /* wgsl */ `
@group(0) @binding(0) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read_write> out: array<u32>;
var<workgroup> tile: array<u32, TILE * PITCH>;

@compute @workgroup_size(TILE * ROWS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let job = workgroup_index(group, groups);
  let column = thread % TILE;
  let row = thread / TILE;
  let near = job % params.tiles_near * TILE;
  let last = job / params.tiles_near % params.tiles_last * TILE;
  let batch = job / params.tiles_near / params.tiles_last;
  let source = at_a(batch);
  let goal = at_out(batch);
  for (var r = row; r < TILE; r += ROWS) {
    if (near + column < params.near && last + r < params.last) {
      tile[r * PITCH + column] = a[source + near + column + (last + r) * params.a_step];
    }
  }
  workgroupBarrier();
  for (var r = row; r < TILE; r += ROWS) {
    if (near + r < params.near && last + column < params.last && batch < params.batch) {
      out[goal + (near + r) * params.out_step + last + column] = tile[column * PITCH + r];
    }
  }
}
`;

/**
 * A row-major copy, if this is a way to make it: the elements have 4 bytes each, and are neighbours along an axis
 * other than the last.
 *
 * @returns A dense array, or `undefined` for all other layouts.
 */
export function transposedCopy(runtime: Runtime, array: DeviceArray): DeviceArray | undefined {
  const { dtype, storage, layout } = array;
  const { isFallback, limits } = runtime.info;
  const { shape, strides: [strides] } = coalesce([layout.strides], layout.shape);
  const last = shape.length - 1;
  const near = strides!.indexOf(1);
  const isAcross = near >= 0 && near < last && shape[near]! >= MIN_SIDE && shape[last]! >= MIN_SIDE;
  // A CPU caches what it reads, and waits at barriers.
  const isWorthwhile = isAcross && !isFallback && wordType(dtype) === dtype;
  if (!isWorthwhile || storage.buffer.size > limits.maxStorageBufferBindingSize) return undefined;
  return produce(runtime, layout.shape, dtype, (out) => {
    if (numel(shape) === 0) return;
    dispatch(runtime, array, out, { shape, strides: strides!, offset: layout.offset }, near);
  });
}

function dispatch(
  runtime: Runtime,
  array: DeviceArray,
  out: DeviceArray,
  { shape, strides, offset }: Layout,
  near: number,
): void {
  const last = shape.length - 1;
  const outStrides = contiguousStrides(shape);
  const isBatch = (_: number, axis: number) => axis !== near && axis !== last;
  const batch = coalesce(
    [strides.filter(isBatch), outStrides.filter(isBatch)],
    shape.filter(isBatch),
  );
  const tiles = [near, last].map((axis) => ceilDiv(shape[axis]!, TILE));
  const matrices = numel(batch.shape);
  runtime.kernels.dispatch(transposeKernel(batch.shape.length), {
    storages: [array.storage, out.storage],
    params: PARAMS.pack({
      near: shape[near]!,
      last: shape[last]!,
      tiles_near: tiles[0]!,
      tiles_last: tiles[1]!,
      batch: matrices,
      a_step: strides[last]!,
      out_step: outStrides[near]!,
      a_offset: offset,
      out_offset: 0,
      batch_shape: padAxes(batch.shape, 1),
      a_strides: padAxes(batch.strides[0]!, 0),
      out_strides: padAxes(batch.strides[1]!, 0),
    }),
    workgroups: tiles[0]! * tiles[1]! * matrices,
  });
}

const kernels = new Map<number, Kernel>();

/** @param rank Number of axes other than the two. */
function transposeKernel(rank: number): Kernel {
  let kernel = kernels.get(rank);
  if (!kernel) {
    const source = [
      PARAMS.wgsl,
      // One more than a row: elements of a column then lie in different banks.
      `const TILE = ${TILE}u;\nconst ROWS = ${ROWS}u;\nconst PITCH = ${TILE + 1}u;\n`,
      declareWalk("a", "batch_shape", rank),
      declareWalk("out", "batch_shape", rank),
      WORKGROUP_INDEX,
      BODY,
    ].join("");
    kernels.set(rank, kernel = { label: "transpose", source, bindings: ["read", "write"] });
  }
  return kernel;
}
