/** Picking parts of a tensor by lists of indices, and the gradient: what was picked is added where it came from. */
import { asNumber, told } from "../checks.ts";
import { record } from "../autograd/record.ts";
import { indexAdd, indexSelect as indexSelectOf } from "../ops/index_select.ts";
import type { IntegerList } from "../parse.ts";
import { formatShape, fromStart, normalizeAxis } from "../shape.ts";
import { arrayOf, arrayOn } from "./base.ts";
import { derive } from "./derive.ts";
import type { Tensor } from "./tensor.ts";

/** The parts of a tensor at some indices along an axis, in their order. */
export function indexSelect(
  tensor: Tensor,
  axis: number,
  indices: Tensor | IntegerList,
): Tensor {
  const at = normalizeAxis(axis, tensor.ndim, "indexSelect");
  const size = arrayOf(tensor).layout.shape[at]!;
  const list = isList(indices)
    ? tensor.device.tensor(new Int32Array(placesOf(indices, size, axis)))
    : onDevice(tensor, indices);
  try {
    const places = arrayOf(list);
    const out = derive(tensor, (runtime, array) => indexSelectOf(runtime, array, at, places));
    record({
      name: "indexSelect",
      inputs: [tensor],
      outputs: [out],
      saves: [list],
      backward: ([gradient], [saved]) => [
        derive(gradient!, (runtime, array) => indexAdd(runtime, array, at, arrayOf(saved!), size)),
      ],
    });
    return out;
  } finally {
    list.dispose();
  }
}

function isList(indices: Tensor | IntegerList): indices is IntegerList {
  return Array.isArray(indices) || ArrayBuffer.isView(indices);
}

/** Indices that count from the start, all checked. */
function placesOf(indices: IntegerList, size: number, axis: number): number[] {
  // A hole in the list is no index.
  return Array.from<unknown, number>(indices, (index) => {
    const place = fromStart(asNumber(index) as number, size);
    if (!Number.isInteger(place) || place < 0 || place >= size) {
      throw new RangeError(
        `Cannot indexSelect: index ${told(index)} is out of range for axis ${axis} of size ${size}`,
      );
    }
    return place;
  });
}

/** Indices as the kernels want them. A handle of its own. */
function onDevice(tensor: Tensor, indices: Tensor): Tensor {
  const { dtype, layout: { shape } } = arrayOn(
    tensor.device,
    indices,
    "indexSelect",
    "indices",
  );
  if (dtype !== "i32" && dtype !== "u32") {
    throw new TypeError(
      `Cannot indexSelect: indices have dtype ${dtype}, expected i32 or u32, convert with .to("i32")`,
    );
  }
  if (shape.length !== 1) {
    throw new RangeError(
      `Cannot indexSelect: indices have shape ${formatShape(shape)}, expected one axis`,
    );
  }
  return indices.to("i32");
}
