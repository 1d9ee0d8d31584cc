/** Indices that come as tensors or as numbers. */
import { asNumber, told } from "../../gpu/checks.ts";
import type { Device } from "../../gpu/device.ts";
import type { TensorSource } from "../../gpu/parse.ts";
import { arrayOn, TensorBase } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";

/** How to check indices, and what to say of wrong ones. */
export interface IndexRule {
  /** As in `run Embedding`. */
  readonly action: string;
  /** What the indices are called. */
  readonly name: string;
  readonly isValid: (index: number) => boolean;
  /** Words for what is valid. */
  readonly expected: string;
}

/**
 * Indices on a device, as i32. Numbers are checked; a tensor's elements are not, as that would take waiting
 * for them. A handle of its own.
 *
 * @throws {TypeError} For a tensor of another dtype or device.
 * @throws {RangeError} For a number that is not valid.
 */
export function indicesOn(
  device: Device,
  indices: Tensor | TensorSource,
  { action, name, isValid, expected }: IndexRule,
): Tensor {
  if (indices instanceof TensorBase) {
    const { dtype } = arrayOn(device, indices);
    if (dtype === "i32") return indices.detach();
    throw new TypeError(
      `Cannot ${action}: ${name} has dtype ${dtype}, expected i32, convert with .to("i32")`,
    );
  }
  const flat: readonly unknown[] = ArrayBuffer.isView(indices)
    ? Array.from<unknown>(indices)
    : ([indices] as unknown[]).flat(Infinity);
  for (const index of flat) {
    const number = asNumber(index);
    if (Number.isInteger(number) && isValid(number as number)) continue;
    throw new RangeError(`Cannot ${action}: ${name} has ${told(index)}, expected ${expected}`);
  }
  return device.tensor(indices, { dtype: "i32" });
}
