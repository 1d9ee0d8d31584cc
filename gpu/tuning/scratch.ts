/** Inputs to measure candidates on. */
import type { DeviceArray } from "../array.ts";
import { type DType, isFloat } from "../dtype.ts";
import { fill, narrow } from "../ops/map.ts";
import { randn } from "../random/fill_random.ts";
import type { Runtime } from "../runtime/runtime.ts";

/** Arrays that are not tensors, and belong to whoever asked for them. */
export interface ScratchArrays {
  /** One row-major array for each shape. */
  readonly arrays: readonly DeviceArray[];
  /** Releases all of them. */
  dispose(): void;
}

/**
 * Arrays of standard normal numbers, or of zeros where the type holds none: the time that a kernel takes may depend
 * on its values, and zeros are no typical ones.
 *
 * @param runtime Where to make them.
 * @param shapes Their shapes.
 * @param dtype Their element type.
 */
export function scratchArrays(
  runtime: Runtime,
  shapes: readonly (readonly number[])[],
  dtype: DType,
): ScratchArrays {
  const arrays: DeviceArray[] = [];
  const dispose = () => {
    for (const { storage } of arrays.splice(0)) storage.release();
  };
  try {
    for (const [i, shape] of shapes.entries()) {
      // Seeds of their own: what a program draws does not depend on whether something was measured meanwhile.
      arrays.push(
        isFloat(dtype)
          ? narrow(runtime, randn(runtime, shape, i + 1), dtype)
          : fill(runtime, shape, dtype, 0),
      );
    }
  } catch (error) {
    dispose();
    throw error;
  }
  return { arrays, dispose };
}
