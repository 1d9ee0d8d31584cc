/** Functions of several tensors. */
import { withLayout } from "../array.ts";
import type { Device } from "../device.ts";
import { unsqueezeLayout } from "../layout.ts";
import { concat } from "../ops/concat.ts";
import { runtimeOf } from "../device.ts";
import { normalizeAxis } from "../shape.ts";
import { arrayOf, arrayOn } from "./base.ts";
import { type Tensor, tensorFrom } from "./tensor.ts";

/**
 * Tensors joined along an axis; their other sizes and their dtypes must agree.
 *
 * @param tensors At least one.
 * @param axis The axis along which sizes add up.
 */
export function cat(tensors: readonly Tensor[], axis = 0): Tensor {
  const device = deviceOf(tensors, "cat");
  const at = normalizeAxis(axis, tensors[0]!.ndim, "cat");
  const arrays = tensors.map((tensor) => arrayOn(device, tensor));
  return tensorFrom(device, runtimeOf(device), concat(runtimeOf(device), arrays, at));
}

/**
 * Tensors of one shape joined along a new axis.
 *
 * @param tensors At least one.
 * @param axis Where the new axis stands in the result.
 */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  const device = deviceOf(tensors, "stack");
  const at = normalizeAxis(axis, tensors[0]!.ndim + 1, "stack");
  const arrays = tensors.map((tensor) => {
    const array = arrayOn(device, tensor);
    return withLayout(array, unsqueezeLayout(array.layout, at));
  });
  return tensorFrom(device, runtimeOf(device), concat(runtimeOf(device), arrays, at));
}

function deviceOf(tensors: readonly Tensor[], action: string): Device {
  const first = tensors[0];
  if (!first) throw new RangeError(`Cannot ${action} no tensors: at least one is needed`);
  arrayOf(first);
  return first.device;
}
