/** What every tensor has: an identity, a lifetime, and ways to the host. */
import { limitArguments, told } from "../checks.ts";
import { byteSize, type DeviceArray, isDense, withLayout } from "../array.ts";
import { Variable } from "../autograd/graph.ts";
import type { Device } from "../device.ts";
import { decodeElements, type DType, type TensorData } from "../dtype.ts";
import { formatTensor, summaryAxes } from "../format.ts";
import { sliceLayout } from "../layout.ts";
import { enroll, forgetOwner, Hold, releaseWithOwner } from "../lifetime.ts";
import { concat } from "../ops/concat.ts";
import { copy } from "../ops/map.ts";
import type { NestedArray } from "../parse.ts";
import { Runtime } from "../runtime/runtime.ts";
import { formatShape, numel } from "../shape.ts";
import { BASE_ARGUMENTS } from "./arguments.ts";
import type { Tensor } from "./tensor.ts";

/** Makes a tensor of an array, whose storage reference it takes over. Set by the class {@linkcode Tensor}. */
export let tensorFrom: (device: Device, runtime: Runtime, array: DeviceArray) => Tensor;

/** Called once, by the class that tensors are of. */
export function setTensorClass(make: typeof tensorFrom): void {
  tensorFrom = make;
}

/** What autograd knows of a tensor. */
export let variableOf: (tensor: TensorBase) => Variable;

/** What a tensor is made of, see {@linkcode tensorFrom}; throws if it is disposed. */
export let tensorParts: (
  tensor: TensorBase,
) => { readonly device: Device; readonly runtime: Runtime; readonly array: DeviceArray };

/** The array behind a tensor, for kernels; throws if the tensor is disposed. */
export let arrayOf: (tensor: TensorBase) => DeviceArray;

/** Throws unless a value is a tensor. */
export function assertTensor(action: string, name: string, tensor: TensorBase): void {
  if (tensor instanceof TensorBase) return;
  throw new TypeError(
    `Cannot ${action}: ${name} is ${
      told(tensor)
    }, expected a Tensor; make one with device.tensor()`,
  );
}

/**
 * The array behind a tensor that must be on this device; throws if it is elsewhere or no tensor.
 *
 * @param device The device.
 * @param tensor The argument.
 * @param action What the caller was about to do, for the message.
 * @param name What the argument is called.
 */
export function arrayOn(
  device: Device,
  tensor: TensorBase,
  action = "compute",
  name = "operand",
): DeviceArray {
  assertTensor(action, name, tensor);
  if (tensor.device !== device) {
    const [one, other] = [device, tensor.device].map(({ info }) => `"${info.adapter}"`);
    throw new TypeError(
      "Cannot compute with tensors of two devices, " +
        (one === other ? `both on ${one}` : `on ${one} and ${other}`) +
        ": make a tensor on one of them of the other's data()",
    );
  }
  return arrayOf(tensor);
}

/** The base class of {@linkcode Tensor}; not made by hand. */
export abstract class TensorBase {
  /** The device that holds the elements. It also keeps a tensor from being posted to another thread. */
  readonly device: Device;
  readonly #runtime: Runtime;
  readonly #array: DeviceArray;
  readonly #hold: Hold;
  readonly #variable: Variable;

  static {
    arrayOf = (tensor) => {
      tensor.#assertUsable();
      return tensor.#array;
    };
    variableOf = (tensor) => tensor.#variable;
    tensorParts = (tensor) => {
      return { device: tensor.device, runtime: tensor.#runtime, array: arrayOf(tensor) };
    };
    limitArguments(this, BASE_ARGUMENTS);
  }

  /** Takes over the caller's reference to the array's storage. */
  protected constructor(device: Device, runtime: Runtime, array: DeviceArray) {
    if (!(runtime instanceof Runtime)) {
      throw new TypeError(
        "Cannot make a Tensor by new: use device.tensor(), as in device.tensor([1, 2])",
      );
    }
    this.device = device;
    this.#runtime = runtime;
    this.#array = array;
    runtime.memory.tensors++;
    const variable = this.#variable = new Variable(array.layout.shape, array.dtype);
    this.#hold = new Hold(array.storage, () => {
      runtime.memory.tensors--;
      variable.release();
    });
    releaseWithOwner(this, this.#hold);
    enroll(this);
  }

  /** Size of each axis. */
  get shape(): readonly number[] {
    return this.#array.layout.shape;
  }

  /** Element type. */
  get dtype(): DType {
    return this.#array.dtype;
  }

  /** Distance between neighbours along each axis, in elements. */
  get strides(): readonly number[] {
    return this.#array.layout.strides;
  }

  /** Number of axes. */
  get ndim(): number {
    return this.shape.length;
  }

  /** Number of elements. */
  get size(): number {
    return numel(this.shape);
  }

  /** Whether {@linkcode dispose} was called. */
  get isDisposed(): boolean {
    return this.#hold.storage === undefined;
  }

