/** Attention's gradients as a function, for those who do without recording. */
import { assertArguments, checkedOptions, type OptionNames, told } from "../gpu/checks.ts";
import { isFloat } from "../gpu/dtype.ts";
import { withLayout } from "../gpu/array.ts";
import { noteEnd } from "../gpu/autograd/record.ts";
import { formatShape, sameShape } from "../gpu/shape.ts";
import { arrayOn } from "../gpu/tensor/base.ts";
import { Tensor } from "../gpu/tensor/tensor.ts";
import { groupedLse } from "./autograd.ts";
import { chooseOp } from "./dispatch.ts";
import { groupedOutput } from "./grouped_heads.ts";
import { attentionInputs, type AttentionOptions, GRADIENT_OPTIONS } from "./inputs.ts";
import { type AttentionBackwardOp, BACKWARD_OPS, backwardOpBehind } from "./ops/mod.ts";

/** Options of {@linkcode memoryEfficientAttentionBackward}; all but the last two as in the forward pass. */
export interface AttentionBackwardOptions extends Omit<AttentionOptions, "outputDtype"> {
  /** Whether to compute the gradient of a tensor bias too. Default `false`. */
  biasGrad?: boolean | undefined;
  /** The op to use, whatever the others could do; by default the first that supports the inputs. */
  op?: AttentionBackwardOp | undefined;
}

const OPTIONS: OptionNames<AttentionBackwardOptions> = {
  ...GRADIENT_OPTIONS,
  biasGrad: "boolean",
  op: "",
};

/** Gradients, each of its input's shape and dtype. */
export interface AttentionGradients {
  /** By the query. */
  readonly dQuery: Tensor;
  /** By the key; summed over the query heads that share one of its heads. */
  readonly dKey: Tensor;
  /** By the value, likewise. */
  readonly dValue: Tensor;
  /** By the tensor bias, summed over the axes along which it is broadcast; only with `biasGrad`. */
  readonly dBias: Tensor | undefined;
}

/**
 * The gradients of {@linkcode memoryEfficientAttention}, whose scores are computed again in tiles. `backward()`
 * does this by itself; here it is for those who keep their own record.
 *
 * @param grad Gradient of the output, `[B, Mq, H, Kv]` or of the query's rank; any strides.
 * @param output What the forward pass gave, of the same shape.
 * @param lse The log-sum-exp that it gave, `[B, H, Mq]`, f32: see
 * {@linkcode memoryEfficientAttentionForwardRequiresGrad}. That of a merged result, together with the merged
 * output, gives the gradients of a part of the keys. Since it may be that of more keys, the weights `exp(S - lse)`
 * are taken as they come: they are right to `|S| * 2**-22`, the rounding of the scores `S`, and a copy of `lse`
 * (see {@linkcode mergeAttentions}) adds as much. `backward()` knows the keys, and its weights sum to 1.
 * @param query As in the forward pass.
 * @param key As in the forward pass.
 * @param value As in the forward pass.
 * @param options As in the forward pass; with dropout the same `p` and `seed`.
 * @returns The gradients. Time O(B H Mq Mkv (K + Kv)), memory beyond the result O(B H Mq). Rows without keys
 * give and get 0. Bit-identical at every run.
 * @throws {TypeError} For wrong ranks, dtypes or devices, and disposed tensors.
 * @throws {RangeError} For sizes that disagree, dropout without a seed, or if no op supports the inputs.
 *
 * @example Gradients by hand
 * ```ts
 * import {
 *   memoryEfficientAttentionBackward,
 *   memoryEfficientAttentionForwardRequiresGrad,
 *   requestDevice,
 * } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const [q, k, v, grad] = [1, 2, 3, 4].map((seed) => device.randn([2, 32, 4, 16], { seed }));
 * const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q!, k!, v!);
 * const { dQuery } = memoryEfficientAttentionBackward(grad!, out, lse, q!, k!, v!);
 * console.log(dQuery.shape); // [2, 32, 4, 16]
 * ```
 */
export function memoryEfficientAttentionBackward(
  grad: Tensor,
  output: Tensor,
  lse: Tensor,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionBackwardOptions = {},
): AttentionGradients {
  const name = "memoryEfficientAttentionBackward";
  assertArguments(`run ${name}`, arguments, 7, "write { attnBias, p: 0.1, scale, op }");
  const { biasGrad = false, op } = checkedOptions(`run ${name}`, options, OPTIONS);
  const inputs = attentionInputs(name, query, key, value, options);
  if (inputs.dropout && options.seed === undefined) {
    throw new RangeError(
      `Cannot run ${name}: p is ${options.p} and seed undefined, expected the seed of the forward pass`,
    );
  }
  const { device, outShape, lseShape, sizes: { G, H } } = inputs;
  const operand = (argument: string, tensor: Tensor, shape: readonly number[]) => {
    if (!(tensor instanceof Tensor)) {
      throw new TypeError(`Cannot run ${name}: ${argument} is ${told(tensor)}, expected a Tensor`);
    }
    const array = arrayOn(device, tensor);
    const isLse = argument === "lse";
    if (isLse ? array.dtype !== "f32" : !isFloat(array.dtype)) {
      throw new TypeError(
        `Cannot run ${name}: ${argument} has dtype ${array.dtype}, expected ${
          isLse ? "f32" : "f32, f16 or bf16"
        }`,
      );
    }
    if (!sameShape(tensor.shape, shape)) {
      throw new RangeError(
        `Cannot run ${name}: ${argument} has shape ${formatShape(tensor.shape)}, expected ${
          formatShape(shape)
        } to match query ${formatShape(query.shape)} and value ${formatShape(value.shape)}`,
      );
    }
    return withLayout(array, isLse ? array.layout : groupedOutput(array.layout, G, H));
  };
  const needsBias = biasGrad && inputs.bias !== undefined && isFloat(inputs.bias.dtype);
  if (biasGrad && !needsBias) {
    throw new TypeError(
      `Cannot run ${name}: biasGrad is true and attnBias has no gradient, expected a tensor bias of f32, ` +
        "f16 or bf16",
    );
  }
  const given = {
    grad: operand("grad", grad, outShape),
    output: operand("output", output, outShape),
    lse: (operand("lse", lse, lseShape), groupedLse(lse, G, H)),
    isOwnLse: false, // It may be that of more keys.
    lseGrad: undefined,
  };
  const chosen = chooseOp(
    name,
    inputs,
    BACKWARD_OPS,
    op === undefined ? undefined : backwardOpBehind(name, op),
  );
  const needs = { query: true, key: true, value: true, bias: needsBias };
  const result = chosen.backward(inputs, given, needs);
  noteEnd(
    [query, key, value, inputs.biasTensor, grad],
    Object.values(result).filter((gradient) => gradient !== undefined),
    `${name} is never recorded; second derivatives are not supported`,
  );
  return {
    dQuery: result.query!,
    dKey: result.key!,
    dValue: result.value!,
    dBias: result.bias,
  };
}
