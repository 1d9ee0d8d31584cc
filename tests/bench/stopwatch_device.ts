/** A bare WebGPU device that compiles kernels and times their dispatches, independent of what is measured. */
import { BUFFER_USAGE, MAP_READ, STAGE_COMPUTE } from "../../gpu/runtime/flags.ts";

/** A compiled kernel, and how its bindings are laid out. */
export interface StopwatchKernel {
  readonly pipeline: GPUComputePipeline;
  readonly layout: GPUBindGroupLayout;
}

/** A buffer that a `using` block destroys. */
export type DisposableBuffer = GPUBuffer & Disposable;

/** Times dispatches by timestamps. */
export class StopwatchDevice {
  /** Whether kernels may compute in f16. */
  readonly f16: boolean;
  /** Whether the adapter computes on the CPU. */
  readonly isFallback: boolean;
  readonly #gpu: GPUDevice;
  readonly #querySet: GPUQuerySet;
  readonly #stamps: GPUBuffer;

  private constructor(gpu: GPUDevice, isFallback: boolean) {
    this.#gpu = gpu;
    this.isFallback = isFallback;
    this.f16 = gpu.features.has("shader-f16");
    this.#querySet = gpu.createQuerySet({ type: "timestamp", count: 2 });
    this.#stamps = gpu.createBuffer({
      size: 16,
      usage: BUFFER_USAGE.QUERY_RESOLVE | BUFFER_USAGE.COPY_SRC,
    });
  }

  /** A device with the adapter's own limits; null where it has no timestamps. */
  static async request(): Promise<StopwatchDevice | null> {
    const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
    if (!adapter?.features.has("timestamp-query")) return null;
    const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
    const optional: GPUFeatureName[] = adapter.features.has("shader-f16") ? ["shader-f16"] : [];
    const gpu = await adapter.requestDevice({
      requiredFeatures: ["timestamp-query", ...optional],
      requiredLimits: { maxBufferSize, maxStorageBufferBindingSize },
    });
    return new StopwatchDevice(gpu, adapter.info.isFallbackAdapter ?? false);
  }

  /** Largest buffer that a kernel can see whole. */
  get maxBytes(): number {
    return Math.min(this.#gpu.limits.maxBufferSize, this.#gpu.limits.maxStorageBufferBindingSize);
  }

  /**
   * Compiles a kernel.
   *
   * @param code WGSL with one entry point, `main`.
   * @param types What bindings 0, 1 and so on of group 0 are.
   */
  compile(code: string, types: readonly GPUBufferBindingType[]): StopwatchKernel {
    const layout = this.#gpu.createBindGroupLayout({
      entries: types.map((type, binding) => ({
        binding,
        visibility: STAGE_COMPUTE,
        buffer: { type },
      })),
    });
    const pipeline = this.#gpu.createComputePipeline({
      layout: this.#gpu.createPipelineLayout({ bindGroupLayouts: [layout] }),
      compute: { module: this.#gpu.createShaderModule({ code }), entryPoint: "main" },
    });
    return { pipeline, layout };
  }

  /** A buffer of zeros for kernels to read and write. */
  buffer(size: number): GPUBuffer {
    return this.#gpu.createBuffer({ size, usage: BUFFER_USAGE.STORAGE });
  }

  /** A uniform buffer of these bytes. */
  uniforms(data: ArrayBuffer): DisposableBuffer {
    const size = data.byteLength;
    const buffer = this.#gpu.createBuffer({
      size,
      usage: BUFFER_USAGE.UNIFORM | BUFFER_USAGE.COPY_DST,
    });
    this.#gpu.queue.writeBuffer(buffer, 0, data);
    return Object.assign(buffer, { [Symbol.dispose]: () => buffer.destroy() });
  }

  /**
   * Time of one dispatch on the GPU.
   *
   * @param kernel From {@linkcode compile}.
   * @param buffers Those of bindings 0, 1 and so on.
   * @param workgroups How many along x and y.
   * @returns Milliseconds.
   */
  async time(
    { pipeline, layout }: StopwatchKernel,
    buffers: readonly GPUBuffer[],
    [x, y]: readonly [number, number],
  ): Promise<number> {
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }));
    const bindGroup = this.#gpu.createBindGroup({ layout, entries });
    const encoder = this.#gpu.createCommandEncoder();
    const pass = encoder.beginComputePass({
      timestampWrites: {
        querySet: this.#querySet,
        beginningOfPassWriteIndex: 0,
        endOfPassWriteIndex: 1,
      },
    });
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, bindGroup);
    pass.dispatchWorkgroups(x, y);
    pass.end();
    encoder.resolveQuerySet(this.#querySet, 0, 2, this.#stamps, 0);
    const staging = this.#gpu.createBuffer({
      size: 16,
      usage: BUFFER_USAGE.MAP_READ | BUFFER_USAGE.COPY_DST,
    });
    encoder.copyBufferToBuffer(this.#stamps, 0, staging, 0, 16);
    this.#gpu.queue.submit([encoder.finish()]);
    await staging.mapAsync(MAP_READ);
    const [begin, end] = new BigUint64Array(staging.getMappedRange());
    const nanoseconds = Number(end! - begin!);
    staging.destroy();
    return nanoseconds / 1e6;
  }

  /** Destroys the device. */
  [Symbol.dispose](): void {
    this.#gpu.destroy();
  }
}
