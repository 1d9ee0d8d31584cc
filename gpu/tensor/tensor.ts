/** The tensor: views that copy nothing, arithmetic, linear algebra. PyTorch's names and meanings. */
import { checkedOptions, limitArguments } from "../checks.ts";
import type { DeviceArray } from "../array.ts";
import type { Device } from "../device.ts";
import type { DType } from "../dtype.ts";
import { isContiguous } from "../layout.ts";
import type { IntegerList } from "../parse.ts";
import { freshSeed } from "../random/philox.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { TENSOR_ARGUMENTS } from "./arguments.ts";
import { arrayOf, setTensorClass } from "./base.ts";
import { DifferentiableTensor } from "./differentiable.ts";
import * as elementwise from "./elementwise.ts";
import { indexSelect } from "./indexing.ts";
import { isLastAxis, layerNorm, matmul } from "./linear_algebra.ts";
import { logSumExp, reduce, softmax } from "./reductions.ts";
import { copyFrom } from "./update.ts";
import * as views from "./views.ts";

/** Axes to reduce (default: all), and whether to keep them at size 1 (default: no). */
export interface ReduceOptions {
  /** One axis or several; negative ones count from the end. */
  axis?: number | readonly number[];
  /** Keep reduced axes at size 1. */
  keepDim?: boolean;
}

const GELU_OPTIONS = { approximate: "string" };
const DROPOUT_OPTIONS = { seed: "number" };
const LOG_SUM_EXP_OPTIONS = { keepDim: "boolean" };
const LAYER_NORM_OPTIONS = { weight: "Tensor", bias: "", epsilon: "number" };

export { tensorFrom } from "./base.ts";

/**
 * An n-dimensional array on a GPU. Made by a {@linkcode Device}; only {@linkcode copyFrom} and optimisers
 * change one.
 *
 * Operations enqueue work and return at once; only {@linkcode data}, {@linkcode toArray},
 * {@linkcode item} and printing wait. Binary operations broadcast as NumPy does, and take a number as
 * their other operand. Types meet as PyTorch's do: a float's before an integer's, f16 and bf16 in f32; a
 * number takes the tensor's float type. Floats are computed in f32 and rounded once. Comparisons give
 * bool. Errors: `TypeError` for a disposed tensor, another device's tensor or a wrong dtype,
 * `RangeError` for sizes that do not go together.
 *
 * Every operation between floats has a gradient; see {@linkcode requiresGrad} and {@linkcode backward}.
 */
export class Tensor extends DifferentiableTensor {
  static {
    setTensorClass((device, runtime, array) => new Tensor(device, runtime, array));
    limitArguments(this, TENSOR_ARGUMENTS);
  }

  private constructor(device: Device, runtime: Runtime, array: DeviceArray) {
    super(device, runtime, array);
  }

  // Views: the same memory under another shape.

  /** Another shape for the same elements; one size may be -1. Copies only if strides demand it. */
  reshape(shape: readonly number[]): Tensor {
    return views.reshape(this, shape);
  }

  /** Axes in another order: axis `i` of the result is axis `order[i]` of this one. */
  permute(order: readonly number[]): Tensor {
    return views.permute(this, order);
  }

  /** Two axes exchanged. */
  transpose(a: number, b: number): Tensor {
    return views.transpose(this, a, b);
  }

  /** Elements `start` to `end` (exclusive) along an axis; negative bounds count from the end. */
  slice(axis: number, start: number, end?: number, step = 1): Tensor {
    return views.slice(this, axis, start, end, step);
  }

  /** One index along an axis, which is dropped. */
  select(axis: number, index: number): Tensor {
    return views.select(this, axis, index);
  }

  /** All indices along an axis, each as a tensor without it. */
  unbind(axis = 0): Tensor[] {
    return views.unbind(this, axis);
  }

  /** At most `count` pieces of equal size along an axis; the last may be smaller. */
  chunk(count: number, axis = 0): Tensor[] {
    return views.chunk(this, count, axis);
  }

  /**
   * The parts at some indices along an axis, in their order, as rows of a table; a copy.
   *
   * @param axis The axis that the indices count along.
   * @param indices A list, whose negative indices count from the end, or a tensor `[N]` of i32 or u32. What
   * is on the GPU is not checked: an index there that is out of range, negative ones too, gives NaN (0 of
   * integers) and has no gradient.
   * @throws {RangeError} For an index of a list that is out of range.
   */
  indexSelect(axis: number, indices: Tensor | IntegerList): Tensor {
    return indexSelect(this, axis, indices);
  }

