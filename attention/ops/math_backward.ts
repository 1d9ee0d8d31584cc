/** The readable baseline of the backward pass, which keeps all scores: {@linkcode mathBackward}. */
import type { DeviceArray } from "../../gpu/array.ts";
import type { FloatDType } from "../../gpu/dtype.ts";
import { tidy } from "../../gpu/lifetime.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import type { BackwardInputs, BackwardOp, BackwardResult, Differentiable } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { biasAxes } from "./bias_axes.ts";
import { lowWords } from "./log_sum_exp.ts";
import {
  dropped,
  headsLead,
  neededPlaces,
  scoresOf,
  scoresReasons,
  times,
  view,
} from "./formula.ts";

/**
 * Gradients of attention by the formula, one tensor operation after the other. With P the weights, Z the factors
 * of dropout, D = rowsum(dO o O): `dV = (P Z)^T dO`, `dS = P o (dO V^T Z - D)`, `dQ = scale dS K`,
 * `dK = scale dS^T Q`, and dS summed to the bias's shape. Takes O(B H Mq Mkv) memory, three to four score
 * matrices at once; the other op is compared with it.
 */
export const mathBackward: BackwardOp = {
  name: "mathB",

  notSupportedReasons: scoresReasons,

  backward(
    inputs: AttentionInputs,
    given: BackwardInputs,
    needs: Readonly<Record<Differentiable, boolean>>,
  ): BackwardResult {
    return tidy(() => {
      const { scale, shapes, biasTensor } = inputs;
      const [query, key, value] = [inputs.query, inputs.key, inputs.value]
        .map((array) => headsLead(inputs, array)) as [Tensor, Tensor, Tensor];
      const grad = headsLead(inputs, given.grad);
      const places = neededPlaces(inputs);
      const weights = weightsOf(inputs, scoresOf(inputs, query, key, places), given);
      const scoreGrad = scoreGradient(inputs, given, { weights, grad, value }, places);
      const transposed = (tensor: Tensor) => tensor.transpose(-2, -1);
      const like = (tensor: Tensor, shape: readonly number[]) =>
        inInputsLayout(tensor, shape, inputs.storage);
      return {
        query: needs.query
          ? like(times(inputs, scoreGrad, key).mul(scale), shapes.query)
          : undefined,
        key: needs.key
          ? like(times(inputs, transposed(scoreGrad), query).mul(scale), shapes.key)
          : undefined,
        bias: needs.bias
          ? summedTo(scoreGrad, biasAxes(inputs)).reshape(biasTensor!.shape).to(biasTensor!.dtype)
          : undefined,
        value: needs.value
          ? like(times(inputs, transposed(dropped(inputs, weights, places)), grad), shapes.value)
          : undefined,
      };
    });
  },
};

/** `exp(S - lse)`; 0 where a key is hidden, even from a row whose lse is NaN. Disposes the scores. */
function weightsOf(
  inputs: AttentionInputs,
  scores: Tensor,
  { lse, isOwnLse }: BackwardInputs,
): Tensor {
  const weights = isOwnLse ? scores.softmax(-1) : weightsBy(inputs, scores, lse);
  const visible = weights.maskedFill(scores.eq(-Infinity), 0);
  weights.dispose();
  scores.dispose();
  return visible;
}

function weightsBy(inputs: AttentionInputs, scores: Tensor, lse: DeviceArray): Tensor {
  const sums = view(inputs, lse).unsqueeze(-1); // [B, G, H, Mq, 1]
  const above = scores.sub(sums.maskedFill(sums.eq(-Infinity), 0));
  const low = lowWords(lse);
  const logs = low ? above.sub(view(inputs, low).unsqueeze(-1)) : above;
  return logs.exp();
}

/** dS; 0 where the weight is, whatever the other factor. */
function scoreGradient(
  inputs: AttentionInputs,
  given: BackwardInputs,
  { weights, grad, value }: Record<"weights" | "grad" | "value", Tensor>,
  places: ReturnType<typeof neededPlaces>,
): Tensor {
  const products = grad.mul(headsLead(inputs, given.output)).sum({ axis: -1, keepDim: true });
  const delta = given.lseGrad ? products.sub(view(inputs, given.lseGrad).unsqueeze(-1)) : products;
  const weightGrad = dropped(inputs, grad.matmul(value.transpose(-2, -1)), places);
  const result = weights.mul(weightGrad.sub(delta)).maskedFill(weights.eq(0), 0);
  weightGrad.dispose();
  return result;
}

/** From `[B, G, H, M, K]` to an input's shape, summed over the heads that share it. */
function inInputsLayout(tensor: Tensor, shape: readonly number[], dtype: FloatDType): Tensor {
  const [B, G, H, M, K] = tensor.shape as [number, number, number, number, number];
  const heads = shape.slice(2, -1).reduce((product, size) => product * size, 1);
  const isShared = heads !== G * H;
  const own = isShared ? tensor.sum({ axis: 2, keepDim: true }) : tensor;
  const rows = own.permute([0, 3, 1, 2, 4]);
  return rows.reshape([B, M, G, isShared ? 1 : H, K]).reshape(shape).contiguous().to(dtype);
}

/** Summed along the axes that have size 1 in a shape of as many axes. */
function summedTo(tensor: Tensor, shape: readonly number[]): Tensor {
  const axis = shape.flatMap((size, i) => size === 1 && tensor.shape[i] !== 1 ? [i] : []);
  return axis.length === 0 ? tensor : tensor.sum({ axis, keepDim: true });
}
