/** Attention's formula, step by step, as tensors: what the `math` ops are made of. */
import type { DeviceArray } from "../../gpu/array.ts";
import { matmul } from "../../gpu/ops/matmul.ts";
import { formatShape, numel } from "../../gpu/shape.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import { headsFirst } from "../grouped_heads.ts";
import type { AttentionInputs } from "../inputs.ts";
import { dropWeights } from "../kernels/drop_weights.ts";
import { EVERYTHING } from "../masks/window.ts";
import { type Places, placesOf } from "./places.ts";
import { bindingReasons } from "./reasons.ts";
import { uploadSlopes } from "./tables.ts";

/** What speaks against keeping all scores. */
export function scoresReasons(inputs: AttentionInputs): string[] {
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
}

/** Query, key or value as f32 `[B, G, H, M, K]`. */
export function headsLead(inputs: AttentionInputs, array: DeviceArray): Tensor {
  return view(inputs, { ...array, layout: headsFirst(array.layout) }).to("f32");
}

/** Scores `[B, G, H, Mq, Mkv]`: scaled, with all that is added to them, -inf where hidden. */
export function scoresOf(
  inputs: AttentionInputs,
  query: Tensor,
  key: Tensor,
  places: Places | undefined,
): Tensor {
  const product = query.mul(inputs.scale).matmul(key.transpose(-2, -1));
  return masked(inputs, withAlibi(inputs, product, places), places);
}

/** Where rows and keys stand in their blocks, if it matters. */
export function neededPlaces(inputs: AttentionInputs): Places | undefined {
  const matters = hides(inputs) || inputs.alibi !== undefined || inputs.dropout !== undefined;
  return matters ? placesOf(inputs) : undefined;
}

/** Whether the mask hides any key. */
function hides({ mask }: AttentionInputs): boolean {
  return mask.window !== EVERYTHING || mask.blocks !== undefined;
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

/** Weights, or their gradients, times the factors of dropout. Disposes what it replaces. */
export function dropped(
  inputs: AttentionInputs,
  weights: Tensor,
  places: Places | undefined,
): Tensor {
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

/** `weights · value`, where what is zero in the weights hides even NaN. */
export function times(
  { device, runtime }: AttentionInputs,
  weights: Tensor,
  value: Tensor,
): Tensor {
  const product = matmul(runtime, arrayOf(weights), arrayOf(value), { zeroHides: true });
  return tensorFrom(device, runtime, product);
}

/** A tensor over memory that the inputs own. */
export function view({ device, runtime }: AttentionInputs, array: DeviceArray): Tensor {
  array.storage.retain();
  return tensorFrom(device, runtime, array);
}
