/**
 * Where the elements of a tensor lie in its buffer: shape, strides and offset, all in elements.
 * Every view (reshape, permute, slice, expand...) is a new layout over the same buffer; these
 * functions are pure and copy nothing.
 */
import { checkedArray, told } from "./checks.ts";
import {
  contiguousStrides,
  formatShape,
  fromStart,
  MAX_RANK,
  normalizeAxis,
  numel,
  sameShape,
} from "./shape.ts";

/** Element `[i, j, ...]` lies at `offset + i * strides[0] + j * strides[1] + ...`. */
export interface Layout {
  /** Size of each axis. */
  readonly shape: readonly number[];
  /** Distance between neighbours along each axis, in elements; 0 along a broadcast axis. */
  readonly strides: readonly number[];
  /** Index of the first element in the buffer. */
  readonly offset: number;
}

/** A row-major layout from the start of a buffer. */
export function contiguousLayout(shape: readonly number[]): Layout {
  return { shape: [...shape], strides: contiguousStrides(shape), offset: 0 };
}

/** Whether the elements lie one after the other in row-major order (from any offset). */
export function isContiguous({ shape, strides }: Layout): boolean {
  let expected = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    if (shape[axis] !== 1 && strides[axis] !== expected) return false;
    expected *= shape[axis]!;
  }
  return true;
}

/** Reorders the axes: axis `i` of the result is axis `order[i]` of the argument. */
export function permuteLayout(layout: Layout, order: readonly number[]): Layout {
  const rank = layout.shape.length;
  const axes = Array.from(checkedArray("permute axes", "order", order))
    .map((axis) => normalizeAxis(axis, rank, "permute axes"));
  if (axes.length !== rank || new Set(axes).size !== rank) {
    throw new RangeError(
      `Cannot permute axes: order ${formatShape(order)} does not name each of ${rank} axes once`,
    );
  }
  return {
    shape: axes.map((axis) => layout.shape[axis]!),
    strides: axes.map((axis) => layout.strides[axis]!),
    offset: layout.offset,
  };
}

/** Elements `start` (inclusive) to `end` (exclusive) along an axis, every `step`-th of them. */
export function sliceLayout(
  layout: Layout,
  axis: number,
  start: number,
  end: number,
  step: number,
): Layout {
  const at = normalizeAxis(axis, layout.shape.length, "slice");
  const size = layout.shape[at]!;
  if (!Number.isInteger(step) || step < 1) {
    throw new RangeError(`Cannot slice: step is ${told(step)}, expected a whole number >= 1`);
  }
  const from = sliceBound(start, size, "start");
  const to = Math.max(from, sliceBound(end, size, "end"));
  const shape = [...layout.shape];
  const strides = [...layout.strides];
  shape[at] = Math.ceil((to - from) / step);
  strides[at] = strides[at]! * step;
  return { shape, strides, offset: layout.offset + from * layout.strides[at]! };
}

/** As in Python, but a bound beyond the axis is an error: a clamp would hide an off-by-one. */
function sliceBound(bound: number, size: number, name: string): number {
  const at = fromStart(bound, size);
  if (!Number.isInteger(bound) || at < 0 || at > size) {
    throw new RangeError(
      `Cannot slice: ${name} is ${told(bound)}, expected a whole number from ${-size} to ${size}`,
    );
  }
  return at;
}

/** Drops an axis by fixing its index. */
export function selectLayout(layout: Layout, axis: number, index: number): Layout {
  const at = normalizeAxis(axis, layout.shape.length, "select");
  const size = layout.shape[at]!;
  const i = fromStart(index, size);
  if (!Number.isInteger(index) || i < 0 || i >= size) {
    throw new RangeError(
      `Cannot select: index ${told(index)} is out of range for axis ${axis} of shape ${
        formatShape(layout.shape)
      }`,
    );
  }
  return {
    shape: layout.shape.toSpliced(at, 1),
    strides: layout.strides.toSpliced(at, 1),
    offset: layout.offset + i * layout.strides[at]!,
  };
}

/** Inserts an axis of size 1. */
export function unsqueezeLayout(layout: Layout, axis: number): Layout {
  const rank = layout.shape.length + 1;
  if (rank > MAX_RANK) {
    throw new RangeError(`Cannot unsqueeze: a tensor has at most ${MAX_RANK} axes`);
  }
  const at = normalizeAxis(axis, rank, "unsqueeze");
  return {
    shape: layout.shape.toSpliced(at, 0, 1),
    strides: layout.strides.toSpliced(at, 0, 0),
    offset: layout.offset,
  };
}

