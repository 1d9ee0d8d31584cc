/** Makes room for results, and hands them over as tensors. */
import { allocate } from "../../gpu/array.ts";
import { copy } from "../../gpu/ops/map.ts";
import { numel } from "../../gpu/shape.ts";
import { tensorFrom } from "../../gpu/tensor/tensor.ts";
import type { ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { canStore } from "../kernels/_rows.ts";
import type { Outputs } from "./launch.ts";
import { allocateLse } from "./log_sum_exp.ts";

/**
 * Allocates the results and has them filled.
 *
 * @param inputs Checked arguments.
 * @param wantsLse Whether to make room for the log-sum-exp.
 * @param run Enqueues what fills them; not called where they have no elements.
 */
export function withResults(
  inputs: AttentionInputs,
  wantsLse: boolean,
  run: (outputs: Outputs) => void,
): ForwardResult {
  const { device, runtime, output, sizes, outShape, lseShape } = inputs;
  // Kernels cannot write rows that end within a word; these are converted behind.
  const written = canStore(output, sizes.Kv) ? output : "f32";
  let out = allocate(runtime, outShape, written);
  let lse;
  try {
    lse = wantsLse ? allocateLse(runtime, lseShape) : undefined;
    if (numel(lseShape) > 0) run({ out, lse });
    if (written !== output) {
      const converted = copy(runtime, out, output);
      out.storage.release();
      out = converted;
    }
  } catch (error) {
    out.storage.release();
    lse?.storage.release();
    throw error;
  }
  return {
    out: tensorFrom(device, runtime, out),
    lse: lse && tensorFrom(device, runtime, lse),
  };
}
