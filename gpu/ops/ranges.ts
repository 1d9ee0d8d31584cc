/**
 * How to see a large array in parts. A binding shows a kernel a range of a buffer, from a multiple of
 * 256 bytes and up to `maxStorageBufferBindingSize`; here is the arithmetic on layouts that finds
 * ranges, and cuts of an output for which every range is small enough. Pure: nothing here knows of a GPU.
 */
import type { Layout } from "../layout.ts";
import { BINDING_ALIGNMENT } from "../runtime/kernels.ts";
import { ceilDiv, numel, roundUp } from "../shape.ts";

/** A layout and what its elements take. */
export interface Placed {
  /** Where the elements are. */
  readonly layout: Layout;
  /** Bytes of one element: 1, 2 or 4. */
  readonly bytes: number;
}

/** A range of a buffer, with a layout that counts from the range's begin. */
export interface Window {
  /** First byte, a multiple of 256. */
  readonly offset: number;
  /** Bytes, whole words of 4. */
  readonly size: number;
  /**
   * The layout within the range. Its offset may be negative, where the range lacks the first elements:
   * kernels add the rest in u32 arithmetic, which wraps round.
   */
  readonly layout: Layout;
}

/** Elements `start` to `start + count` of an output in row-major order, and what each operand shows. */
export interface FlatRange {
  /** A multiple of {@linkcode FLAT_STEP}. */
  readonly start: number;
  /** Number of elements. */
  readonly count: number;
  /** For each operand, the window that holds the elements that meet these of the output. */
  readonly windows: readonly Window[];
}

/** Flat ranges begin at multiples of so many elements: of 256 bytes and more, whatever the type. */
export const FLAT_STEP = BINDING_ALIGNMENT;

/** The aligned window that covers all elements of an array; the first word, if there are none. */
export function windowOf({ layout, bytes }: Placed): Window {
  const elements = numel(layout.shape);
  if (elements === 0) return { offset: 0, size: 4, layout: { ...layout, offset: 0 } };
  return windowBetween(layout, bytes, 0, elements - 1);
}

/**
 * Cuts an output into flat ranges so that neither the output's part nor any operand's window is larger
 * than `limit`.
 *
 * @param shape Shape of the output, which lies densely in its buffer.
 * @param bytes Bytes of one of its elements.
 * @param operands Arrays of this shape, broadcast by strides of 0 where need be.
 * @param limit Bytes that one binding may show, at least 1024.
 * @returns The ranges in order, or `undefined` where some operand's elements lie too far apart, as those
 * of a transposed matrix do.
 */
export function flatRanges(
  shape: readonly number[],
  bytes: number,
  operands: readonly Placed[],
  limit: number,
): FlatRange[] | undefined {
  const elements = numel(shape);
  const most = Math.max(FLAT_STEP, Math.floor(limit / bytes / FLAT_STEP) * FLAT_STEP);
  const ranges: FlatRange[] = [];
  for (let start = 0; start < elements;) {
    let count = Math.min(most, elements - start);
    let windows = windowsBetween(operands, start, count);
    while (windows.some(({ size }) => size > limit)) {
      if (count <= FLAT_STEP) return undefined;
      count = roundUp(ceilDiv(count, 2), FLAT_STEP);
      windows = windowsBetween(operands, start, count);
    }
    ranges.push({ start, count, windows });
    start += count;
  }
  return ranges;
}

/**
 * Cuts arrays of one shape into blocks, the same for all, so that no block's window is larger than
 * `limit`. Each step halves the axis that makes the largest window large, so strides may be any.
 *
 * @returns The windows of each block, in the order of the arrays.
 */
export function blocks(arrays: readonly Placed[], limit: number): Window[][] {
  const windows = arrays.map(windowOf);
  const largest = windows.reduce((at, { size }, i) => size > windows[at]!.size ? i : at, 0);
  if (windows[largest]!.size <= limit) return [windows];
  const { shape, strides } = arrays[largest]!.layout;
  const extents = shape.map((size, axis) => (size - 1) * strides[axis]!);
  const axis = extents.indexOf(Math.max(...extents));
  const half = ceilDiv(shape[axis]!, 2);
  const part = (start: number, end: number): Placed[] =>
    arrays.map(({ layout, bytes }) => ({ bytes, layout: cut(layout, axis, start, end) }));
  return [...blocks(part(0, half), limit), ...blocks(part(half, shape[axis]!), limit)];
}

function cut({ shape, strides, offset }: Layout, axis: number, start: number, end: number): Layout {
  return { shape: shape.with(axis, end - start), strides, offset: offset + start * strides[axis]! };
}

function windowsBetween(operands: readonly Placed[], start: number, count: number): Window[] {
  return operands.map(({ layout, bytes }) =>
    windowBetween(layout, bytes, start, start + count - 1)
  );
}

/** The window over the elements from `first` to `last` in row-major order. */
function windowBetween(layout: Layout, bytes: number, first: number, last: number): Window {
  const [low, high] = extent(layout, 0, first, last);
  const begin = Math.floor((layout.offset + low) * bytes / BINDING_ALIGNMENT) * BINDING_ALIGNMENT;
  const end = roundUp((layout.offset + high + 1) * bytes, 4);
  const relative = { ...layout, offset: layout.offset - begin / bytes };
  return { offset: begin, size: end - begin, layout: relative };
}

/** The lowest and the highest position of elements `first` to `last` of the axes from `axis` on. */
function extent(
  layout: Layout,
  axis: number,
  first: number,
  last: number,
): readonly [number, number] {
  if (axis === layout.shape.length) return [0, 0];
  const inner = numel(layout.shape.slice(axis + 1));
  const stride = layout.strides[axis]!;
  if (first === 0 && last === layout.shape[axis]! * inner - 1) {
    return [
      0,
      layout.shape.slice(axis).reduce(
        (sum, size, i) => sum + (size - 1) * layout.strides[axis + i]!,
        0,
      ),
    ];
  }
  const [from, to] = [Math.floor(first / inner), Math.floor(last / inner)];
  if (from === to) {
    return shifted(extent(layout, axis + 1, first % inner, last % inner), from * stride);
  }
  // The rest of the first row, whole rows, and the begin of the last.
  const parts = [
    shifted(extent(layout, axis + 1, first % inner, inner - 1), from * stride),
    shifted(extent(layout, axis + 1, 0, last % inner), to * stride),
  ];
  if (to - from > 1) {
    const [low, high] = shifted(extent(layout, axis + 1, 0, inner - 1), (from + 1) * stride);
    parts.push([low, high + (to - from - 2) * stride]);
  }
  return [Math.min(...parts.map(([low]) => low)), Math.max(...parts.map(([, high]) => high))];
}

function shifted([low, high]: readonly [number, number], by: number): [number, number] {
  return [low + by, high + by];
}
