/**
 * What kernels are given to see of arrays: whole storages as long as these fit a binding, else windows
 * on them. Elementwise kernels go over a large output range by range; others need each array in one
 * window, and say so before they begin.
 */
import { byteSize, type DeviceArray, isDense } from "../array.ts";
import { type DType, elementsPerWord } from "../dtype.ts";
import type { Layout } from "../layout.ts";
import type { Binding } from "../runtime/kernels.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatShape, numel, roundUp } from "../shape.ts";
import { gather } from "./gather.ts";
import { type FlatRange, flatRanges, type Placed, windowOf } from "./ranges.ts";

/** An array as one dispatch sees it. */
export interface BoundArray {
  /** What is bound. */
  readonly binding: Binding;
  /** Element type. */
  readonly dtype: DType;
  /** Where the elements are within what is bound; see `Window` for negative offsets. */
  readonly layout: Layout;
  /** Whether the `i`-th element of this dispatch is the `i`-th of the binding. */
  readonly dense: boolean;
}

/** One dispatch of an elementwise operation: elements `start` to `start + count` of the output. */
export interface Share {
  /** Index of the first element; a multiple of 256. */
  readonly start: number;
  /** Number of elements. */
  readonly count: number;
  /** The operands, with layouts for the whole output's indices. */
  readonly arrays: readonly BoundArray[];
  /** The output's part, whose first element is element `start`. */
  readonly out: Binding;
}

/**
 * Calls `run` for one share after the other until all of the output is written: one share if everything
 * fits a binding. Operands whose elements lie too far apart for that are first gathered in scratch
 * memory, 4 bytes an element.
 *
 * @param arrays Operands, expanded to the shape of the output.
 * @param out A dense array of one element or more.
 * @param run Dispatches a kernel that writes a share.
 */
export function inShares(
  runtime: Runtime,
  arrays: readonly DeviceArray[],
  out: DeviceArray,
  run: (share: Share) => void,
): void {
  const limit = bindingLimit(runtime);
  const isLarge = ({ storage }: DeviceArray) => storage.buffer.size > limit;
  if (![...arrays, out].some(isLarge)) {
    const whole = arrays.map((array) => boundWhole(array));
    run({ start: 0, count: numel(out.layout.shape), arrays: whole, out: out.storage });
    return;
  }
  const plan = rangesOf(arrays, out, limit);
  if (plan) return runRanges(plan, arrays, out, run);
  const scratch: DeviceArray[] = [];
  try {
    const near = arrays.map((array) => {
      if (isDense(array)) return array;
      const gathered = gather(runtime, array);
      scratch.push(gathered);
      return gathered;
    });
    // Dense arrays of the output's own shape advance with it, so there is a plan.
    runRanges(rangesOf(near, out, limit)!, near, out, run);
  } finally {
    for (const { storage } of scratch) storage.release();
  }
}

function rangesOf(arrays: readonly DeviceArray[], out: DeviceArray, limit: number) {
  const { shape } = out.layout;
  return flatRanges(shape, placed(out).bytes, arrays.map(placed), limit);
}

function runRanges(
  ranges: readonly FlatRange[],
  arrays: readonly DeviceArray[],
  out: DeviceArray,
  run: (share: Share) => void,
): void {
  const { bytes } = placed(out);
  for (const { start, count, windows } of ranges) {
    const bound = arrays.map((array, i): BoundArray => {
      const { offset, size, layout } = windows[i]!;
      const binding = { storage: array.storage, offset, size: roundUp(size, VECTOR_BYTES) };
      return { binding, dtype: array.dtype, layout, dense: isDense(array) };
    });
    const size = roundUp(byteSize([count], out.dtype), VECTOR_BYTES);
    run({
      start,
      count,
      arrays: bound,
      out: { storage: out.storage, offset: start * bytes, size },
    });
  }
}

/**
 * The one binding that shows a kernel all of an array.
 *
 * @param action What the kernel does, for the error.
 * @throws {RangeError} If its elements span more than a binding can show.
 */
export function bindArray(runtime: Runtime, action: string, array: DeviceArray): BoundArray {
  const limit = bindingLimit(runtime);
  const { storage, dtype } = array;
  if (storage.buffer.size <= limit) return boundWhole(array);
  const { offset, size, layout } = windowOf(placed(array));
  const { shape } = array.layout;
  if (size > limit) {
    throw tooLarge(action, `an operand of shape ${formatShape(shape)} spans`, size, limit);
  }
  const binding = { storage, offset, size: roundUp(size, VECTOR_BYTES) };
  return { binding, dtype, layout, dense: isDense({ layout }) };
}

/** Throws if a kernel could not write an array of this shape and type in one go. */
export function assertOneBinding(
  runtime: Runtime,
  action: string,
  shape: readonly number[],
  dtype: DType,
): void {
  const { maxStorageBufferBindingSize: limit } = runtime.info.limits;
  const bytes = byteSize(shape, dtype);
  if (bytes > limit) {
    throw tooLarge(action, `a result of shape ${formatShape(shape)} takes`, bytes, limit);
  }
}

/** Kernels read vectors of so many bytes, all of which must be bound. Storages are whole numbers of them. */
const VECTOR_BYTES = 16;

/** Bytes that one binding may show, whole vectors of them. */
function bindingLimit(runtime: Runtime): number {
  const { maxStorageBufferBindingSize: limit } = runtime.info.limits;
  return limit - limit % VECTOR_BYTES;
}

function tooLarge(action: string, what: string, bytes: number, limit: number): RangeError {
  return new RangeError(
    `Cannot ${action}: ${what} ${bytes} bytes, the device's maxStorageBufferBindingSize is ` +
      `${limit}; split the tensor, as with chunk(), and ${action} each part`,
  );
}

function boundWhole(array: DeviceArray): BoundArray {
  const { storage, dtype, layout } = array;
  return { binding: storage, dtype, layout, dense: isDense(array) };
}

function placed({ dtype, layout }: DeviceArray): Placed {
  return { layout, bytes: 4 / elementsPerWord(dtype) };
}
