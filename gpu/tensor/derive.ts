/** How functions of tensors make their results, and have them recorded. */
import { type DeviceArray, withLayout } from "../array.ts";
import { told } from "../checks.ts";
import { noteEnd, record } from "../autograd/record.ts";
import type { Layout } from "../layout.ts";
import type { MapOperand } from "../ops/map.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { arrayOn, TensorBase, tensorFrom, tensorParts } from "./base.ts";
import type { Tensor } from "./tensor.ts";

/** A tensor of what a kernel makes of another's array. */
export function derive(
  tensor: Tensor,
  compute: (runtime: Runtime, array: DeviceArray) => DeviceArray,
): Tensor {
  const { device, runtime, array } = tensorParts(tensor);
  return tensorFrom(device, runtime, compute(runtime, array));
}

/** A tensor of the same memory under another layout. */
export function viewOf(tensor: Tensor, layoutOf: (layout: Layout) => Layout): Tensor {
  return derive(tensor, (_, array) => {
    const view = withLayout(array, layoutOf(array.layout));
    array.storage.retain();
    return view;
  });
}

/** The other operand for a kernel; throws if it is on another device, or neither tensor nor number. */
export function operandOf(action: string, tensor: Tensor, other: Tensor | number): MapOperand {
  if (typeof other === "number") return other;
  if (other instanceof TensorBase) return arrayOn(tensor.device, other);
  throw new TypeError(
    `Cannot ${action}: got ${
      told(other)
    }, expected a tensor or a number; make a tensor with device.tensor()`,
  );
}

/**
 * The result of a function that has no gradient, which an error of a backward pass will say.
 *
 * @returns The result.
 */
export function unlinked(
  name: string,
  inputs: readonly (Tensor | undefined)[],
  output: Tensor,
): Tensor {
  noteEnd(inputs, [output], `${name} has no gradient; compute it of floats by what has one`);
  return output;
}

/**
 * Records a function of one tensor whose gradient needs nothing but its result's.
 *
 * @returns The result.
 */
export function linked(
  name: string,
  input: Tensor,
  output: Tensor,
  gradientOf: (gradient: Tensor) => Tensor,
): Tensor {
  record({
    name,
    inputs: [input],
    outputs: [output],
    backward: ([gradient]) => [gradientOf(gradient!)],
  });
  return output;
}
