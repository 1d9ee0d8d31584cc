/** The op that keeps no scores: {@linkcode flashForward}. */
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { flashForwardKernel } from "../kernels/flash_forward.ts";
import { chooseForwardForm, type ForwardForm, forwardForms, workBy } from "./forward_forms.ts";
import { type AttentionWork, runAttention } from "./launch.ts";
import { bindingReasons, headDimReasons, workgroupMemoryReasons } from "./reasons.ts";
import { withResults } from "./results.ts";

/**
 * Memory-efficient attention: one pass over the keys with a running softmax, after Dao et al.,
 * "FlashAttention" (2022). All lengths, masks and biases; head dims up to 512. Memory O(B Mq H Kv) for the
 * result, and nothing else unless keys or values are larger than a kernel can see at once.
 */
export const flashForward: ForwardOp = {
  name: "flashF",

  notSupportedReasons(inputs: AttentionInputs): string[] {
    return [
      ...headDimReasons(inputs),
      ...workgroupMemoryReasons(inputs, usualForm(inputs).workgroupBytes),
      ...bindingReasons(inputs, { canCut: true }),
    ];
  },

  forward(inputs: AttentionInputs, { lse }: { lse: boolean }): ForwardResult {
    return withResults(inputs, lse, (outputs) => {
      const chosen = chooseForwardForm(inputs);
      // Where another kernel is faster, this one was asked for.
      const form = chosen.kernel === flashForwardKernel ? chosen : usualForm(inputs);
      runAttention(inputs, workBy(inputs, form), outputs);
    });
  },
};

/** The form for where nothing is measured. */
function usualForm(inputs: AttentionInputs): ForwardForm {
  const forms = forwardForms(inputs).map(({ value }) => value);
  return forms.find(({ kernel }) => kernel === flashForwardKernel) ?? forms[0]!;
}

/** The usual kernel for these inputs, and how it divides the work. */
export function flashWork(inputs: AttentionInputs): AttentionWork {
  return workBy(inputs, usualForm(inputs));
}