  /** Axes of size 1 repeated to larger sizes, and new leading axes; -1 keeps a size. */
  expand(shape: readonly number[]): Tensor {
    return views.expand(this, shape);
  }

  /** Without axes of size 1: all of them, or the one named. */
  squeeze(axis?: number): Tensor {
    return views.squeeze(this, axis);
  }

  /** With a new axis of size 1. */
  unsqueeze(axis: number): Tensor {
    return views.unsqueeze(this, axis);
  }

  /** Whether the elements lie in row-major order, without gaps. */
  isContiguous(): boolean {
    return isContiguous(arrayOf(this).layout);
  }

  /** The same elements in row-major order: a view if they are already, else a copy. */
  contiguous(): Tensor {
    return views.contiguous(this);
  }

  /** A copy in memory of its own. */
  clone(): Tensor {
    return views.clone(this);
  }

  /**
   * The elements converted: floats to integers towards zero, to bool by `!= 0`, to f16 and bf16 to the
   * nearest (ties to even; beyond the largest: infinity). A view if nothing changes.
   */
  to(dtype: DType): Tensor {
    return views.to(this, dtype);
  }

  // Elementwise.

  /** `this + other`. */
  add(other: Tensor | number): Tensor {
    return elementwise.arithmetic(this, "add", other);
  }

  /** `this - other`. */
  sub(other: Tensor | number): Tensor {
    return elementwise.arithmetic(this, "sub", other);
  }

  /** `this * other`. */
  mul(other: Tensor | number): Tensor {
    return elementwise.arithmetic(this, "mul", other);
  }

  /** `this / other`: f32, or the operands' float type. */
  div(other: Tensor | number): Tensor {
    return elementwise.arithmetic(this, "div", other);
  }

  /** `this ** other`: f32, or the operands' float type; a negative base wants a whole exponent. */
  pow(other: Tensor | number): Tensor {
    return elementwise.arithmetic(this, "pow", other);
  }

  /** The larger of two elements; NaN if one is. */
  maximum(other: Tensor | number): Tensor {
    return elementwise.arithmetic(this, "maximum", other);
  }

  /** The smaller of two elements; NaN if one is. */
  minimum(other: Tensor | number): Tensor {
    return elementwise.arithmetic(this, "minimum", other);
  }

  /** `this === other`. */
  eq(other: Tensor | number): Tensor {
    return elementwise.compare(this, "eq", other);
  }

  /** `this !== other`. */
  ne(other: Tensor | number): Tensor {
    return elementwise.compare(this, "ne", other);
  }

  /** `this < other`. */
  lt(other: Tensor | number): Tensor {
    return elementwise.compare(this, "lt", other);
  }

  /** `this <= other`. */
  le(other: Tensor | number): Tensor {
    return elementwise.compare(this, "le", other);
  }

  /** `this > other`. */
  gt(other: Tensor | number): Tensor {
    return elementwise.compare(this, "gt", other);
  }

  /** `this >= other`. */
  ge(other: Tensor | number): Tensor {
    return elementwise.compare(this, "ge", other);
  }

  /** Both true; for bool. */
  logicalAnd(other: Tensor): Tensor {
    return elementwise.logical("and", this, other);
  }

  /** At least one true; for bool. */
  logicalOr(other: Tensor): Tensor {
    return elementwise.logical("or", this, other);
  }

  /** Not true; for bool. */
  logicalNot(): Tensor {
    return elementwise.logical("not", this);
  }

  /** `-this`. */
  neg(): Tensor {
    return elementwise.unary(this, "neg");
  }

  /** Absolute value. */
  abs(): Tensor {
    return elementwise.unary(this, "abs");
  }

  /** `this * this`. */
  square(): Tensor {
    return elementwise.unary(this, "square");
  }

  /** e to the power of each element. */
  exp(): Tensor {
    return elementwise.unary(this, "exp");
  }

  /** Natural logarithm. */
  log(): Tensor {
    return elementwise.unary(this, "log");
  }

  /** Square root. */
  sqrt(): Tensor {
    return elementwise.unary(this, "sqrt");
  }

  /** 1 / square root. */
  rsqrt(): Tensor {
    return elementwise.unary(this, "rsqrt");
  }

  /** Sine, of radians. */
  sin(): Tensor {
    return elementwise.unary(this, "sin");
  }

  /** Cosine, of radians. */
  cos(): Tensor {
    return elementwise.unary(this, "cos");
  }

