/** What layers have in common: named weights, and a mode. */
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { formatShape, sameShape } from "../../gpu/shape.ts";

/** Weights by name, as PyTorch names them: `qkv.weight`, `proj.bias`. */
export type StateDict = Record<string, Tensor>;

/** Base class of layers, after `torch.nn.Module`. */
export abstract class Module {
  /** Whether layers that differ in training, such as dropout, act as there. `true` at first. */
  training = true;

  /** Layers within this one, by name. */
  protected children(): Record<string, Module> {
    return {};
  }

  /** Weights of this layer itself, by name. */
  protected weights(): Record<string, Tensor> {
    return {};
  }

  /** Replaces one of this layer's own weights. */
  protected setWeight(name: string, _tensor: Tensor): void {
    throw new Error(`Cannot set weight ${name}: ${this.constructor.name} has none`);
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

  /** All weights. */
  parameters(): Tensor[] {
    return Object.values(this.stateDict());
  }

  /** All weights by their path, as in `proj.weight`. The tensors are the layer's own, not copies. */
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
   * Replaces all weights by copies of those given.
   *
   * @param state Weights by path; exactly those of {@linkcode stateDict}, with the same shapes.
   * @throws {RangeError} Naming all missing, unexpected and mis-shaped weights; nothing is replaced then.
   */
  loadStateDict(state: Readonly<StateDict>): void {
    const own = this.stateDict();
    const problems = [
      ...Object.keys(own).filter((path) => !Object.hasOwn(state, path)).map((path) =>
        `missing ${path} ${formatShape(own[path]!.shape)}`
      ),
      ...Object.keys(state).filter((path) => !Object.hasOwn(own, path)).map((path) =>
        `unexpected ${path} ${formatShape(state[path]!.shape)}`
      ),
      ...Object.keys(own).filter((path) =>
        Object.hasOwn(state, path) && !sameShape(own[path]!.shape, state[path]!.shape)
      ).map((path) =>
        `${path} has shape ${formatShape(state[path]!.shape)}, expected ${
          formatShape(own[path]!.shape)
        }`
      ),
    ];
    if (problems.length > 0) {
      throw new RangeError(
        `Cannot load weights into ${this.constructor.name}:\n  ${problems.join("\n  ")}`,
      );
    }
    this.replaceWeights(state, "");
  }

  /** Copies the weights under a path into this layer and those within. */
  protected replaceWeights(state: Readonly<StateDict>, path: string): void {
    for (const [name, old] of Object.entries(this.weights())) {
      this.setWeight(name, state[path + name]!.clone());
      old.dispose();
    }
    for (const [name, child] of Object.entries(this.children())) {
      child.replaceWeights(state, `${path}${name}.`);
    }
  }

  /** Disposes all weights. */
  dispose(): void {
    for (const weight of this.parameters()) weight.dispose();
  }

  /** Disposes at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }
}

/** Throws unless a layer's size is a whole number >= 1. */
export function assertSize(layer: string, name: string, size: number): void {
  if (!Number.isInteger(size) || size < 1) {
    throw new RangeError(`Cannot make ${layer}: ${name} is ${size}, expected a whole number >= 1`);
  }
}

/** Throws unless `x` ends in an axis of this size. */
export function assertLastAxis(layer: string, x: Tensor, size: number): void {
  if (x.ndim === 0 || x.shape.at(-1) !== size) {
    throw new RangeError(
      `Cannot run ${layer}: input has shape ${formatShape(x.shape)}, expected [..., ${size}]`,
    );
  }
}
