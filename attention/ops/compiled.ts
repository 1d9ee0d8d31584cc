/** What kernels are compiled for. */
import type { AttentionInputs } from "../inputs.ts";
import type { AttentionKernelConfig } from "../kernels/_kernel.ts";
import { isAligned } from "./operands.ts";

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
