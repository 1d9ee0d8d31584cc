/** Concatenation: each input is copied into its slice of the output. Time and memory O(output). */
import { byteSize, type DeviceArray, produce } from "../array.ts";
import { wordType } from "../dtype.ts";
import { sliceLayout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { formatShape } from "../shape.ts";
import { gatherInto } from "./gather.ts";
import { narrow } from "./map.ts";

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
  const length = arrays.reduce((sum, { layout }) => sum + layout.shape[axis]!, 0);
  const shape = first.layout.shape.with(axis, length);
  // Neighbouring elements of less than a word would race for it, so such types travel as words.
  const words = wordType(first.dtype);
  const meanwhile = words === first.dtype ? "" : ", at 4 bytes an element meanwhile";
  const what = `a ${first.dtype} tensor of shape ${formatShape(shape)} to cat${meanwhile}`;
  runtime.memory.assertFits(byteSize(shape, words), what);
  const joined = produce(runtime, shape, words, (out) => {
    let start = 0;
    for (const array of arrays) {
      const end = start + array.layout.shape[axis]!;
      gatherInto(runtime, array, out, sliceLayout(out.layout, axis, start, end, 1));
      start = end;
    }
  });
  return narrow(runtime, joined, first.dtype);
}
