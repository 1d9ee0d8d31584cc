/** The readable baseline, which keeps all scores: {@linkcode mathForward}. */
import type { DeviceArray } from "../../gpu/array.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { matmul } from "../../gpu/ops/matmul.ts";
import { formatShape, numel } from "../../gpu/shape.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import type { ForwardOp, ForwardResult } from "../dispatch.ts";
import { headsFirst } from "../grouped_heads.ts";
import type { AttentionInputs } from "../inputs.ts";
import { dropWeights } from "../kernels/drop_weights.ts";
import { EVERYTHING } from "../masks/window.ts";
import { type Places, placesOf } from "./places.ts";
import { bindingReasons } from "./reasons.ts";
import { uploadSlopes } from "./tables.ts";

/**
 * Attention by the formula, one tensor operation after the other: scores, bias, softmax, dropout, product.
 * Takes O(B H Mq Mkv) memory, two to three score matrices at once; the other ops are compared with it.
 */
export const mathForward: ForwardOp = {
  name: "mathF",

  notSupportedReasons(inputs: AttentionInputs): string[] {
    const { sizes, runtime } = inputs;
    const reasons: string[] = bindingReasons(inputs, { canCut: false });
    const scores = [sizes.B, sizes.G, sizes.H, sizes.Mq, sizes.Mkv];
    const limit = runtime.info.limits.maxStorageBufferBindingSize;
    if (4 * numel(scores) > limit) {
      reasons.push(
        `scores ${formatShape(scores)} take ${4 * numel(scores)} bytes > ${limit}, ` +
          "the device's maxStorageBufferBindingSize",
      );
    }
    return reasons;
  },

  forward(inputs: AttentionInputs, { lse: wantsLse }: { lse: boolean }): ForwardResult {
    const { scale, outShape, lseShape, output } = inputs;
    return tidy(() => {
      const query = view(inputs, headsLead(inputs.query)).to("f32");
      const key = view(inputs, headsLead(inputs.key)).to("f32");
      const product = query.mul(scale).matmul(key.transpose(-2, -1));
      const places = needsPlaces(inputs) ? placesOf(inputs) : undefined;
      const scores = masked(inputs, withAlibi(inputs, product, places), places);
      const lse = wantsLse ? scores.logSumExp(-1).reshape(lseShape) : undefined;
      const weights = scores.softmax(-1);
      scores.dispose();
      const value = view(inputs, headsLead(inputs.value)).to("f32");
      const out = times(inputs, dropped(inputs, weights, places), value); // [B, G, H, Mq, Kv]
      return {
        out: out.permute([0, 3, 1, 2, 4]).contiguous().reshape(outShape).to(output),
        lse,
      };
    });
  },
};

/** Whether the mask hides any key. */
function hides({ mask }: AttentionInputs): boolean {
  return mask.window !== EVERYTHING || mask.blocks !== undefined;
}

/** Whether it matters where rows and keys stand in their blocks. */
function needsPlaces(inputs: AttentionInputs): boolean {
  return hides(inputs) || inputs.alibi !== undefined || inputs.dropout !== undefined;
}

/** The scores less their distances by ALiBi's slopes. Disposes what it replaces. */
function withAlibi(inputs: AttentionInputs, scores: Tensor, places: Places | undefined): Tensor {
  const slopes = uploadSlopes(inputs);
  if (!slopes || !places) return scores;
  const { B, G, H } = inputs.sizes;
  const distances = places.own.sub(places.keys).abs().to("f32"); // [Mq, Mkv]
  const perHead = view(inputs, slopes.array).reshape([B, G, H, 1, 1]);
  const result = scores.sub(distances.mul(perHead));
  scores.dispose();
  slopes.release();
  return result;
}

/** The scores with the bias added and -inf where a query may not attend. Disposes what it replaces. */
function masked(inputs: AttentionInputs, scores: Tensor, places: Places | undefined): Tensor {
  const replace = (next: Tensor): Tensor => {
    scores.dispose();
    return next;
  };
  if (places && hides(inputs)) {
    const hidden = places.keys.lt(places.begin).logicalOr(places.keys.ge(places.end));
    scores = replace(scores.maskedFill(hidden, -Infinity));
  }
  if (!inputs.bias) return scores;
  const bias = view(inputs, inputs.bias);
  if (bias.dtype === "bool") return replace(scores.maskedFill(bias.logicalNot(), -Infinity));
  scores = replace(scores.add(bias));
  // A score may be NaN there, and NaN - inf is NaN.
  return replace(scores.maskedFill(bias.eq(-Infinity), -Infinity));
}

/** The weights after dropout. Disposes what it replaces. */
function dropped(inputs: AttentionInputs, weights: Tensor, places: Places | undefined): Tensor {
  const { device, runtime, dropout } = inputs;
  if (!dropout || !places) return weights;
  const kept = dropWeights(runtime, arrayOf(weights), {
    dropout,
    keys: arrayOf(places.keys),
    rows: arrayOf(places.rows),
    isPacked: inputs.mask.blocks !== undefined,
  });
  weights.dispose();
  return tensorFrom(device, runtime, kept);
}

/** `weights · value`, where a weight of zero hides even NaN. */
function times({ device, runtime }: AttentionInputs, weights: Tensor, value: Tensor): Tensor {
  const product = matmul(runtime, arrayOf(weights), arrayOf(value), { zeroHides: true });
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
