/** Pure arithmetic on shapes, axes and dispatch grids. Nothing here knows of a GPU. */

import { checkedArray, told } from "./checks.ts";

/** The number of elements of a tensor of this shape; 1 for a scalar's empty shape. */
export function numel(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: readonly number[]): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}

/** `a / b`, rounded up. */
export function ceilDiv(a: number, b: number): number {
  return Math.ceil(a / b);
}

/** The least multiple of `multiple` that is not below `value`. */
export function roundUp(value: number, multiple: number): number {
  return ceilDiv(value, multiple) * multiple;
}

/** `[2, 3]`, the way every error message shows a shape. */
export function formatShape(shape: readonly number[]): string {
  return `[${Array.from(shape, told).join(", ")}]`;
}

/**
 * Throws unless every entry is a size a tensor axis can have.
 *
 * @param shape The shape to look at.
 * @param action What the caller was about to do, for the message: `create a tensor`.
 */
export function assertShape(shape: readonly number[], action: string): void {
  if (!Array.isArray(shape)) {
    throw new TypeError(
      `Cannot ${action}: shape is ${told(shape)}, expected a list, as in [1, 2, 3]`,
    );
  }
  for (const size of shape) {
    if (!Number.isSafeInteger(size) || size < 0) {
      throw new RangeError(
        `Cannot ${action}: shape ${formatShape(shape)} has size ${
          told(size)
        }, expected whole numbers >= 0`,
      );
    }
  }
  if (shape.length > MAX_RANK) {
    throw new RangeError(
      `Cannot ${action}: shape ${
        formatShape(shape)
      } has ${shape.length} axes, at most ${MAX_RANK} are supported`,
    );
  }
}

/** The most axes a tensor may have. Kernels carry shapes and strides in fixed-size uniforms. */
export const MAX_RANK = 8;

/** An index counted from the end, as in -1, as one counted from the start; what is no whole number as it is. */
export function fromStart(index: number, size: number): number {
  return Number.isInteger(index) && index < 0 ? index + size : index;
}

/** An axis counted from the end, as in -1, becomes one counted from the start. */
export function normalizeAxis(axis: number, rank: number, action: string): number {
  const normalized = fromStart(axis, rank);
  if (!Number.isInteger(axis) || normalized < 0 || normalized >= rank) {
    throw new RangeError(
      `Cannot ${action}: axis ${told(axis)} is out of range for a tensor of ${rank} axes` +
        (rank > 0 ? `, expected ${-rank} to ${rank - 1}` : ""),
    );
  }
  return normalized;
}

/** One axis, several or (when left out) all of them, counted from the start and in ascending order. */
export function normalizeAxes(
  axes: number | readonly number[] | undefined,
  rank: number,
  action: string,
): number[] {
  if (axes === undefined) return Array.from({ length: rank }, (_, axis) => axis);
  const list = Array.from(typeof axes === "number" ? [axes] : checkedArray(action, "axis", axes))
    .map((axis) => normalizeAxis(axis, rank, action));
  if (new Set(list).size !== list.length) {
    throw new RangeError(`Cannot ${action}: axes [${axes}] name one axis twice`);
  }
  return list.sort((a, b) => a - b);
}

/** The shape that both broadcast to, by NumPy's rule: align at the end; sizes agree or one is 1. */
export function broadcastShapes(
  a: readonly number[],
  b: readonly number[],
  action: string,
): number[] {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, axis) => {
    const sizeA = a[axis - rank + a.length] ?? 1;
    const sizeB = b[axis - rank + b.length] ?? 1;
    if (sizeA !== sizeB && sizeA !== 1 && sizeB !== 1) {
      throw new RangeError(
        `Cannot ${action}: shapes ${formatShape(a)} and ${formatShape(b)} do not broadcast, ` +
          `axis ${axis - rank} has ${sizeA} and ${sizeB}`,
      );
    }
    return sizeA === 1 ? sizeB : sizeA;
  });
}

/** Two shapes that are the same, size by size. */
export function sameShape(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((size, axis) => size === b[axis]);
}

/**
 * Spreads `count` workgroups over the three dispatch dimensions, none of which may exceed `limit`
 * (65,535 on every adapter). A kernel gets its number back from
 * `id.x + num_workgroups.x * (id.y + num_workgroups.y * id.z)` and must ignore numbers >= `count`.
 */
export function splitGrid(count: number, limit: number): [number, number, number] {
  if (count <= limit) return [count, 1, 1];
  const y = ceilDiv(count, limit);
  if (y <= limit) return [ceilDiv(count, y), y, 1];
  const z = ceilDiv(count, limit * limit);
  if (z > limit) {
    throw new RangeError(
      `Cannot dispatch ${count} workgroups: the device takes at most ${limit}^3`,
    );
  }
  return [limit, limit, z];
}
