/** Results of functions that callers write. */
import { told } from "../checks.ts";
import { TensorBase } from "../tensor/base.ts";
import type { Tensor } from "../tensor/tensor.ts";

/**
 * Handles without history of the tensors that a function returned, which may be its inputs or known
 * elsewhere.
 *
 * @param action What is done and by what function, for errors: `run round: forward()`.
 * @param result What it returned.
 */
export function ownHandles(action: string, result: unknown): Tensor[] {
  return tensorsOf(action, result).map((tensor) => tensor.detach());
}

/** The one tensor or the several that a function returned; throws for anything else. */
export function tensorsOf(action: string, result: unknown): Tensor[] {
  const list: unknown[] = Array.isArray(result) ? result : [result];
  for (const item of list) {
    if (item instanceof TensorBase) continue;
    const what = item instanceof Promise ? "a promise" : told(item);
    throw new TypeError(
      `Cannot ${action} returned ${what}, expected a tensor or an array of tensors, without waiting`,
    );
  }
  return list as Tensor[];
}
