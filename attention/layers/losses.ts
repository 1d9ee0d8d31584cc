/** What training makes small. */
import {
  assertArguments,
  checkedOptions,
  isProbability,
  type OptionNames,
  told,
} from "../../gpu/checks.ts";
import { record } from "../../gpu/autograd/record.ts";
import { runtimeOf } from "../../gpu/device.ts";
import { isFloat } from "../../gpu/dtype.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { crossEntropy as rowLosses, crossEntropyGradient } from "../../gpu/ops/cross_entropy.ts";
import type { TensorSource } from "../../gpu/parse.ts";
import { formatShape, numel, sameShape } from "../../gpu/shape.ts";
import { arrayOf, arrayOn, assertTensor } from "../../gpu/tensor/base.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import { indicesOn } from "./indices.ts";

/** How losses of single elements become the result: their mean, their sum, or all of them. */
export type Reduction = "mean" | "sum" | "none";

/** Options of {@linkcode mseLoss}. */
export interface LossOptions {
  /** What to return. Default `"mean"`. */
  reduction?: Reduction;
}

const LOSS_OPTIONS: OptionNames<LossOptions> = { reduction: "string" };

/** Options of {@linkcode crossEntropy}; names and defaults are PyTorch's, in camelCase. */
export interface CrossEntropyOptions extends LossOptions {
  /** A target that counts for nothing: its loss is 0, and the mean leaves it out. Default -100. */
  ignoreIndex?: number;
  /** Which part of the target is spread evenly over all classes, in [0, 1]. Default 0. */
  labelSmoothing?: number;
}

const CROSS_ENTROPY_OPTIONS: OptionNames<CrossEntropyOptions> = {
  ...LOSS_OPTIONS,
  ignoreIndex: "number",
  labelSmoothing: "",
};

/**
 * The cross entropy of softmax over classes and a target class, after
 * `torch.nn.functional.cross_entropy`: `logSumExp(x) - x[target]`, of which a part `labelSmoothing` is
 * replaced by the mean over all classes in place of the target.
 *
 * @param logits `[N, C]`, `[N, C, ...]`, or `[C]` for one: f32, f16 or bf16.
 * @param target Classes, `[N]`, `[N, ...]`, or one: i32, or numbers, nested if need be. Numbers are checked;
 * a class in a tensor that is out of range gives NaN.
 * @param options Reduction, ignored targets, smoothing.
 * @returns f32: a scalar, or with `"none"` a loss for each target. The mean of no targets is NaN.
 * @throws {TypeError} For other dtypes.
 * @throws {RangeError} For shapes that do not go together, and for numbers that are no classes.
 *
 * @example Three samples of four classes, the last one ignored
 * ```ts
 * import { crossEntropy, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const logits = device.zeros([3, 4], { requiresGrad: true });
 * const loss = crossEntropy(logits, [0, 3, -100]);
 * loss.backward();
 * console.log(await loss.item()); // 1.386..., log(4)
 * ```
 */
