/** The op that hands keys round by shuffles: {@linkcode shuffleForward}. */
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { shuffleForwardKernel, shuffleForwardTiles } from "../kernels/shuffle_forward.ts";
import { largestHeadDim } from "../kernels/tile_config.ts";
import { chooseForwardForm, type ForwardForm, forwardForms, workBy } from "./forward_forms.ts";
import { runAttention } from "./launch.ts";
import { bindingReasons } from "./reasons.ts";
import { withResults } from "./results.ts";

/**
 * As {@linkcode flashForward}, with keys and values handed round in the subgroup instead of through workgroup
 * memory, for drivers that compute on the CPU and GPUs with narrow subgroups.
 */
export const shuffleForward: ForwardOp = {
  name: "shuffleF",

  notSupportedReasons(inputs: AttentionInputs): string[] {
    const { sizes: { K, Kv }, runtime: { info } } = inputs;
    const { subgroupSize } = info;
    const isWrongWidth = subgroupSize < 4 || subgroupSize > 16;
    const widths = `subgroups of ${subgroupSize || "no"} threads, expected 4 to 16`;
    const dims = `head dims ${K} and ${Kv} are too large for one thread to hold rows`;
    return [
      ...(isWrongWidth ? [widths] : shuffleForwardTiles(K, Kv, subgroupSize) ? [] : [dims]),
      ...bindingReasons(inputs, { canCut: true }),
    ];
  },

  forward(inputs: AttentionInputs, { lse }: { lse: boolean }): ForwardResult {
    const { value: form } = forwardForms(inputs).find(({ value }) => isShuffle(value))!;
    return withResults(inputs, lse, (outputs) => {
      runAttention(inputs, workBy(inputs, form), outputs);
    });
  },
};

/** Whether shuffles are the fastest for these inputs. The first call for a class may time all forms. */
export function prefersShuffle(inputs: AttentionInputs): boolean {
  const { sizes: { K, Kv }, runtime: { info: { subgroupSize } } } = inputs;
  if (Math.max(K, Kv) > largestHeadDim(subgroupSize)) return false;
  return shuffleForwardTiles(K, Kv, subgroupSize) !== undefined &&
    isShuffle(chooseForwardForm(inputs));
}

function isShuffle({ kernel }: ForwardForm): boolean {
  return kernel === shuffleForwardKernel;
}
