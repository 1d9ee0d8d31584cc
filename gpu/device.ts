/** The device: where tensors are made, and what tells about memory, time and errors. */
import {
  type ArgumentLimits,
  assertFunction,
  assertNumber,
  checkedOptions,
  limitArguments,
  type OptionNames,
  told,
} from "./checks.ts";
import { allocate, byteSize, type DeviceArray } from "./array.ts";
import { assertDType, type DType, isFloat } from "./dtype.ts";
import { fill, narrow } from "./ops/map.ts";
import { assertHeldBy, parseSource, type TensorSource } from "./parse.ts";
import { rand, randn } from "./random/fill_random.ts";
import { freshSeed } from "./random/philox.ts";
import type { DeviceInfo } from "./runtime/info.ts";
import type { MemoryStats } from "./runtime/memory.ts";
import type { KernelTime } from "./runtime/profiler.ts";
import { DEVICE_OPTIONS, type DeviceOptions, requestRuntime } from "./runtime/request.ts";
import { Runtime } from "./runtime/runtime.ts";
import { assertShape } from "./shape.ts";
import { assertDifferentiable } from "./tensor/differentiable.ts";
import { type Tensor, tensorFrom } from "./tensor/tensor.ts";
import type { TuningChoice } from "./tuning/tuner.ts";

/** Options of the functions that make tensors. */
export interface TensorOptions {
  /** Element type. */
  dtype?: DType | undefined;
  /** Whether gradients are to flow to the tensor, see `Tensor.requiresGrad`. Default `false`. */
  requiresGrad?: boolean | undefined;
}

const TENSOR_OPTIONS: OptionNames<TensorOptions> = { dtype: "string", requiresGrad: "boolean" };
const SOURCE_OPTIONS: OptionNames<TensorOptions & { shape: unknown }> = {
  shape: "list",
  ...TENSOR_OPTIONS,
};
const RANDOM_OPTIONS: OptionNames<TensorOptions & { seed: unknown }> = {
  seed: "number",
  ...TENSOR_OPTIONS,
};

/** What a profile found out. */
export interface Profile<T> {
  /** What the profiled function returned. */
  readonly result: T;
  /** Time on the GPU, summed over the kernels; `NaN` where the device cannot tell. */
  readonly milliseconds: number;
  /** Time by kernel, in order of first use. */
  readonly kernels: readonly KernelTime[];
}

/** The runtime behind a device, for kernels. */
export let runtimeOf: (device: Device) => Runtime;

let deviceFrom: (runtime: Runtime) => Device;

/**
 * Requests a GPU: the preferred adapter with all features that this library can use and the highest
 * limits it gives. Takes 0.1 to 1 s, part of it for tests of the driver.
 *
 * In Deno on Linux it sets `DENO_WEBGPU_BACKEND` to `vulkan`, unless the variable is set or may not be: OpenGL, which
 * Deno would load too, may abort processes as they exit. So a GPU without a Vulkan driver needs `gl` in it.
 *
 * @param options Which adapter to prefer; whether to tune kernels to it; lower limits, for tests.
 * @returns The device. Tensors of one device cannot meet those of another.
 * @throws {GpuUnavailableError} If there is no usable adapter; the message says what to install.
 * @throws {TypeError} For options that there are not, and of other kinds.
 * @throws {RangeError} For limits below those that kernels rely on.
 *
 * @example Make a tensor and read it back
 * ```ts
 * import { requestDevice } from "@denoformers/attention";
 *
 * const device = await requestDevice();
 * const x = device.tensor([[1, 2], [3, 4]]);
 * console.log(await x.matmul(x).toArray()); // [[7, 10], [15, 22]]
 * device.dispose();
 * ```
 */
export async function requestDevice(options: DeviceOptions = {}): Promise<Device> {
  return deviceFrom(
    await requestRuntime(checkedOptions("request a device", options, DEVICE_OPTIONS)),
  );
}

/** Throws unless a value is a device that can be used. */
export function assertDevice(action: string, device: Device): void {
  if (!(device instanceof Device)) {
    throw new TypeError(
      `Cannot ${action}: device is ${told(device)}, expected what requestDevice() gave`,
    );
  }
}

/** No symbol can be cloned, and the error shows this one's text. */
const NOT_CLONEABLE = Symbol(
  "A device or its tensor cannot be posted to another thread: post data(), call requestDevice() there. It",
);

const OPTIONS = "write { dtype, requiresGrad }";

/** PyTorch takes sizes one by one too. */
const assertList = (shape: never) => assertShape(shape, "create a tensor");

