/** What layers have in common: named parameters, and a mode. */
import { assertFunction, checkedOptions, limitArguments, told } from "../../gpu/checks.ts";
import { noGrad } from "../../gpu/autograd/mode.ts";
import { type DType, isFloat } from "../../gpu/dtype.ts";
import { tidyApart } from "../../gpu/lifetime.ts";
import { formatShape } from "../../gpu/shape.ts";
import { assertTensor } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { assertLoadable, copyState, type LoadResult, type StateDict } from "./state_dict.ts";

/**
 * Base class of layers, after `torch.nn.Module`. A layer of one's own overrides `forward` as it likes,
 * `weights` and `setWeight` if it has parameters itself, and `children` if it has layers within.
 *
 * Parameters belong to their layer and to no `tidy` scope: `dispose()` lets go of them, or the garbage
 * collector.
 *
 * @example A layer with a parameter and a layer of its own
 * ```ts
 * import { type Device, Linear, Module, parameter, requestDevice, type Tensor } from "@denoformers/attention";
 *
 * class Head extends Module {
 *   readonly fc: Linear;
 *   gain: Tensor;
 *
 *   constructor(device: Device) {
 *     super();
 *     this.fc = new Linear(device, 8, 3);
 *     this.gain = parameter(() => device.ones([3]));
 *   }
 *
 *   forward(x: Tensor): Tensor {
 *     return this.fc.forward(x).mul(this.gain);
 *   }
 *
 *   protected override weights() {
 *     return { gain: this.gain };
 *   }
 *
 *   protected override setWeight(_name: string, tensor: Tensor) {
 *     this.gain = tensor;
 *   }
 *
 *   protected override children() {
 *     return { fc: this.fc };
 *   }
 * }
 *
 * using device = await requestDevice();
 * console.log(Object.keys(new Head(device).stateDict())); // ["gain", "fc.weight", "fc.bias"]
 * ```
 */
export abstract class Module {
  static {
    limitArguments(this, {
      train: [1],
      setRequiresGrad: [1],
      loadStateDict: [2, "write { strict: false }"],
    });
  }

  /** Whether layers that differ in training, such as dropout, act as there. `true` at first. */
  training = true;

  /** Layers within this one, by name; those of a list by their number too, as in `blocks.0`. */
  protected children(): Record<string, Module> {
    return {};
  }

  /** Parameters of this layer itself, by name. */
  protected weights(): Record<string, Tensor> {
    return {};
  }

  /** Replaces one of this layer's own parameters by a tensor of another dtype, for {@linkcode to}. */
  protected setWeight(name: string, _tensor: Tensor): void {
    throw new Error(
      `Cannot set weight ${name}: ${this.constructor.name} does not override setWeight()`,
    );
  }

  /** Switches this layer and those within to training or, with `false`, to evaluation. */
  train(mode = true): this {
    this.training = mode;
    for (const child of Object.values(this.children())) child.train(mode);
    return this;
  }

  /** Switches to evaluation: no dropout. */
  eval(): this {
    return this.train(false);
  }

  /** All parameters, each once, also if it goes by several names. */
  parameters(): Tensor[] {
    return [...new Set(Object.values(this.stateDict()))];
  }

  /** All parameters with their path, each once, by the first. */
  namedParameters(): [name: string, parameter: Tensor][] {
    const named = new Map<Tensor, string>();
    for (const [path, tensor] of Object.entries(this.stateDict())) {
      if (!named.has(tensor)) named.set(tensor, path);
    }
    return [...named].map(([tensor, path]) => [path, tensor]);
  }

  /** Disposes the gradients of all parameters; the next backward pass begins new sums. */
  zeroGrad(): void {
    for (const tensor of this.parameters()) tensor.zeroGrad();
  }

  /** Makes gradients flow to all parameters or, with `false`, freezes them. */
  setRequiresGrad(value = true): this {
    for (const tensor of this.parameters()) tensor.requiresGrad = value;
    return this;
  }

