/** The op that keeps no scores: {@linkcode flashForward}. */
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import type { AttentionKernelConfig } from "../kernels/_kernel.ts";
import {
  flashForwardBlockRows,
  flashForwardKernel,
  flashForwardWorkgroupBytes,
} from "../kernels/flash_forward.ts";
import { chooseTiles } from "../kernels/tile_config.ts";
import { type AttentionWork, runAttention } from "./launch.ts";
import { isAligned } from "./operands.ts";
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
    const { config } = flashWork(inputs);
    return [
      ...headDimReasons(inputs),
      ...workgroupMemoryReasons(inputs, flashForwardWorkgroupBytes(config)),
      ...bindingReasons(inputs, { canCut: true }),
    ];
  },

  forward(inputs: AttentionInputs, { lse }: { lse: boolean }): ForwardResult {
    return withResults(inputs, lse, (outputs) => runAttention(inputs, flashWork(inputs), outputs));
  },
};

/** The kernel for these inputs, and how it divides the work. */
export function flashWork(inputs: AttentionInputs): AttentionWork {
  const { sizes: { K, Kv }, runtime } = inputs;
  const tiles = chooseTiles(K, Kv, runtime.info.subgroupSize);
  return {
    kernel: flashForwardKernel,
    config: { ...tiles, ...compiledIn(inputs) },
    blockRows: flashForwardBlockRows(tiles),
    rowHeads: 1,
    splits: 1,
  };
}

/** What kernels are compiled for, besides their tiles. */
export function compiledIn(
  { sizes, query, key, value, storage, bias, alibi, dropout }: AttentionInputs,
): Pick<
  AttentionKernelConfig,
  "headDim" | "valueDim" | "storage" | "aligned" | "bias" | "alibi" | "dropout"
> {
  return {
    headDim: sizes.K,
    valueDim: sizes.Kv,
    storage,
    aligned: { query: isAligned(query), key: isAligned(key), value: isAligned(value) },
    bias: (bias?.dtype ?? "none") as AttentionKernelConfig["bias"],
    alibi: alibi !== undefined,
    dropout: dropout !== undefined,
  };
}
