/** The weights with which `MultiheadAttention` begins. */
import type { Device } from "../../gpu/device.ts";
import type { SeedSequence } from "../../gpu/random/seeds.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { parameters } from "./module.ts";

/** PyTorch's initial weights under its names, of all but the last projection. */
export function initialWeights(
  device: Device,
  [embedDim, kdim, vdim]: readonly [number, number, number],
  { bias, biasKv, seeds }: { bias: boolean; biasKv: boolean; seeds: SeedSequence },
): Record<string, Tensor> {
  /** Xavier's uniform: within ±√(6 / (rows + columns)). */
  const uniform = (rows: number, columns: number) => {
    const bound = Math.sqrt(6 / (rows + columns));
    return device.rand([rows, columns], { seed: seeds.next() }).mul(2 * bound).sub(bound);
  };
  /** Xavier's normal, whose two fans are embedDim here. */
  const row = () => device.randn([1, 1, embedDim], { seed: seeds.next() }).mul(embedDim ** -0.5);
  return parameters(() => ({
    ...(kdim === embedDim && vdim === embedDim
      ? { in_proj_weight: uniform(3 * embedDim, embedDim) }
      : {
        q_proj_weight: uniform(embedDim, embedDim),
        k_proj_weight: uniform(embedDim, kdim),
        v_proj_weight: uniform(embedDim, vdim),
      }),
    ...(bias ? { in_proj_bias: device.zeros([3 * embedDim]) } : {}),
    ...(biasKv ? { bias_k: row(), bias_v: row() } : {}),
  }));
}