  /**
   * Converts all parameters to another float type. They become new tensors, so an optimiser is made behind;
   * gradients are dropped.
   *
   * @param dtype f32, f16 or bf16.
   * @throws {TypeError} For any other.
   */
  to(dtype: DType): this {
    if (!isFloat(dtype)) {
      throw new TypeError(
        `Cannot convert ${this.constructor.name}: dtype is ${dtype}, expected f32, f16 or bf16`,
      );
    }
    const old = this.parameters().filter((tensor) => tensor.dtype !== dtype);
    const made = noGrad(() => tidyApart(() => old.map((tensor) => tensor.to(dtype))));
    for (const [i, tensor] of made.entries()) tensor.requiresGrad = old[i]!.requiresGrad;
    this.replaceWeights(new Map(old.map((tensor, i) => [tensor, made[i]!])));
    for (const tensor of old) tensor.dispose();
    return this;
  }

  /** Replaces parameters of this layer and of those within. */
  protected replaceWeights(replacements: ReadonlyMap<Tensor, Tensor>): void {
    for (const [name, old] of Object.entries(this.weights())) {
      const tensor = replacements.get(old);
      if (tensor) this.setWeight(name, tensor);
    }
    for (const child of Object.values(this.children())) child.replaceWeights(replacements);
  }

  /** All parameters by their path, as in `proj.weight`. The tensors are the layer's own, not copies. */
  stateDict(): StateDict {
    const state: StateDict = { ...this.weights() };
    for (const [name, child] of Object.entries(this.children())) {
      for (const [path, tensor] of Object.entries(child.stateDict())) {
        state[`${name}.${path}`] = tensor;
      }
    }
    return state;
  }

  /**
   * Copies values into the parameters, which stay the tensors that they are, of their own dtypes.
   *
   * @param state Values by path, of the shapes of {@linkcode stateDict} and of any dtype.
   * @param options `strict`: whether missing and unexpected paths are errors. Default `true`.
   * @returns The paths that were missing, and those that were not expected.
   * @throws {RangeError} Naming all missing, unexpected and mis-shaped values; nothing is loaded then. If
   * not strict, for mis-shaped ones alone.
   */
  loadStateDict(
    state: Readonly<StateDict>,
    options: { strict?: boolean } = {},
  ): LoadResult {
    const { strict = true } = checkedOptions(
      `load weights into ${this.constructor.name}`,
      options,
      { strict: "boolean" },
    );
    const own = this.stateDict();
    const result = assertLoadable(this.constructor.name, own, state, strict);
    copyState(own, state);
    return result;
  }

  /** Disposes all parameters. */
  dispose(): void {
    for (const tensor of this.parameters()) tensor.dispose();
  }

  /** Disposes at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/**
 * A parameter, as layers have them: a tensor to which gradients flow, and which no `tidy` around disposes.
 *
 * @param make Computes the initial values; all tensors that it makes besides are disposed.
 * @returns What `make` returned.
 */
export function parameter(make: () => Tensor): Tensor {
  assertFunction("make a parameter", make);
  return parameters(() => {
    const made = make();
    assertTensor("make a parameter", "what the function returned", made);
    return [made];
  })[0]!;
}

/** As {@linkcode parameter}, for several that are made together. */
export function parameters<T extends Record<string, Tensor> | Tensor[]>(make: () => T): T {
  const made = noGrad(() => tidyApart(make));
  for (const tensor of Object.values(made)) tensor.requiresGrad = true;
  return made;
}

/** Throws unless a layer's size is a whole number >= 1. */
export function assertSize(layer: string, name: string, size: number): void {
  if (!Number.isInteger(size) || size < 1) {
    throw new RangeError(
      `Cannot make ${layer}: ${name} is ${told(size)}, expected a whole number >= 1`,
    );
  }
}

/** Throws unless `x` ends in an axis of this size. */
export function assertLastAxis(layer: string, x: Tensor, size: number): void {
  assertTensor(`run ${layer}`, "input", x);
  if (x.ndim === 0 || x.shape.at(-1) !== size) {
    throw new RangeError(
      `Cannot run ${layer}: input has shape ${formatShape(x.shape)}, expected [..., ${size}]`,
    );
  }
}