const ARGUMENTS: ArgumentLimits = {
  tensor: [2, OPTIONS],
  zeros: [2, OPTIONS, assertList],
  ones: [2, OPTIONS, assertList],
  full: [3, OPTIONS, assertList],
  arange: [4, OPTIONS],
  rand: [2, OPTIONS, assertList],
  randn: [2, OPTIONS, assertList],
};

/** A GPU. Made by {@linkcode requestDevice}. */
export class Device {
  /** Adapter, features and limits, as granted. */
  readonly info: DeviceInfo;
  /**
   * Keeps a device, and what refers to it, from being posted to another thread, which would get an object
   * without a GPU. Cloning looks at enumerable strings alone; as a name of this form it is left out where
   * properties are suggested.
   */
  private readonly "Symbol(notCloneable)" = NOT_CLONEABLE;
  readonly #runtime: Runtime;

  static {
    runtimeOf = (device) => device.#runtime;
    deviceFrom = (runtime) => new Device(runtime);
    limitArguments(this, ARGUMENTS);
  }

  private constructor(runtime: Runtime) {
    if (!(runtime instanceof Runtime)) {
      throw new TypeError("Cannot make a Device by new: use await requestDevice()");
    }
    this.#runtime = runtime;
    this.info = runtime.info;
  }

