/** Views of a tensor, copies and conversions: the same elements elsewhere; so are their gradients. */
import { checkedArray, told } from "../checks.ts";
import { withLayout } from "../array.ts";
import type { Gradients } from "../autograd/graph.ts";
import { record } from "../autograd/record.ts";
import { assertDType, type DType, isFloat } from "../dtype.ts";
import {
  contiguousLayout,
  expandLayout,
  isContiguous,
  type Layout,
  permuteLayout,
  reshapeLayout,
  resolveReshape,
  selectLayout,
  sliceLayout,
  squeezeLayout,
  unsqueezeLayout,
} from "../layout.ts";
import { embed } from "../ops/embed.ts";
import { copy } from "../ops/map.ts";
import { assertShape, normalizeAxis } from "../shape.ts";
import { arrayOf } from "./base.ts";
import { derive, linked, unlinked, viewOf } from "./derive.ts";
import { cat, stack } from "./join.ts";
import type { Tensor } from "./tensor.ts";

/** Another shape of as many elements; copies only if strides demand it. */
export function reshape(tensor: Tensor, shape: readonly number[]): Tensor {
  const before = tensor.shape;
  checkedArray("reshape", "shape", shape);
  const out = derive(tensor, (runtime, array) => {
    const resolved = resolveReshape(before, shape);
    assertShape(resolved, "reshape");
    const layout = reshapeLayout(array.layout, resolved);
    if (!layout) {
      const dense = copy(runtime, array);
      return withLayout(dense, reshapeLayout(dense.layout, resolved)!);
    }
    array.storage.retain();
    return withLayout(array, layout);
  });
  return linked("reshape", tensor, out, (gradient) => gradient.reshape(before));
}

/** Axes in another order. */
export function permute(tensor: Tensor, order: readonly number[]): Tensor {
  const out = viewOf(tensor, (layout) => permuteLayout(layout, order));
  const axes = order.map((axis) => axis < 0 ? axis + order.length : axis);
  return linked(
    "permute",
    tensor,
    out,
    (gradient) => gradient.permute(axes.map((_, axis) => axes.indexOf(axis))),
  );
}

/** Two axes exchanged. */
export function transpose(tensor: Tensor, a: number, b: number): Tensor {
  const axes = tensor.shape.map((_, axis) => axis);
  const i = normalizeAxis(a, tensor.ndim, "transpose");
  const j = normalizeAxis(b, tensor.ndim, "transpose");
  return permute(tensor, axes.with(i, j).with(j, i));
}

/** Elements `start` to `end` along an axis, every `step`-th of them. */
export function slice(
  tensor: Tensor,
  axis: number,
  start: number,
  end: number | undefined,
  step: number,
): Tensor {
  const to = end ?? tensor.shape[normalizeAxis(axis, tensor.ndim, "slice")]!;
  return part("slice", tensor, (layout) => sliceLayout(layout, axis, start, to, step));
}

/** One index along an axis, which is dropped. */
export function select(tensor: Tensor, axis: number, index: number): Tensor {
  return part("select", tensor, (layout) => selectLayout(layout, axis, index));
}

/** Some of the elements. The gradient has zeros in place of the others. */
function part(name: string, tensor: Tensor, partOf: (layout: Layout) => Layout): Tensor {
  const { shape } = tensor;
  return linked(name, tensor, viewOf(tensor, partOf), (gradient) =>
    derive(
      gradient,
      (runtime, array) => embed(runtime, array, shape, partOf(contiguousLayout(shape))),
    ));
}

/** All indices along an axis, each as a tensor without it. One operation, whose gradient is a stack. */
export function unbind(tensor: Tensor, axis: number): Tensor[] {
  const at = normalizeAxis(axis, tensor.ndim, "unbind");
  assertPieces("unbind", tensor.shape[at]!);
  const outputs = viewsOf(tensor, tensor.shape[at]!, (layout, i) => selectLayout(layout, at, i));
  const shapes = outputs.map(({ shape }) => shape);
  record({
    name: "unbind",
    inputs: [tensor],
    outputs,
    backward: (gradients) => [stack(withZeros(gradients, shapes), at)],
  });
  return outputs;
}

