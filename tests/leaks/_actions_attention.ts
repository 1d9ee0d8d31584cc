/** Steps of a random walk that compute attention. */
import {
  type Device,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  scaledDotProductAttention,
  type TensorOptions,
  tidy,
} from "@denoformers/attention";
import { makeMask, maskSizes } from "../attention/_mask_specs.ts";
import { type Action, choose, pick } from "./_action.ts";
import type { Step } from "./_walk.ts";

/** Query, key and value for a step's mask, and the mask. Each dtype has kernels of its own to compile. */
function attentionArguments(
  device: Device,
  { mask, variant }: Step,
  { dtype = "f32", requiresGrad = false }: TensorOptions = {},
) {
  const { B, Mq, Mkv } = maskSizes(mask);
  const options = { dtype, requiresGrad };
  const [q, k, v] = [[B, Mq, 2, 8], [B, Mkv, 2, 8], [B, Mkv, 2, 8]].map((shape, i) =>
    device.randn(shape, { seed: variant + i, ...options })
  );
  return { q: q!, k: k!, v: v!, attnBias: makeMask(mask) };
}

/** Attention of all forms: forward, held in a graph, with gradients, by hand, in parts, of anything. */
export const ATTENTION_ACTIONS = {
  attention: ({ device }, step) => {
    return [tidy(() => {
      const { q, k, v, attnBias } = attentionArguments(device, step, {
        dtype: choose(["f32", "f16"], step.variant),
      });
      const p = step.first % 3 === 0 ? 0.2 : 0;
      return memoryEfficientAttention(q, k, v, { attnBias, p, seed: step.second });
    })];
  },

  attentionHeld: ({ device }, step) => {
    using q = device.randn([1, 9, 2, 8], { seed: step.variant, requiresGrad: true });
    // The graph keeps the memory of q, k and v with the output.
    return tidy(() => [memoryEfficientAttention(q, q.add(1), q.mul(2))]);
  },

  attentionGradients: ({ device }, step) => {
    return tidy(() => {
      const { q, k, v, attnBias } = attentionArguments(device, step, { requiresGrad: true });
      const out = memoryEfficientAttention(q, k, v, { attnBias });
      out.backward(device.ones(out.shape, { dtype: out.dtype }));
      return [q.grad!.detach(), k.grad!.detach(), v.grad!.detach()];
    });
  },

  attentionByHand: ({ device }, step) => {
    return tidy(() => {
      const { q, k, v, attnBias } = attentionArguments(device, step);
      const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, k, v, { attnBias });
      const gradients = memoryEfficientAttentionBackward(out, out, lse, q, k, v, { attnBias });
      return [out, lse, gradients.dQuery];
    });
  },

  attentionInParts: ({ device }, { variant }) => {
    return tidy(() => {
      const [q, k, v] = [1, 2, 3].map((seed) =>
        device.randn([1, 8, 2, 8], { seed: seed + variant })
      );
      const parts = [0, 4].map((begin) =>
        memoryEfficientAttentionPartial(
          q!,
          k!.slice(1, begin, begin + 4),
          v!.slice(1, begin, begin + 4),
        )
      );
      const { out, lse } = mergeAttentions(
        parts.map(({ out }) => out),
        parts.map(({ lse }) => lse),
      );
      return variant % 2 === 0 ? [out, lse!] : [out];
    });
  },

  attentionAsInPyTorch: ({ device }, { variant }) => {
    using x = device.randn([1, 2, 7, 8], { seed: variant });
    return [scaledDotProductAttention(x, x, x, { isCausal: variant % 2 === 0 })];
  },

  attentionOfAnything: (walk, { first, second, variant }) => {
    const [x, y, z] = [first, second, variant].map((number) => pick(walk, number));
    return [memoryEfficientAttention(x!, y!, z!)];
  },
} satisfies Record<string, Action>;
