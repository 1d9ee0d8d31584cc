/**
 * Log-sum-exps in two words: the f32 that callers see, and beside it what its rounding left out. Far from zero the
 * first alone is too coarse to tell how parts of the keys compare; the two together are not. Time and memory
 * O(rows).
 */
import { allocate, type DeviceArray, withLayout } from "../../gpu/array.ts";
import { selectLayout } from "../../gpu/layout.ts";
import type { Runtime } from "../../gpu/runtime/runtime.ts";
import type { Storage } from "../../gpu/runtime/memory.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import { stack } from "../../gpu/tensor/join.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";

/** Storages that hold both words of each row, and their version then: whoever changes one in place knows one word. */
const pairs = new WeakMap<Storage, number>();

/** Room for both words of each row; what is returned shows the first ones. Kernels see it as `array<vec2u>`. */
export function allocateLse(runtime: Runtime, shape: readonly number[]): DeviceArray {
  return firstWords(allocate(runtime, [...shape, 2], "f32"));
}

/** The second words, where a log-sum-exp, or a view of one, still has them. */
export function lowWords(lse: DeviceArray): DeviceArray | undefined {
  const { storage, layout } = lse;
  if (pairs.get(storage) !== storage.version) return undefined;
  return withLayout(lse, { ...layout, offset: layout.offset + 1 });
}

/**
 * log(sum(exp(x))) along the last axis in both words: the second is the log-sum-exp of what is left of x without
 * the first. Not recorded.
 */
export function logSumExpOfLastAxis(x: Tensor): Tensor {
  const high = x.logSumExp(-1);
  const isEmpty = high.eq(-Infinity);
  const rest = x.sub(high.maskedFill(isEmpty, 0).unsqueeze(-1));
  const both = stack([high, rest.logSumExp(-1).maskedFill(isEmpty, 0)], -1);
  rest.dispose();
  firstWords(arrayOf(both));
  return both.select(-1, 0);
}

function firstWords(both: DeviceArray): DeviceArray {
  pairs.set(both.storage, both.storage.version);
  return withLayout(both, selectLayout(both.layout, -1, 0));
}
