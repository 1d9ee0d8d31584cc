/** An array as a part of zeros: the gradient of slices and selections. Time and memory O(result). */
import { byteSize, type DeviceArray } from "../array.ts";
import { wordType } from "../dtype.ts";
import type { Layout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatShape, sameShape } from "../shape.ts";
import { gatherInto } from "./gather.ts";
import { fill, narrow } from "./map.ts";

/**
 * Zeros with an array's elements at some places.
 *
 * @param source The elements; any type, any strides.
 * @param shape Shape of the result.
 * @param region Where in a contiguous array of that shape the elements go, as `sliceLayout` and
 * `selectLayout` say; as many as the source has, no two at one place.
 * @returns A dense array in the source's type.
 */
export function embed(
  runtime: Runtime,
  source: DeviceArray,
  shape: readonly number[],
  region: Layout,
): DeviceArray {
  if (!sameShape(source.layout.shape, region.shape)) {
    throw new RangeError(
      `Cannot embed: the array has shape ${formatShape(source.layout.shape)}, expected that of ` +
        `its region, ${formatShape(region.shape)}`,
    );
  }
  // Neighbouring elements of less than a word would race for it, so such types travel as words.
  const words = wordType(source.dtype);
  const meanwhile = words === source.dtype ? "" : ", at 4 bytes an element meanwhile";
  const what = `a ${source.dtype} tensor of shape ${formatShape(shape)} to embed in${meanwhile}`;
  runtime.memory.assertFits(byteSize(shape, words), what);
  const wide = fill(runtime, shape, words, 0);
  try {
    gatherInto(runtime, source, wide, region);
  } catch (error) {
    wide.storage.release();
    throw error;
  }
  return narrow(runtime, wide, source.dtype);
}