/** Drops one axis of size 1, or all of them. */
export function squeezeLayout(layout: Layout, axis?: number): Layout {
  const at = axis === undefined ? undefined : normalizeAxis(axis, layout.shape.length, "squeeze");
  if (at !== undefined && layout.shape[at] !== 1) {
    throw new RangeError(
      `Cannot squeeze: axis ${axis} of shape ${formatShape(layout.shape)} has size ${
        layout.shape[at]
      }, expected 1`,
    );
  }
  const keep = (_: number, i: number) => at === undefined ? layout.shape[i] !== 1 : i !== at;
  return {
    shape: layout.shape.filter(keep),
    strides: layout.strides.filter(keep),
    offset: layout.offset,
  };
}

/** Repeats axes of size 1 (and adds leading axes) by a stride of 0, without a copy. */
export function expandLayout(layout: Layout, shape: readonly number[]): Layout {
  const fail = (): never => {
    throw new RangeError(
      `Cannot expand shape ${formatShape(layout.shape)} to ${formatShape(shape)}: ` +
        `only axes of size 1 and new leading axes can grow`,
    );
  };
  const lead = shape.length - layout.shape.length;
  if (lead < 0) fail();
  const sizes: number[] = [];
  const strides: number[] = [];
  for (let axis = 0; axis < shape.length; axis++) {
    const have = layout.shape[axis - lead] ?? 1;
    const want = shape[axis] === -1 && axis >= lead ? have : shape[axis]!;
    if ((have !== want && have !== 1) || want < 0) fail();
    sizes.push(want);
    strides.push(have === want && axis >= lead ? layout.strides[axis - lead]! : 0);
  }
  return { shape: sizes, strides, offset: layout.offset };
}

/** Fills in the one -1 that a new shape may have and checks the number of elements. */
export function resolveReshape(from: readonly number[], to: readonly number[]): number[] {
  const fail = (why: string): never => {
    throw new RangeError(`Cannot reshape ${formatShape(from)} to ${formatShape(to)}: ${why}`);
  };
  const odd = to.find((size) => typeof size !== "number");
  if (odd !== undefined) fail(`got ${told(odd)}, expected whole numbers`);
  const unknown = to.filter((size) => size === -1).length;
  if (unknown > 1) fail("only one size may be -1");
  const known = numel(to.filter((size) => size !== -1));
  const total = numel(from);
  const shape = to.map((size) => size === -1 && known > 0 ? total / known : size);
  if (shape.some((size) => !Number.isInteger(size) || size < 0) || numel(shape) !== total) {
    fail(`${total} elements do not fit`);
  }
  return shape;
}

/**
 * The layout of a reshape that copies nothing, or `undefined` where the elements would have to move.
 * Runs of old axes that lie evenly in memory can be cut anew; a new axis may not straddle two runs.
 */
export function reshapeLayout(layout: Layout, shape: readonly number[]): Layout | undefined {
  if (sameShape(layout.shape, shape)) return layout;
  if (numel(shape) === 0) {
    return { shape: [...shape], strides: contiguousStrides(shape), offset: 0 };
  }
  const runs = coalesce([layout.strides], layout.shape);
  const strides = new Array<number>(shape.length);
  let run = runs.shape.length - 1;
  let left = runs.shape[run] ?? 1;
  let stride = runs.strides[0]![run] ?? 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const size = shape[axis]!;
    strides[axis] = stride;
    if (size === 1) continue;
    if (left === 1) {
      run--;
      left = runs.shape[run]!;
      stride = runs.strides[0]![run]!;
      strides[axis] = stride;
    }
    if (left % size !== 0) return undefined;
    left /= size;
    stride *= size;
  }
  return { shape: [...shape], strides, offset: layout.offset };
}

/** A shape with several operands' strides over it. */
export interface Coalesced {
  /** The sizes that remain; never empty. */
  readonly shape: number[];
  /** For each operand, its stride along each remaining axis. */
  readonly strides: number[][];
}

/**
 * Joins neighbouring axes along which every operand advances evenly and drops axes of size 1: the
 * same elements in the same order with fewer axes, so that kernels divide less.
 */
export function coalesce(
  operands: readonly (readonly number[])[],
  shape: readonly number[],
): Coalesced {
  const outShape: number[] = [];
  const outStrides: number[][] = operands.map(() => []);
  for (let axis = 0; axis < shape.length; axis++) {
    const size = shape[axis]!;
    if (size === 1) continue;
    const last = outShape.length - 1;
    const joins = last >= 0 &&
      operands.every((strides, k) => outStrides[k]![last] === strides[axis]! * size);
    if (joins) {
      outShape[last]! *= size;
      operands.forEach((strides, k) => outStrides[k]![last] = strides[axis]!);
    } else {
      outShape.push(size);
      operands.forEach((strides, k) => outStrides[k]!.push(strides[axis]!));
    }
  }
  if (outShape.length === 0) {
    outShape.push(1);
    outStrides.forEach((strides) => strides.push(1));
  }
  return { shape: outShape, strides: outStrides };
}