export function crossEntropy(
  logits: Tensor,
  target: Tensor | TensorSource,
  options: CrossEntropyOptions = {},
): Tensor {
  assertArguments("crossEntropy", arguments, 3, "write { reduction, ignoreIndex }");
  const { reduction = "mean", ignoreIndex = -100, labelSmoothing = 0 } = checkedOptions(
    "crossEntropy",
    options,
    CROSS_ENTROPY_OPTIONS,
  );
  assertTensor("crossEntropy", "logits", logits);
  assertReduction("crossEntropy", reduction);
  const { device, shape, dtype } = logits;
  if (!isFloat(dtype)) {
    throw new TypeError(
      `Cannot crossEntropy: logits have dtype ${dtype}, expected f32, f16 or bf16`,
    );
  }
  if (!isProbability(labelSmoothing)) {
    throw new RangeError(
      `Cannot crossEntropy: labelSmoothing is ${told(labelSmoothing)}, expected a number in [0, 1]`,
    );
  }
  if (!Number.isInteger(ignoreIndex) || Math.abs(ignoreIndex) >= 2 ** 31) {
    throw new RangeError(
      `Cannot crossEntropy: ignoreIndex is ${
        told(ignoreIndex)
      }, expected a whole number of 32 bits`,
    );
  }
  const axis = Math.min(1, logits.ndim - 1);
  const classes = shape[axis] ?? 0;
  return tidy(() => {
    const targets = indicesOn(device, target, {
      action: "crossEntropy",
      name: "target",
      isValid: (index) => index === ignoreIndex || (index >= 0 && index < classes),
      expected: `classes from 0 to ${classes - 1}, or ${ignoreIndex}`,
    });
    const outer = shape.filter((_, i) => i !== axis);
    if (classes === 0 || !sameShape(targets.shape, outer)) {
      throw new RangeError(
        `Cannot crossEntropy: logits and target have shapes ${formatShape(shape)} and ` +
          `${formatShape(targets.shape)}, expected [N, C, ...] and [N, ...], or [C] and []`,
      );
    }
    const rows = logits.ndim <= 2
      ? logits.reshape([numel(outer), classes])
      : logits.permute([...outer.map((_, i) => i < axis ? i : i + 1), axis])
        .reshape([numel(outer), classes]);
    const flat = targets.reshape([numel(outer)]);
    const losses = recordedLosses(rows, flat, { ignoreIndex, labelSmoothing });
    if (reduction === "none") return losses.reshape(outer);
    if (reduction === "sum") return losses.sum();
    const count = flat.ne(ignoreIndex).sum();
    // 0 / 0 is NaN only where the driver likes.
    return losses.sum().div(count).maskedFill(count.eq(0), NaN);
  });
}

/** Losses `[N]` of `logits [N, C]`. */
function recordedLosses(
  logits: Tensor,
  targets: Tensor,
  options: { readonly ignoreIndex: number; readonly labelSmoothing: number },
): Tensor {
  const { device } = logits;
  const runtime = runtimeOf(device);
  const losses = rowLosses(runtime, arrayOf(logits), arrayOf(targets), options);
  const out = tensorFrom(device, runtime, losses);
  record({
    name: "crossEntropy",
    inputs: [logits],
    outputs: [out],
    saves: [logits, targets],
    backward: ([gradient], [logits, targets]) => {
      const [g, x, classes] = [arrayOf(gradient!), arrayOf(logits!), arrayOf(targets!)];
      return [tensorFrom(device, runtime, crossEntropyGradient(runtime, g, x, classes, options))];
    },
  });
  return out;
}

/**
 * The squared difference of two tensors, after `torch.nn.functional.mse_loss`.
 *
 * @param input Floats.
 * @param target Of the same shape and device: unlike PyTorch's, it does not broadcast.
 * @param options Reduction.
 * @returns A scalar, or with `"none"` the squares.
 * @throws {RangeError} If the shapes differ.
 */
export function mseLoss(
  input: Tensor,
  target: Tensor,
  options: LossOptions = {},
): Tensor {
  assertArguments("mseLoss", arguments, 3, "write { reduction }");
  const { reduction = "mean" } = checkedOptions("mseLoss", options, LOSS_OPTIONS);
  assertTensor("mseLoss", "input", input);
  assertTensor("mseLoss", "target", target);
  assertReduction("mseLoss", reduction);
  arrayOn(input.device, target, "mseLoss", "target");
  if (!sameShape(input.shape, target.shape)) {
    throw new RangeError(
      `Cannot mseLoss: input and target have shapes ${formatShape(input.shape)} and ` +
        `${formatShape(target.shape)}, expected the same`,
    );
  }
  return tidy(() => {
    const squares = input.sub(target).square();
    if (reduction === "none") return squares;
    return reduction === "sum" ? squares.sum() : squares.mean();
  });
}

function assertReduction(action: string, reduction: Reduction): void {
  if (["mean", "sum", "none"].includes(reduction)) return;
  throw new RangeError(
    `Cannot ${action}: reduction is ${told(reduction)}, expected "mean", "sum" or "none"`,
  );
}
