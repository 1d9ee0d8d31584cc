/** The tensor: views that copy nothing, arithmetic, linear algebra. PyTorch's names and meanings. */
import { type DeviceArray, withLayout } from "../array.ts";
import type { Device } from "../device.ts";
import { assertDType, type DType } from "../dtype.ts";
import {
  expandLayout,
  isContiguous,
  type Layout,
  permuteLayout,
  reshapeLayout,
  resolveReshape,
  selectLayout,
  sliceLayout,
  squeezeLayout,
  unsqueezeLayout,
} from "../layout.ts";
import {
  binary,
  type BinaryName,
  logical,
  unary,
  type UnaryName,
  where,
} from "../ops/elementwise.ts";
import { copy, type MapOperand } from "../ops/map.ts";
import { matmul } from "../ops/matmul.ts";
import { reduce, type ReduceName } from "../ops/reduce.ts";
import { layerNorm, logSumExp, softmax } from "../ops/rows.ts";
import { assertDropout, dropout } from "../random/dropout.ts";
import { freshSeed } from "../random/philox.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { assertShape, normalizeAxes, normalizeAxis } from "../shape.ts";
import { arrayOf, arrayOn, TensorBase } from "./base.ts";

/** Axes to reduce (default: all), and whether to keep them at size 1 (default: no). */
export interface ReduceOptions {
  /** One axis or several; negative ones count from the end. */
  axis?: number | readonly number[];
  /** Keep reduced axes at size 1. */
  keepDim?: boolean;
}

/** Makes a tensor of an array, whose storage reference it takes over. */
export let tensorFrom: (device: Device, runtime: Runtime, array: DeviceArray) => Tensor;

/**
 * An n-dimensional array on a GPU. Made by a {@linkcode Device}; never changed once made.
 *
 * Operations enqueue work and return at once; only {@linkcode data}, {@linkcode toArray},
 * {@linkcode item} and printing wait. Binary operations broadcast as NumPy does, and take a number as
 * their other operand. Types meet as PyTorch's do: a float's before an integer's, f16 and bf16 in f32; a
 * number takes the tensor's float type. Floats are computed in f32 and rounded once. Comparisons give bool. Errors: `TypeError` for a disposed tensor, another device's tensor or a wrong dtype,
 * `RangeError` for sizes that do not go together.
 */
export class Tensor extends TensorBase {
  readonly #device: Device;
  readonly #runtime: Runtime;

  static {
    tensorFrom = (device, runtime, array) => new Tensor(device, runtime, array);
  }

  private constructor(device: Device, runtime: Runtime, array: DeviceArray) {
    super(device, runtime, array);
    this.#device = device;
    this.#runtime = runtime;
  }

  // Views: the same memory under another shape.