/** At most `count` pieces of equal size along an axis. One operation, whose gradient is a concatenation. */
export function chunk(tensor: Tensor, count: number, axis: number): Tensor[] {
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`Cannot chunk: count is ${told(count)}, expected a whole number >= 1`);
  }
  const at = normalizeAxis(axis, tensor.ndim, "chunk");
  const size = tensor.shape[at]!;
  const piece = Math.max(1, Math.ceil(size / count));
  const pieces = Math.max(1, Math.ceil(size / piece));
  assertPieces("chunk", pieces);
  const outputs = viewsOf(tensor, pieces, (layout, i) => {
    return sliceLayout(layout, at, i * piece, Math.min(size, (i + 1) * piece), 1);
  });
  const shapes = outputs.map(({ shape }) => shape);
  record({
    name: "chunk",
    inputs: [tensor],
    outputs,
    backward: (gradients) => [cat(withZeros(gradients, shapes), at)],
  });
  return outputs;
}

/** Tensors that one call may make: expanded axes may be longer than any list. */
const MAX_PIECES = 2 ** 20;

function assertPieces(action: string, pieces: number): void {
  if (pieces <= MAX_PIECES) return;
  throw new RangeError(
    `Cannot ${action}: that makes ${pieces} tensors, expected at most ${MAX_PIECES}; slice() first`,
  );
}

function viewsOf(
  tensor: Tensor,
  count: number,
  layoutOf: (layout: Layout, i: number) => Layout,
): Tensor[] {
  return Array.from({ length: count }, (_, i) => viewOf(tensor, (layout) => layoutOf(layout, i)));
}

/** Zeros, one element each in memory, in place of gradients that are not there. */
function withZeros(gradients: Gradients, shapes: readonly (readonly number[])[]): Tensor[] {
  const { device, dtype } = gradients.find((gradient) => gradient !== undefined)!;
  return gradients.map((gradient, i) => gradient ?? device.zeros([], { dtype }).expand(shapes[i]!));
}

/** Axes of size 1 repeated, and new leading axes. The gradient is summed over these by the engine. */
export function expand(tensor: Tensor, shape: readonly number[]): Tensor {
  const sizes = Array.from(checkedArray("expand", "shape", shape));
  assertShape(sizes.map((size) => size === -1 ? 1 : size), "expand");
  const out = viewOf(tensor, (layout) => expandLayout(layout, shape));
  return linked("expand", tensor, out, (gradient) => gradient);
}

/** Without axes of size 1: all of them, or the one named. */
export function squeeze(tensor: Tensor, axis: number | undefined): Tensor {
  const { shape } = tensor;
  const out = viewOf(tensor, (layout) => squeezeLayout(layout, axis));
  return linked("squeeze", tensor, out, (gradient) => gradient.reshape(shape));
}

/** With a new axis of size 1. */
export function unsqueeze(tensor: Tensor, axis: number): Tensor {
  const { shape } = tensor;
  const out = viewOf(tensor, (layout) => unsqueezeLayout(layout, axis));
  return linked("unsqueeze", tensor, out, (gradient) => gradient.reshape(shape));
}

/** The same elements in row-major order: a view if they are already, else a copy. */
export function contiguous(tensor: Tensor): Tensor {
  const out = isContiguous(arrayOf(tensor).layout)
    ? viewOf(tensor, (layout) => layout)
    : derive(tensor, copy);
  return linked("contiguous", tensor, out, (gradient) => gradient);
}

/** A copy in memory of its own. */
export function clone(tensor: Tensor): Tensor {
  return linked("clone", tensor, derive(tensor, copy), (gradient) => gradient);
}

/** The elements converted; a view if nothing changes. Gradients flow between floats, converted back. */
export function to(tensor: Tensor, dtype: DType): Tensor {
  const array = arrayOf(tensor);
  assertDType(dtype, "convert a tensor");
  const out = dtype === array.dtype
    ? viewOf(tensor, (layout) => layout)
    : derive(tensor, (runtime) => copy(runtime, array, dtype));
  return isFloat(dtype)
    ? linked("to", tensor, out, (gradient) => gradient)
    : unlinked(`to("${dtype}")`, [tensor], out);
}
