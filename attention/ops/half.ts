/** The op with products in f16: {@linkcode halfForward}. */
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { chooseForwardForm, forwardForms, workBy } from "./forward_forms.ts";
import { runAttention } from "./launch.ts";
import { bindingReasons, headDimReasons, workgroupMemoryReasons } from "./reasons.ts";
import { withResults } from "./results.ts";

/**
 * As {@linkcode flashForward}, with products of queries and keys, and of weights and values, in f16: up to half
 * as fast again where f16 is computed at twice the rate of f32. Sums of a few products are rounded to f16; the
 * softmax, the log-sum-exp and all longer sums are f32.
 */
export const halfForward: ForwardOp = {
  name: "flashHalfF",

  notSupportedReasons(inputs: AttentionInputs): string[] {
    const { storage, runtime } = inputs;
    return [
      ...(storage === "f16" ? [] : [`dtype ${storage}, only f16 is computed in f16`]),
      ...(runtime.info.f16 ? [] : ["the device has no shader-f16"]),
      ...headDimReasons(inputs),
      ...workgroupMemoryReasons(inputs, forwardForms(inputs, "f16")[0]!.value.workgroupBytes),
      ...bindingReasons(inputs, { canCut: true }),
    ];
  },

  forward(inputs: AttentionInputs, { lse }: { lse: boolean }): ForwardResult {
    return withResults(inputs, lse, (outputs) => {
      runAttention(inputs, workBy(inputs, chooseForwardForm(inputs, "f16")), outputs);
    });
  },
};