  /** Another shape for the same elements; one size may be -1. Copies only if strides demand it. */
  reshape(shape: readonly number[]): Tensor {
    const array = arrayOf(this);
    const resolved = resolveReshape(this.shape, shape);
    assertShape(resolved, "reshape");
    const layout = reshapeLayout(array.layout, resolved);
    if (layout) return this.#view(layout);
    const dense = copy(this.#runtime, array);
    return this.#own(withLayout(dense, reshapeLayout(dense.layout, resolved)!));
  }

  /** Axes in another order: axis `i` of the result is axis `order[i]` of this one. */
  permute(order: readonly number[]): Tensor {
    return this.#view(permuteLayout(arrayOf(this).layout, order));
  }

  /** Two axes exchanged. */
  transpose(a: number, b: number): Tensor {
    const axes = this.shape.map((_, axis) => axis);
    const i = normalizeAxis(a, this.ndim, "transpose");
    const j = normalizeAxis(b, this.ndim, "transpose");
    return this.permute(axes.with(i, j).with(j, i));
  }

  /** Elements `start` to `end` (exclusive) along an axis; negative bounds count from the end. */
  slice(axis: number, start: number, end: number = this.#sizeOf(axis), step = 1): Tensor {
    return this.#view(sliceLayout(arrayOf(this).layout, axis, start, end, step));
  }

  /** One index along an axis, which is dropped. */
  select(axis: number, index: number): Tensor {
    return this.#view(selectLayout(arrayOf(this).layout, axis, index));
  }

  /** All indices along an axis, each as a tensor without it. */
  unbind(axis = 0): Tensor[] {
    return Array.from({ length: this.#sizeOf(axis) }, (_, index) => this.select(axis, index));
  }

  /** At most `count` pieces of equal size along an axis; the last may be smaller. */
  chunk(count: number, axis = 0): Tensor[] {
    if (!Number.isInteger(count) || count < 1) {
      throw new RangeError(`Cannot chunk: count is ${count}, expected a whole number >= 1`);
    }
    const size = this.#sizeOf(axis);
    const piece = Math.max(1, Math.ceil(size / count));
    const pieces = Math.max(1, Math.ceil(size / piece));
    return Array.from(
      { length: pieces },
      (_, i) => this.slice(axis, i * piece, Math.min(size, (i + 1) * piece)),
    );
  }

  /** Axes of size 1 repeated to larger sizes, and new leading axes; -1 keeps a size. */
  expand(shape: readonly number[]): Tensor {
    assertShape(shape.map((size) => size === -1 ? 1 : size), "expand");
    return this.#view(expandLayout(arrayOf(this).layout, shape));
  }

  /** Without axes of size 1: all of them, or the one named. */
  squeeze(axis?: number): Tensor {
    return this.#view(squeezeLayout(arrayOf(this).layout, axis));
  }

  /** With a new axis of size 1. */
  unsqueeze(axis: number): Tensor {
    return this.#view(unsqueezeLayout(arrayOf(this).layout, axis));
  }

  /** Whether the elements lie in row-major order, without gaps. */
  isContiguous(): boolean {
    return isContiguous(arrayOf(this).layout);
  }

  /** The same elements in row-major order: a view if they are already, else a copy. */
  contiguous(): Tensor {
    const array = arrayOf(this);
    return this.isContiguous() ? this.#view(array.layout) : this.#own(copy(this.#runtime, array));
  }

  /** A copy in memory of its own. */
  clone(): Tensor {
    return this.#own(copy(this.#runtime, arrayOf(this)));
  }

  /**
   * The elements converted: floats to integers towards zero, to bool by `!= 0`, to f16 and bf16 to the
   * nearest (ties to even; beyond the largest: infinity). A view if nothing changes.
   */
  to(dtype: DType): Tensor {
    const array = arrayOf(this);
    assertDType(dtype, "convert a tensor");
    if (dtype === array.dtype) return this.#view(array.layout);
    return this.#own(copy(this.#runtime, array, dtype));
  }

  // Elementwise.

  /** `this + other`. */
  add(other: Tensor | number): Tensor {
    return this.#binary("add", other);
  }

  /** `this - other`. */
  sub(other: Tensor | number): Tensor {
    return this.#binary("sub", other);
  }

  /** `this * other`. */
  mul(other: Tensor | number): Tensor {
    return this.#binary("mul", other);
  }

  /** `this / other`: f32, or the operands' float type. */
  div(other: Tensor | number): Tensor {
    return this.#binary("div", other);
  }

  /** `this ** other`: f32, or the operands' float type; a negative base wants a whole exponent. */
  pow(other: Tensor | number): Tensor {
    return this.#binary("pow", other);
  }

  /** The larger of two elements; NaN if one is. */
  maximum(other: Tensor | number): Tensor {
    return this.#binary("maximum", other);
  }

  /** The smaller of two elements; NaN if one is. */
  minimum(other: Tensor | number): Tensor {
    return this.#binary("minimum", other);
  }

  /** `this === other`. */
  eq(other: Tensor | number): Tensor {
    return this.#binary("eq", other);
  }

  /** `this !== other`. */
  ne(other: Tensor | number): Tensor {
    return this.#binary("ne", other);
  }

  /** `this < other`. */
  lt(other: Tensor | number): Tensor {
    return this.#binary("lt", other);
  }

  /** `this <= other`. */
  le(other: Tensor | number): Tensor {
    return this.#binary("le", other);
  }

  /** `this > other`. */
  gt(other: Tensor | number): Tensor {
    return this.#binary("gt", other);
  }

  /** `this >= other`. */
  ge(other: Tensor | number): Tensor {
    return this.#binary("ge", other);
  }

  /** Both true; for bool. */
  logicalAnd(other: Tensor): Tensor {
    return this.#own(logical(this.#runtime, "and", [arrayOf(this), this.#array(other)]));
  }

  /** At least one true; for bool. */
  logicalOr(other: Tensor): Tensor {
    return this.#own(logical(this.#runtime, "or", [arrayOf(this), this.#array(other)]));
  }

  /** Not true; for bool. */
  logicalNot(): Tensor {
    return this.#own(logical(this.#runtime, "not", [arrayOf(this)]));
  }

  /** `-this`. */
  neg(): Tensor {
    return this.#unary("neg");
  }

  /** Absolute value. */
  abs(): Tensor {
    return this.#unary("abs");
  }

  /** `this * this`. */
  square(): Tensor {
    return this.#unary("square");
  }

  /** e to the power of each element. */
  exp(): Tensor {
    return this.#unary("exp");
  }

  /** Natural logarithm. */
  log(): Tensor {
    return this.#unary("log");
  }

  /** Square root. */
  sqrt(): Tensor {
    return this.#unary("sqrt");
  }

  /** 1 / square root. */
  rsqrt(): Tensor {
    return this.#unary("rsqrt");
  }

  /** Sine, of radians. */
  sin(): Tensor {
    return this.#unary("sin");
  }

  /** Cosine, of radians. */
  cos(): Tensor {
    return this.#unary("cos");
  }

  /** Hyperbolic tangent. */
  tanh(): Tensor {
    return this.#unary("tanh");
  }

  /** 1 / (1 + exp(-x)). */
  sigmoid(): Tensor {
    return this.#unary("sigmoid");
  }

  /** max(x, 0). */
  relu(): Tensor {
    return this.#unary("relu");
  }

  /** `condition ? this : other`, with a condition of dtype bool. */
  where(condition: Tensor, other: Tensor | number): Tensor {
    const picked = this.#array(condition);
    return this.#own(where(this.#runtime, picked, arrayOf(this), this.#operand(other)));
  }

  /** `mask ? value : this`, with a mask of dtype bool. */
  maskedFill(mask: Tensor, value: number): Tensor {
    return this.#own(where(this.#runtime, this.#array(mask), value, arrayOf(this)));
  }

  /**
   * Each element zero with probability `p`, else divided by `1 - p`, so that the mean stays. Floats only.
   * Which elements are dropped depends on the seed and on their index alone.
   *
   * @param p From 0 (a view of the same elements) to 1 (zeros, also where an element is not finite).
   * @param options `seed`: a whole number below 2^53; default a new one every time.
   */
  dropout(p: number, { seed = freshSeed() }: { seed?: number } = {}): Tensor {
    const array = arrayOf(this);
    assertDropout(array.dtype, p, seed);
    if (p === 0) return this.#view(array.layout);
    return this.#own(dropout(this.#runtime, array, p, seed));
  }

  // Reductions.

  /** Sum; of bool, the i32 number of true elements. */
  sum(options?: ReduceOptions): Tensor {
    return this.#reduce("sum", options);
  }

  /** Mean; f32, but f16 and bf16 of these (summed in f32). NaN of no elements. */
  mean(options?: ReduceOptions): Tensor {
    return this.#reduce("mean", options);
  }

  /** Largest element; NaN if one is. */
  max(options?: ReduceOptions): Tensor {
    return this.#reduce("max", options);
  }

  /** Smallest element; NaN if one is. */
  min(options?: ReduceOptions): Tensor {
    return this.#reduce("min", options);
  }

  /** Softmax along an axis. Where all are -inf the result is 0, as attention wants it (PyTorch: NaN). */
  softmax(axis = -1): Tensor {
    const at = normalizeAxis(axis, this.ndim, "softmax");
    return this.#own(softmax(this.#runtime, arrayOf(this), at));
  }

  /** log(sum(exp(x))) along an axis, which is dropped unless `keepDim`; -inf where all are. */
  logSumExp(axis = -1, { keepDim = false }: { keepDim?: boolean } = {}): Tensor {
    const at = normalizeAxis(axis, this.ndim, "logSumExp");
    const kept = logSumExp(this.#runtime, arrayOf(this), at);
    return this.#own(keepDim ? kept : withLayout(kept, selectLayout(kept.layout, at, 0)));
  }

  // Linear algebra.

  /**
   * `[..., M, K]` times `[..., K, N]` is `[..., M, N]`; leading axes broadcast. Both of one float type,
   * summed in f32. O(M N K) a matrix.
   */
  matmul(other: Tensor): Tensor {
    return this.#own(matmul(this.#runtime, arrayOf(this), this.#array(other)));
  }

  /**
   * Layer normalisation of the last axis (Ba et al., 2016): `(x - mean) / sqrt(variance + epsilon)`,
   * times `weight [C]` plus `bias [C]` where given.
   */
  layerNorm(
    { weight, bias, epsilon = 1e-5 }: { weight?: Tensor; bias?: Tensor; epsilon?: number } = {},
  ): Tensor {
    return this.#own(
      layerNorm(
        this.#runtime,
        arrayOf(this),
        weight && this.#array(weight),
        bias && this.#array(bias),
        epsilon,
      ),
    );
  }

  #sizeOf(axis: number): number {
    return this.shape[normalizeAxis(axis, this.ndim, "slice")]!;
  }

  #view(layout: Layout): Tensor {
    const array = arrayOf(this);
    array.storage.retain();
    return this.#own(withLayout(array, layout));
  }

  #own(array: DeviceArray): Tensor {
    return new Tensor(this.#device, this.#runtime, array);
  }

  #array(other: Tensor): DeviceArray {
    return arrayOn(this.#device, other);
  }

  #operand(other: Tensor | number): MapOperand {
    return typeof other === "number" ? other : this.#array(other);
  }

  #unary(name: UnaryName): Tensor {
    return this.#own(unary(this.#runtime, name, arrayOf(this)));
  }

  #binary(name: BinaryName, other: Tensor | number): Tensor {
    return this.#own(binary(this.#runtime, name, arrayOf(this), this.#operand(other)));
  }

  #reduce(name: ReduceName, { axis, keepDim = false }: ReduceOptions = {}): Tensor {
    const axes = normalizeAxes(axis, this.ndim, name);
    const kept = reduce(this.#runtime, name, arrayOf(this), axes);
    if (keepDim) return this.#own(kept);
    const shape = this.shape.filter((_, i) => !axes.includes(i));
    return this.#own(withLayout(kept, reshapeLayout(kept.layout, shape)!));
  }
}