  /**
   * Lets go of the GPU memory, at once rather than when the garbage is collected. Views of the same
   * memory stay usable. Harmless when called again.
   */
  dispose(): void {
    this.#hold.release();
    forgetOwner(this.#hold);
  }

  /** Disposes at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /**
   * The elements in row-major order, read back from the GPU; waits for all work before.
   *
   * @returns `Float32Array` for f32, f16 and bf16 (every 16-bit float is an f32), `Int32Array` for i32,
   * `Uint32Array` for u32, `Uint8Array` (0 or 1) for bool. TypeScript takes it for a `Float32Array` unless told otherwise, as in
   * `data<Int32Array<ArrayBuffer>>()`.
   * @throws {GpuOutOfMemoryError} and its siblings, if work that was to compute the elements failed.
   */
  data(): Promise<Float32Array<ArrayBuffer>>;
  /** The same, of a type that the caller knows. */
  data<T extends TensorData>(): Promise<T>;
  async data<T extends TensorData>(): Promise<T> {
    this.#assertUsable();
    return await this.#read(this.#array) as T;
  }

  /** The elements as nested arrays of numbers (or booleans), one level an axis. */
  async toArray(): Promise<NestedArray> {
    return nest(await this.data<TensorData>(), this.shape, this.dtype === "bool");
  }

  /** The one element of a tensor that has one; 0 or 1 for bool, as {@linkcode data} gives it. */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new RangeError(
        `Cannot take the item of a tensor of shape ${
          formatShape(this.shape)
        }: it has ${this.size} elements, expected 1`,
      );
    }
    const [value] = await this.data();
    return value!;
  }

  /**
   * The tensor as PyTorch prints it. Of a tensor with more than 1,000 elements only three at each end
   * of each axis are read back and shown.
   */
  async format(): Promise<string> {
    this.#assertUsable();
    const cuts = summaryAxes(this.shape);
    const isSummary = cuts.some((cut) => cut !== null);
    let shown = this.#array;
    for (const [axis, cut] of cuts.entries()) {
      if (!cut) continue;
      const { layout } = shown;
      const [head, tail] = cut;
      const size = layout.shape[axis]!;
      const next = concat(this.#runtime, [
        withLayout(shown, sliceLayout(layout, axis, 0, head, 1)),
        withLayout(shown, sliceLayout(layout, axis, size - tail, size, 1)),
      ], axis);
      if (shown !== this.#array) shown.storage.release();
      shown = next;
    }
    try {
      const data = await this.#read(shown);
      return formatTensor(this.shape, data, this.dtype, { summarized: isSummary });
    } finally {
      if (shown !== this.#array) shown.storage.release();
    }
  }

  /** Prints {@linkcode format} to the console. */
  async print(): Promise<void> {
    // deno-lint-ignore no-console -- printing is what was asked for
    console.log(await this.format());
  }

  /** Shape, dtype and device; the elements are on the GPU, see {@linkcode format}. */
  toString(): string {
    const state = this.isDisposed ? ", disposed" : "";
    return `Tensor(shape=${
      formatShape(this.shape)
    }, dtype=${this.dtype}, device="${this.#runtime.info.adapter}"${state})`;
  }

  /**
   * The same for template strings. JavaScript has no operators for tensors, and would make `tensor * 2` NaN.
   *
   * @throws {TypeError} Wherever a number is wanted, as in arithmetic and comparisons.
   */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw new TypeError(
      "Cannot use a tensor as a number: JavaScript's operators do not compute with tensors; write " +
        "q.mul(2) for q * 2, await q.item() for the number in it, or `${q}` for text",
    );
  }

  /**
   * Keeps JSON from having a tensor without its elements.
   *
   * @throws {TypeError} Always.
   */
  toJSON(): never {
    throw new TypeError(
      "Cannot write a tensor as JSON: its elements are on the GPU; write await q.toArray(), or " +
        "await q.item()",
    );
  }

  /** What `console.log` shows in Deno and Node. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** What a Jupyter cell shows. */
  async [Symbol.for("Jupyter.display")](): Promise<Record<string, string>> {
    return { "text/plain": this.isDisposed ? this.toString() : await this.format() };
  }

  async #read(array: DeviceArray): Promise<TensorData> {
    const { shape } = array.layout;
    if (numel(shape) === 0) return decodeElements(array.dtype, new ArrayBuffer(0), 0);
    const dense = isDense(array) ? array : copy(this.#runtime, array);
    // The memory must outlive the wait, even if the tensor is disposed meanwhile.
    const storage = dense === array ? array.storage.retain() : dense.storage;
    try {
      const bytes = await this.#runtime.download(storage, byteSize(shape, array.dtype));
      return decodeElements(array.dtype, bytes, numel(shape));
    } finally {
      storage.release();
    }
  }

  #assertUsable(): void {
    this.#runtime.faults.assertAlive();
    if (this.isDisposed) {
      throw new TypeError(
        `Cannot use a disposed tensor: shape ${formatShape(this.shape)}, dtype ${this.dtype}`,
      );
    }
    this.#runtime.faults.assertSound(this.#array.storage);
  }
}

function nest(data: TensorData, shape: readonly number[], asBoolean: boolean): NestedArray {
  let at = 0;
  const level = (axis: number): NestedArray => {
    if (axis === shape.length) return asBoolean ? data[at++] !== 0 : data[at++]!;
    return Array.from({ length: shape[axis]! }, () => level(axis + 1));
  };
  return level(0);
}