  /**
   * A tensor of given values.
   *
   * @param data A number, nested arrays of numbers, booleans or BigInts, or a typed array.
   * @param options `shape`: default the nesting's, or flat; a flat list may take any that fits.
   * `dtype`: default f32, bool for booleans, f16, i32 and u32 for typed arrays of these; i32 for BigInts, u32 for a
   * `BigUint64Array`. Numbers become f16 and bf16 on the host, rounded once. `requiresGrad`, as in all functions that
   * make tensors.
   * @throws {RangeError} For data of another shape, numbers that the type cannot hold, and BigInts beyond 32 bits.
   */
  tensor(
    data: TensorSource,
    options: TensorOptions & { shape?: readonly number[] } = {},
  ): Tensor {
    const { shape, dtype, requiresGrad } = checkedOptions(
      "create a tensor",
      options,
      SOURCE_OPTIONS,
    );
    const parsed = parseSource(data, shape, dtype);
    assertDifferentiable(parsed.dtype, requiresGrad);
    const array = allocate(this.#runtime, parsed.shape, parsed.dtype);
    if (parsed.bytes.length > 0) this.#runtime.upload(array.storage, parsed.bytes);
    return this.#own(array, requiresGrad);
  }

  /** A tensor of zeros. */
  zeros(shape: readonly number[], options: TensorOptions = {}): Tensor {
    return this.full(shape, 0, options);
  }

  /** A tensor of ones. */
  ones(shape: readonly number[], options: TensorOptions = {}): Tensor {
    return this.full(shape, 1, options);
  }

  /** A tensor of one value throughout. */
  full(
    shape: readonly number[],
    value: number,
    options: TensorOptions = {},
  ): Tensor {
    assertShape(shape, "create a tensor");
    const { dtype = "f32", requiresGrad } = checkedOptions(
      "create a tensor",
      options,
      TENSOR_OPTIONS,
    );
    assertNumber("create a tensor", "value", value);
    assertDType(dtype, "create a tensor");
    assertHeldBy(dtype, value);
    assertDifferentiable(dtype, requiresGrad);
    return this.#own(fill(this.#runtime, shape, dtype, value), requiresGrad);
  }

  /**
   * `start, start + step, ...` up to but not including `end`; with one number, `0, 1, ... end - 1`.
   * Computed in 64-bit floats, then rounded once. f32 unless `dtype` says otherwise.
   */
  arange(
    start: number,
    end?: number,
    step = 1,
    options: TensorOptions = {},
  ): Tensor {
    const { dtype = "f32", requiresGrad } = checkedOptions(
      "make a range",
      options,
      TENSOR_OPTIONS,
    );
    const [from, to] = end === undefined ? [0, start] : [start, end];
    const isRange = [from, to, step].every(Number.isFinite) && step !== 0;
    if (!isRange) {
      throw new RangeError(
        `Cannot make a range from ${told(from)} to ${told(to)} in steps of ${
          told(step)
        }: expected finite numbers ` +
          `and a step other than 0, and options behind the three`,
      );
    }
    const count = Math.max(0, Math.ceil((to - from) / step));
    assertDType(dtype, "create a tensor");
    // Refused before the host makes the list.
    this.#runtime.memory.assertFits(byteSize([count], dtype), `a range of ${count} numbers`);
    return this.tensor(Float64Array.from({ length: count }, (_, i) => from + i * step), {
      dtype,
      requiresGrad,
    });
  }

  /**
   * Uniform random numbers in [0, 1). The same seed gives the same numbers on every adapter.
   *
   * @param shape Shape of the tensor.
   * @param options `seed`: a whole number below 2^53; default a new one every time. `dtype`: f32 by
   * default; f16 and bf16 are those numbers rounded, so that 1 may occur.
   */
  rand(
    shape: readonly number[],
    options: TensorOptions & { seed?: number } = {},
  ): Tensor {
    return this.#random(rand, shape, options);
  }

  /**
   * Standard normal random numbers. The same seed gives the same numbers on every adapter.
   *
   * @param shape Shape of the tensor.
   * @param options `seed`: a whole number below 2^53; default a new one every time. `dtype`: f32 by
   * default; f16 and bf16 are those numbers rounded.
   */
  randn(
    shape: readonly number[],
    options: TensorOptions & { seed?: number } = {},
  ): Tensor {
    return this.#random(randn, shape, options);
  }

  /** Bytes of GPU memory in use, at most so far, and reserved; numbers of buffers and tensors. */
  memory(): MemoryStats {
    return this.#runtime.memory.stats();
  }

  /** Starts a new peak of {@linkcode memory} at what is in use now. */
  resetPeakMemory(): void {
    this.#runtime.memory.resetPeak();
  }

  /** Gives unused buffers, kept for reuse until now, back to the driver. */
  emptyCache(): void {
    this.#runtime.emptyCache();
  }

  /** Waits until all enqueued work has ended; throws what went wrong with it. */
  async sync(): Promise<void> {
    await this.#runtime.sync();
  }

  /**
   * Times the kernels that a function enqueues, on the GPU.
   *
   * @param fn Enqueues work; may be asynchronous.
   * @returns Its result and the times.
   */
  async profile<T>(fn: () => T | Promise<T>): Promise<Profile<T>> {
    assertFunction("profile", fn);
    const { profiler, readback } = this.#runtime;
    profiler.start();
    let result: T;
    try {
      result = await fn();
      // Work that the GPU refuses writes no timestamps, and a driver may wait for these without end.
      await this.#runtime.sync();
    } catch (error) {
      profiler.cancel();
      throw error;
    }
    const kernels = await profiler.stop((source, bytes) => readback.read(source, bytes));
    const milliseconds = profiler.available
      ? kernels.reduce((sum, kernel) => sum + kernel.milliseconds, 0)
      : NaN;
    return { result, milliseconds, kernels };
  }

  /**
   * Which forms of kernels were chosen so far, and why. Where there are several, they are timed once for each class
   * of problems, at its first use, on inputs of their own; the fastest is kept as long as the device lives, and in a
   * file for the next. Results do not depend on the choice beyond rounding. The option `tune` of
   * {@linkcode requestDevice} turns this off.
   *
   * @returns One entry for each class of problems, in order of first use; a list that does not change any more.
   *
   * @example Show what was chosen
   * ```ts
   * import { memoryEfficientAttention, requestDevice } from "@denoformers/attention";
   *
   * using device = await requestDevice();
   * const x = device.randn([1, 256, 4, 64], { seed: 1 });
   * memoryEfficientAttention(x, x, x);
   * console.table(device.tuning(), ["problem", "choice", "source", "reason"]);
   * for (const { candidates } of device.tuning()) console.table(candidates);
   * ```
   */
  tuning(): readonly TuningChoice[] {
    return this.#runtime.tuner.choices();
  }

  /** Destroys the device and all its tensors' memory. Using either afterwards throws. */
  dispose(): void {
    this.#runtime.dispose();
  }

  /** Disposes at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  /** The adapter's name. */
  toString(): string {
    return `Device("${this.info.adapter}")`;
  }

  /** What `JSON.stringify` makes of it. */
  toJSON(): string {
    return this.toString();
  }

  /** What `console.log` shows in Deno and Node, and a Jupyter cell. */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  #random(
    fill: typeof rand,
    shape: readonly number[],
    options: TensorOptions & { seed?: number },
  ): Tensor {
    assertShape(shape, "create a tensor");
    const { seed = freshSeed(), dtype = "f32", requiresGrad } = checkedOptions(
      "create a tensor",
      options,
      RANDOM_OPTIONS,
    );
    if (!isFloat(dtype)) {
      throw new TypeError(
        `Cannot create a tensor of random numbers: dtype is ${
          told(dtype)
        }, expected f32, f16 or bf16`,
      );
    }
    return this.#own(narrow(this.#runtime, fill(this.#runtime, shape, seed), dtype), requiresGrad);
  }

  #own(array: DeviceArray, requiresGrad = false): Tensor {
    const tensor = tensorFrom(this, this.#runtime, array);
    if (requiresGrad) tensor.requiresGrad = true;
    return tensor;
  }
}
