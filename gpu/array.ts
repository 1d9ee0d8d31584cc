/** The low-level tensor: a storage, an element type and a layout. Operations take and return these. */
import { contiguousLayout, isContiguous, type Layout } from "./layout.ts";
import { type DType, elementsPerWord } from "./dtype.ts";
import { formatShape, numel } from "./shape.ts";
import type { Storage } from "./runtime/memory.ts";
import type { Runtime } from "./runtime/runtime.ts";

/**
 * A strided array on the device. It does not own its storage: whoever made it releases it, a
 * `Tensor` above does so when it is disposed.
 */
export interface DeviceArray {
  /** Where the bytes are. */
  readonly storage: Storage;
  /** What an element is. */
  readonly dtype: DType;
  /** Where each element is. */
  readonly layout: Layout;
}

/** Kernels count elements in 32 bits. */
const MAX_ELEMENTS = 2 ** 32 - 1;

/** A new row-major array, whose contents are arbitrary until a kernel writes them. */
export function allocate(
  runtime: Runtime,
  shape: readonly number[],
  dtype: DType,
): DeviceArray {
  runtime.faults.assertAlive();
  const elements = numel(shape);
  if (elements > MAX_ELEMENTS) {
    throw new RangeError(
      `Cannot allocate a tensor of shape ${formatShape(shape)}: it has ${elements} elements, ` +
        `expected at most ${MAX_ELEMENTS}; split the tensor`,
    );
  }
  const storage = runtime.memory.acquire(
    byteSize(shape, dtype),
    `a tensor of shape ${formatShape(shape)} and dtype ${dtype}`,
  );
  return { storage, dtype, layout: contiguousLayout(shape) };
}

/**
 * A new row-major array and what a function writes to it; if the function throws, the array's memory is
 * given back.
 */
export function produce(
  runtime: Runtime,
  shape: readonly number[],
  dtype: DType,
  write: (out: DeviceArray) => void,
): DeviceArray {
  const out = allocate(runtime, shape, dtype);
  try {
    write(out);
  } catch (error) {
    out.storage.release();
    throw error;
  }
  return out;
}

/** Bytes that the elements take, rounded up to whole words. */
export function byteSize(shape: readonly number[], dtype: DType): number {
  return Math.ceil(numel(shape) / elementsPerWord(dtype)) * 4;
}

/** Whether the elements are the first bytes of the storage, in order. */
export function isDense({ layout }: Pick<DeviceArray, "layout">): boolean {
  return layout.offset === 0 && isContiguous(layout);
}

/** The same elements under another layout. */
export function withLayout(array: DeviceArray, layout: Layout): DeviceArray {
  return { ...array, layout };
}
