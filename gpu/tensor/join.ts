/** Functions of several tensors. */
import { assertArguments, checkedArray } from "../checks.ts";
import { withLayout } from "../array.ts";
import { record } from "../autograd/record.ts";
import type { Device } from "../device.ts";
import { unsqueezeLayout } from "../layout.ts";
import { concat } from "../ops/concat.ts";
import { normalizeAxis } from "../shape.ts";
import { arrayOf, arrayOn, assertTensor } from "./base.ts";
import { derive } from "./derive.ts";
import type { Tensor } from "./tensor.ts";

/**
 * Tensors joined along an axis; their other sizes and their dtypes must agree.
 *
 * @param tensors At least one.
 * @param axis The axis along which sizes add up.
 */
export function cat(tensors: readonly Tensor[], axis = 0): Tensor {
  assertArguments("cat", arguments, 2, "write cat([x, y], axis)");
  const first = firstOf(tensors, "cat");
  const at = normalizeAxis(axis, first.ndim, "cat");
  const arrays = arraysOf(first.device, tensors);
  const out = derive(first, (runtime) => concat(runtime, arrays, at));
  const sizes = tensors.map(({ shape }) => shape[at]!);
  record({
    name: "cat",
    inputs: tensors,
    outputs: [out],
    backward: ([gradient], _, needs) => {
      let end = 0;
      return sizes.map((size, i) => {
        end += size;
        return needs[i] ? gradient!.slice(at, end - size, end) : undefined;
      });
    },
  });
  return out;
}

/**
 * Tensors of one shape joined along a new axis.
 *
 * @param tensors At least one.
 * @param axis Where the new axis stands in the result.
 */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  assertArguments("stack", arguments, 2, "write stack([x, y], axis)");
  const first = firstOf(tensors, "stack");
  const at = normalizeAxis(axis, first.ndim + 1, "stack");
  const arrays = arraysOf(first.device, tensors)
    .map((array) => withLayout(array, unsqueezeLayout(array.layout, at)));
  const out = derive(first, (runtime) => concat(runtime, arrays, at));
  record({
    name: "stack",
    inputs: tensors,
    outputs: [out],
    backward: ([gradient], _, needs) =>
      needs.map((need, index) => need ? gradient!.select(at, index) : undefined),
  });
  return out;
}

function firstOf(tensors: readonly Tensor[], action: string): Tensor {
  const [first] = checkedArray(action, "tensors", tensors);
  if (tensors.length === 0) {
    throw new RangeError(`Cannot ${action} no tensors: at least one is needed`);
  }
  for (const [i, tensor] of tensors.entries()) assertTensor(action, `tensors[${i}]`, tensor);
  arrayOf(first!);
  return first!;
}

function arraysOf(device: Device, tensors: readonly Tensor[]) {
  return tensors.map((tensor) => arrayOn(device, tensor));
}