  /** Hyperbolic tangent. */
  tanh(): Tensor {
    return elementwise.unary(this, "tanh");
  }

  /** 1 / (1 + exp(-x)). */
  sigmoid(): Tensor {
    return elementwise.unary(this, "sigmoid");
  }

  /** max(x, 0). */
  relu(): Tensor {
    return elementwise.unary(this, "relu");
  }

  /**
   * Gaussian error linear unit: x times the standard normal distribution at x.
   *
   * @param options `approximate`: `tanh` for 0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))).
   */
  gelu(options: { approximate?: "none" | "tanh" } = {}): Tensor {
    const { approximate = "none" } = checkedOptions("gelu", options, GELU_OPTIONS);
    return elementwise.gelu(this, approximate);
  }

  /** `condition ? this : other`, with a condition of dtype bool. */
  where(condition: Tensor, other: Tensor | number): Tensor {
    return elementwise.where(this, condition, other);
  }

  /** `mask ? value : this`, with a mask of dtype bool. */
  maskedFill(mask: Tensor, value: number): Tensor {
    return elementwise.maskedFill(this, mask, value);
  }

  /**
   * Each element zero with probability `p`, else divided by `1 - p`, so that the mean stays. Floats only.
   * Which elements are dropped depends on the seed and on their index alone.
   *
   * @param p From 0 (a view of the same elements) to 1 (zeros, also where an element is not finite).
   * @param options `seed`: a whole number below 2^53; default a new one every time.
   */
  dropout(p: number, options: { seed?: number } = {}): Tensor {
    const { seed = freshSeed() } = checkedOptions("dropout", options, DROPOUT_OPTIONS);
    return elementwise.dropout(this, p, seed);
  }

  // Reductions.

  /** Sum; of bool, the i32 number of true elements. */
  sum(options?: ReduceOptions): Tensor {
    return reduce(this, "sum", options);
  }

  /** Mean; f32, but f16 and bf16 of these (summed in f32). NaN of no elements. */
  mean(options?: ReduceOptions): Tensor {
    return reduce(this, "mean", options);
  }

  /** Largest element; NaN if one is. */
  max(options?: ReduceOptions): Tensor {
    return reduce(this, "max", options);
  }

  /** Smallest element; NaN if one is. */
  min(options?: ReduceOptions): Tensor {
    return reduce(this, "min", options);
  }

  /** Softmax along an axis. Where all are -inf the result is 0, as attention wants it (PyTorch: NaN). */
  softmax(axis = -1): Tensor {
    return softmax(this, axis);
  }

  /** log(sum(exp(x))) along an axis, which is dropped unless `keepDim`; -inf where all are. */
  logSumExp(axis = -1, options: { keepDim?: boolean } = {}): Tensor {
    const { keepDim = false } = checkedOptions("logSumExp", options, LOG_SUM_EXP_OPTIONS);
    return logSumExp(this, axis, keepDim);
  }

  // Linear algebra.

  /**
   * `[..., M, K]` times `[..., K, N]` is `[..., M, N]`; leading axes broadcast. Both of one float type,
   * summed in f32. O(M N K) a matrix.
   */
  matmul(other: Tensor): Tensor {
    return matmul(this, other);
  }

  /**
   * Layer normalisation of the last axis (Ba et al., 2016): `(x - mean) / sqrt(variance + epsilon)`,
   * times `weight [C]` plus `bias [C]` where given. PyTorch's `normalized_shape` may stand in place of the options if
   * it is `[C]`.
   */
  layerNorm(
    options: { weight?: Tensor; bias?: Tensor; epsilon?: number } | readonly number[] = {},
  ): Tensor {
    const { weight, bias, epsilon = 1e-5 } = checkedOptions(
      "layerNorm",
      isLastAxis(this, options) ? {} : options,
      LAYER_NORM_OPTIONS,
    );
    return layerNorm(this, weight, bias, epsilon);
  }

  // In place.

  /**
   * Overwrites the elements with another tensor's, converted to this one's dtype. All tensors on the same
   * memory change; gradients do not flow to the source.
   *
   * @param source Of the same shape.
   * @returns This tensor.
   * @throws {Error} If a recorded operation computed this tensor, or, outside of `noGrad`, if this tensor or
   * the source requires gradients.
   * @throws {RangeError} For another shape, or if this is a view that is not its memory in order.
   */
  copyFrom(source: Tensor): Tensor {
    copyFrom(this, source);
    return this;
  }
}
