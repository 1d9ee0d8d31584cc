/** The readable baseline, which keeps all scores: {@linkcode mathForward}. */
import type { DeviceArray } from "../../gpu/array.ts";
import { matmul } from "../../gpu/ops/matmul.ts";
import { formatShape, numel } from "../../gpu/shape.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import { type AttentionInputs, headsFirst } from "../inputs.ts";
import { NO_MASK } from "../masks.ts";

/**
 * Attention by the formula, one tensor operation after the other: scores, bias, softmax, product.
 * Takes O(B H Mq Mkv) memory, two to three score matrices at once; the other ops are compared with it.
 */
export const mathForward: ForwardOp = {
  name: "mathF",

  notSupportedReasons({ sizes, runtime, p }: AttentionInputs): string[] {
    const reasons: string[] = [];
    const scores = [sizes.B, sizes.G, sizes.H, sizes.Mq, sizes.Mkv];
    const limit = runtime.info.limits.maxStorageBufferBindingSize;
    if (4 * numel(scores) > limit) {
      reasons.push(
        `scores ${formatShape(scores)} take ${4 * numel(scores)} bytes > ${limit}, ` +
          "the device's maxStorageBufferBindingSize",
      );
    }
    if (p > 0) {
      reasons.push(
        `dropout p = ${p} > 0 is not implemented yet: pass p = 0, or call eval() on the layer`,
      );
    }
    return reasons;
  },

  forward(inputs: AttentionInputs, { lse: wantsLse }: { lse: boolean }): ForwardResult {
    const { scale, outShape, lseShape } = inputs;
    return tidy(() => {
      const query = view(inputs, headsLead(inputs.query));
      const key = view(inputs, headsLead(inputs.key));
      const scores = masked(inputs, query.mul(scale).matmul(key.transpose(-2, -1)));
      const lse = wantsLse ? scores.logSumExp(-1).reshape(lseShape) : undefined;
      const weights = scores.softmax(-1);
      scores.dispose();
      const out = times(inputs, weights, headsLead(inputs.value)); // [B, G, H, Mq, Kv]
      return { out: out.permute([0, 3, 1, 2, 4]).contiguous().reshape(outShape), lse };
    });
  },
};

/** The scores with the bias added and -inf where a query may not attend. Disposes what it replaces. */
function masked(inputs: AttentionInputs, scores: Tensor): Tensor {
  const replace = (next: Tensor): Tensor => {
    scores.dispose();
    return next;
  };
  if (inputs.mask !== NO_MASK) scores = replace(scores.maskedFill(hiddenByMask(inputs), -Infinity));
  if (!inputs.bias) return scores;
  const bias = view(inputs, inputs.bias);
  if (bias.dtype === "bool") return replace(scores.maskedFill(bias.logicalNot(), -Infinity));
  scores = replace(scores.add(bias));
  // A score may be NaN there, and NaN - inf is NaN.
  return replace(scores.maskedFill(bias.eq(-Infinity), -Infinity));
}

/** bool [Mq, Mkv]: which keys each query may not see. */
function hiddenByMask({ device, mask, sizes: { Mq, Mkv } }: AttentionInputs): Tensor {
  const ranges = Array.from({ length: Mq }, (_, query) => mask.keyRange(query, Mq, Mkv));
  const bound = (which: 0 | 1) =>
    device.tensor(Int32Array.from(ranges, (range) => range[which]), { shape: [Mq, 1] });
  const keys = device.arange(0, Mkv, 1, { dtype: "i32" });
  return keys.lt(bound(0)).logicalOr(keys.ge(bound(1)));
}

/** `weights · value`, where a weight of zero hides even NaN. */
function times({ device, runtime }: AttentionInputs, weights: Tensor, value: DeviceArray): Tensor {
  const product = matmul(runtime, arrayOf(weights), value, { zeroHides: true });
  return tensorFrom(device, runtime, product);
}

/** A tensor over memory that the inputs own. */
function view({ device, runtime }: AttentionInputs, array: DeviceArray): Tensor {
  array.storage.retain();
  return tensorFrom(device, runtime, array);
}

/** [B, M, G, H, K] with its heads before its rows. */
function headsLead(array: DeviceArray): DeviceArray {
  return { ...array, layout: headsFirst(array.layout) };
}
