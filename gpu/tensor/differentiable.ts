/** What autograd adds to a tensor: whether gradients flow to it, and the gradient itself. */
import { checkedOptions, limitArguments, type OptionNames } from "../checks.ts";
import { type DType, isFloat } from "../dtype.ts";
import { noteEnd } from "../autograd/record.ts";
import { checkedRoot, runBackward } from "../autograd/engine.ts";
import { DIFFERENTIABLE_ARGUMENTS } from "./arguments.ts";
import { TensorBase, tensorFrom, tensorParts, variableOf } from "./base.ts";
import type { Tensor } from "./tensor.ts";

/** Throws if gradients are to flow to a tensor of a type that has none. */
export function assertDifferentiable(dtype: DType, requiresGrad: boolean | undefined): void {
  if (!requiresGrad || isFloat(dtype)) return;
  throw new TypeError(
    `Cannot set requiresGrad: dtype is ${dtype}, expected f32, f16 or bf16, convert with .to("f32")`,
  );
}

/** Options of {@linkcode DifferentiableTensor.backward}. */
export interface BackwardOptions {
  /** Whether to keep what the graph saved, for another backward pass over it. Default `false`. */
  retainGraph?: boolean;
}

const BACKWARD_OPTIONS: OptionNames<BackwardOptions> = { retainGraph: "boolean" };

/** The part of {@linkcode Tensor} that autograd is about; not made by hand. */
export abstract class DifferentiableTensor extends TensorBase {
  static {
    limitArguments(this, DIFFERENTIABLE_ARGUMENTS);
  }

  /**
   * Whether gradients flow to the tensor: of a leaf, one that no recorded operation computed, because it was
   * set; of any other because it follows from such a leaf.
   *
   * @throws {TypeError} When set on a tensor that is not of floats.
   * @throws {Error} When set to false on one that is not a leaf; {@linkcode detach} gives one without history.
   */
  get requiresGrad(): boolean {
    return variableOf(this).requiresGrad;
  }

  /** Makes gradients flow to a leaf, or not. */
  set requiresGrad(value: boolean) {
    const { dtype } = tensorParts(this).array;
    const variable = variableOf(this);
    assertDifferentiable(dtype, value);
    if (!value && variable.node) {
      throw new Error(
        `Cannot set requiresGrad to false: the tensor was computed by ${variable.node.name}, use detach()`,
      );
    }
    variable.requiresGrad = value;
  }

  /** Whether no recorded operation computed the tensor: gradients end here, in {@linkcode grad}. */
  get isLeaf(): boolean {
    return variableOf(this).node === undefined;
  }

  /**
   * The sum of the gradients that backward passes brought to this leaf since {@linkcode zeroGrad}, of its
   * shape and dtype; `undefined` before the first. It belongs to this tensor and is disposed with it, and
   * when the next pass replaces it by a new sum: `clone()` what is to stay.
   */
  get grad(): Tensor | undefined {
    return variableOf(this).grad;
  }

  /** Disposes the gradient; the next backward pass begins a new sum. */
  zeroGrad(): void {
    const variable = variableOf(this);
    variable.grad?.dispose();
    variable.grad = undefined;
  }

  /** The same elements without their history: a leaf to which no gradients flow. Copies nothing. */
  detach(): Tensor {
    const { device, runtime, array } = tensorParts(this);
    array.storage.retain();
    const out = tensorFrom(device, runtime, array);
    noteEnd([this], [out], "detach() ended them; leave it out");
    return out;
  }

  /**
   * Differentiates: adds to {@linkcode grad} of each leaf that this tensor follows from the derivative of
   * the sum of `gradient * this` by it. Gives back what operations had saved for it. Time as the
   * operations' own, two to three times.
   *
   * @param gradient Of this tensor's shape and dtype; default 1 for a tensor of one element.
   * @param options Whether the graph may be used again.
   * @throws {RangeError} If a gradient is needed, or has another shape.
   * @throws {TypeError} If it has another dtype or device.
   * @throws {Error} If this tensor follows from nothing that requires gradients, the graph was used before,
   * or a tensor that it needs was changed in place. No gradient has changed then.
   *
   * @example The gradient of a sum of squares
   * ```ts
   * import { requestDevice } from "@denoformers/attention";
   *
   * using device = await requestDevice();
   * const x = device.tensor([1, 2, 3], { requiresGrad: true });
   * x.square().sum().backward();
   * console.log(await x.grad!.toArray()); // [2, 4, 6]
   * ```
   */
  backward(gradient?: Tensor, options: BackwardOptions = {}): void {
    const { retainGraph = false } = checkedOptions("backward", options, BACKWARD_OPTIONS);
    const root = checkedRoot(this, gradient);
    try {
      runBackward([root], retainGraph);
    } finally {
      if (root.gradient !== gradient) root.gradient.dispose();
    }
  }
}
