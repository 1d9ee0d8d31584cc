/** Null as a bias or a mask is xformers' and PyTorch's None: none. */
import {
  Attention,
  attentionFlops,
  Block,
  FlashForwardOp,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  MultiheadAttention,
  scaledDotProductAttention,
  type Tensor,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const device = await sharedDevice();
const x = device.randn([1, 5, 1, 8], { seed: 1 });
const tokens = device.randn([1, 5, 8], { seed: 2 });
const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(x, x, x);
const attention = new Attention(device, 8, { numHeads: 1, seed: 1 });
const block = new Block(device, 8, { numHeads: 1, seed: 1 });
const multihead = new MultiheadAttention(device, 8, 1, { seed: 1 });

/** Each with null, or with nothing. */
const CALLS: Readonly<Record<string, (none: null | undefined) => Tensor | number>> = {
  memoryEfficientAttention: (attnBias) => memoryEfficientAttention(x, x, x, { attnBias }),
  memoryEfficientAttentionForward: (attnBias) =>
    memoryEfficientAttentionForward(x, x, x, { attnBias }),
  memoryEfficientAttentionForwardRequiresGrad: (attnBias) =>
    memoryEfficientAttentionForwardRequiresGrad(x, x, x, { attnBias }).lse,
  memoryEfficientAttentionPartial: (attnBias) =>
    memoryEfficientAttentionPartial(x, x, x, { attnBias }).out,
  memoryEfficientAttentionBackward: (attnBias) =>
    memoryEfficientAttentionBackward(x, out, lse, x, x, x, { attnBias }).dQuery,
  scaledDotProductAttention: (attnMask) => scaledDotProductAttention(x, x, x, { attnMask }),
  "Attention.forward": (attnBias) => attention.forward(tokens, { attnBias }),
  "Block.forward": (attnBias) => block.forward(tokens, { attnBias }),
  "MultiheadAttention.forward": (attnMask) =>
    multihead.forward(tokens, tokens, tokens, { attnMask, keyPaddingMask: attnMask }).out,
  attentionFlops: (attnBias) => attentionFlops(x, x, x, { attnBias }).cells,
  notSupportedReasons: (attnBias) =>
    FlashForwardOp.notSupportedReasons(x, x, x, { attnBias }).length,
};

describe("null", () => {
  for (const [name, call] of Object.entries(CALLS)) {
    it(`is no bias for ${name}`, async () => {
      const values = [call(null), call(undefined)].map((value) =>
        typeof value === "number" ? [value] : value.data()
      );
      const [withNull, without] = await Promise.all(values);
      assertEquals(withNull, without);
    });
  }
});
