/** The low-level tensor: a storage, an element type and a layout. Operations take and return these. */
import { contiguousLayout, isContiguous, type Layout } from "./layout.ts";
import { elementsPerWord, type SupportedDType } from "./dtype.ts";
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
  readonly dtype: SupportedDType;
  /** Where each element is. */
  readonly layout: Layout;
}

/** A new row-major array, whose contents are arbitrary until a kernel writes them. */
export function allocate(
  runtime: Runtime,
  shape: readonly number[],
  dtype: SupportedDType,
): DeviceArray {
  runtime.faults.assertAlive();
  const storage = runtime.memory.acquire(
    byteSize(shape, dtype),
    `a tensor of shape ${formatShape(shape)} and dtype ${dtype}`,
  );
  return { storage, dtype, layout: contiguousLayout(shape) };
}

/** Bytes that the elements take, rounded up to whole words. */
export function byteSize(shape: readonly number[], dtype: SupportedDType): number {
  return Math.ceil(numel(shape) / elementsPerWord(dtype)) * 4;
}

/** Whether the elements are the first bytes of the storage, in order. */
export function isDense({ layout }: DeviceArray): boolean {
  return layout.offset === 0 && isContiguous(layout);
}

/** The same elements under another layout. */
export function withLayout(array: DeviceArray, layout: Layout): DeviceArray {
  return { ...array, layout };
}
