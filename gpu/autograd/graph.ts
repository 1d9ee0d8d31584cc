/**
 * The graph that a backward pass walks: what autograd knows of each tensor, and one node for each recorded
 * operation. Nothing here refers to a tensor of the user's, so that garbage collection sees through it; what
 * gradients need is saved as memory with a count of its own.
 *
 *     Tensor -> Variable -> Node (which computed it) -> Variables (its inputs) -> ...
 *
 * A node lives as long as a tensor that it computed or a later node that reads one; a backward pass ends it
 * earlier, and with it gives back what it saved.
 */
import type { DeviceArray } from "../array.ts";
import type { Device } from "../device.ts";
import type { DType } from "../dtype.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { Tensor } from "../tensor/tensor.ts";

/** What autograd knows of a tensor. */
export class Variable {
  /** The tensor's shape. */
  readonly shape: readonly number[];
  /** The tensor's element type. */
  readonly dtype: DType;
  /** Whether gradients flow to it. */
  requiresGrad = false;
  /** What computed it; `undefined` for a leaf. */
  node: Node | undefined;
  /** The gradient summed so far, of a leaf. */
  grad: Tensor | undefined;
  /** Where it follows from what requires gradients and does not itself: what ended them, and the remedy. */
  end: string | undefined;
  #isReleased = false;

  /** Made with each tensor. */
  constructor(shape: readonly number[], dtype: DType) {
    this.shape = shape;
    this.dtype = dtype;
  }

  /** Whether the tensor is gone; nobody can ask for its gradient any more. */
  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** The tensor is gone: so is its gradient, and its node unless others need it. */
  release(): void {
    this.#isReleased = true;
    this.grad?.dispose();
    this.grad = undefined;
    this.node?.drop();
  }
}

/** Gradients of the outputs, in order; `undefined` where nothing depends on one. */
export type Gradients = readonly (Tensor | undefined)[];

/**
 * From gradients of an operation's outputs to those of its inputs.
 *
 * @param gradients Of the outputs; at least one is there. Each of its output's shape and dtype.
 * @param saved What was saved, in order.
 * @param needs Which inputs want a gradient.
 * @returns Gradients of the inputs in order, `undefined` for those that want none. They may be of a shape to
 * which the input broadcasts, and of another float type: they are summed and converted behind.
 */
export type Backward = (
  gradients: Gradients,
  saved: readonly (Tensor | undefined)[],
  needs: readonly boolean[],
) => Gradients;

/** A tensor's memory as it was when an operation saved it. */
export interface Saved {
  readonly device: Device;
  readonly runtime: Runtime;
  /** Its storage is retained. */
  readonly array: DeviceArray;
  /** The storage's version then. */
  readonly version: number;
}

let count = 0;

/** A recorded operation. */
export class Node {
  /** Nodes are numbered as they are made, so inputs come before what is computed of them. */
  readonly number: number = count++;
  /** What the operation is called in errors. */
  readonly name: string;
  /** `undefined` for an input that is not there. */
  readonly inputs: readonly (Variable | undefined)[];
  readonly outputs: readonly Variable[];
  readonly backward: Backward;
  #saved: readonly (Saved | undefined)[] | undefined;
  /** Tensors that it computed, and later nodes that read these. */
  #references: number;

  /** Takes over the references of what is saved. */
  constructor(
    name: string,
    inputs: readonly (Variable | undefined)[],
    outputs: readonly Variable[],
    saved: readonly (Saved | undefined)[],
    backward: Backward,
  ) {
    this.name = name;
    this.inputs = inputs;
    this.outputs = outputs;
    this.backward = backward;
    this.#saved = saved;
    this.#references = outputs.length;
    for (const input of inputs) if (input?.node) input.node.#references++;
  }

  /** What was saved; `undefined` once it is given back. */
  get saved(): readonly (Saved | undefined)[] | undefined {
    return this.#saved;
  }

  /** Gives back what was saved; the node cannot be walked again. */
  free(): void {
    for (const saved of this.#saved ?? []) saved?.array.storage.release();
    this.#saved = undefined;
  }

  /** One tensor or node less refers to it. Without any, it and all that only it needs are freed. */
  drop(): void {
    const open: Node[] = [this]; // Not by recursion: chains may be long.
    for (let node = open.pop(); node; node = open.pop()) {
      if (--node.#references > 0) continue;
      node.free();
      for (const input of node.inputs) if (input?.node) open.push(input.node);
    }
  }
}
