/** Along which axes a tensor bias is broadcast, and so its gradient summed. */
import type { AttentionInputs } from "../inputs.ts";

/** Sizes of `[B, G, H, Mq, Mkv]`, 1 where the bias is broadcast. */
export type BiasAxes = readonly [B: number, G: number, H: number, Mq: number, Mkv: number];

/** The axes of the inputs' bias, which must have one. */
export function biasAxes({ biasTensor, sizes, shapes }: AttentionInputs): BiasAxes {
  const rank = shapes.query.length;
  const offer = biasTensor!.shape;
  const [b, ...rest] = [...new Array<number>(rank - offer.length).fill(1), ...offer];
  const [queries, keys] = rest.slice(-2) as [number, number];
  const heads = rest.slice(0, -2);
  if (rank === 3) return [b!, 1, 1, queries, keys];
  if (rank === 5) return [b!, heads[0]!, heads[1]!, queries, keys];
  return heads[0] === 1 ? [b!, 1, 1, queries, keys] : [b!, sizes.G, sizes.H, queries, keys];
}
