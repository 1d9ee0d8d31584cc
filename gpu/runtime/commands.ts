/**
 * The way to the queue. A submit takes several times the host time of recording a dispatch, whatever it holds
 * (Deno 2.9 on lavapipe: 60 to 120 microseconds against 10). So dispatches are gathered in one command buffer,
 * which is submitted when it is full, before anything that must come after it, and at the latest when the
 * JavaScript that runs now has ended.
 */
import { BUFFER_USAGE, STAGE_COMPUTE } from "./flags.ts";
import type { MemoryPool } from "./memory.ts";
import type { Profiler } from "./profiler.ts";

/** One dispatch, ready to be recorded. */
export interface Command {
  /** What it is called in profiles. */
  readonly label: string;
  /** Its layout's group 1 is {@linkcode CommandQueue.paramsLayout}. */
  readonly pipeline: GPUComputePipeline;
  /** Group 0. */
  readonly group: GPUBindGroup;
  /** The buffers behind group 0. */
  readonly buffers: readonly GPUBuffer[];
  /** Packed uniform parameters. */
  readonly params: Uint32Array<ArrayBuffer>;
  /** Workgroups along each dimension. */
  readonly grid: readonly [number, number, number];
}

/** Dispatches that are submitted at once: more save no time, and the GPU should not wait for long. */
const MAX_COMMANDS = 16;

/** Workgroups that are submitted at once: what runs long on the GPU need not wait for company. */
const MAX_WORKGROUPS = 16_384;

/**
 * Bytes of writes that are submitted at once: the runtime keeps a copy of each until the next submit, which may be
 * far away where a program only uploads. However small, a write counts as {@linkcode LEAST_WRITE}.
 */
const MAX_WRITTEN = 16 * 2 ** 20;
const LEAST_WRITE = 4096;

/** Bytes of one dispatch's parameters at most, and at what multiples they may begin on every device. */
const MAX_PARAMS = 1024;
const PARAMS_STEP = 256;

/** Enough for as many dispatches as are gathered, whose bindings all show {@linkcode MAX_PARAMS} bytes. */
const PARAMS_BYTES = MAX_COMMANDS * PARAMS_STEP + MAX_PARAMS;

/** Records the commands of one device and submits them in order. */
export class CommandQueue {
  /** The layout of group 1 of every pipeline: a range of one uniform buffer. */
  readonly paramsLayout: GPUBindGroupLayout;
  readonly #gpu: GPUDevice;
  readonly #memory: MemoryPool;
  readonly #profiler: Profiler;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #commands = 0;
  #workgroups = 0;
  /** Bytes written since the last submit. */
  #written = 0;
  /** Buffers that commands not yet submitted use. */
  readonly #used = new Set<GPUBuffer>();
  /** Parameters of these commands. One write before the submit brings all of them to the device. */
  readonly #params = new Uint32Array(PARAMS_BYTES / 4);
  #paramsEnd = 0;
  #paramsBuffer: GPUBuffer | undefined;
  #paramsGroup: GPUBindGroup | undefined;

  /** One per device. */
  constructor(gpu: GPUDevice, memory: MemoryPool, profiler: Profiler) {
    this.#gpu = gpu;
    this.#memory = memory;
    this.#profiler = profiler;
    this.paramsLayout = gpu.createBindGroupLayout({
      label: "params",
      entries: [{
        binding: 0,
        visibility: STAGE_COMPUTE,
        buffer: { type: "uniform", hasDynamicOffset: true },
      }],
    });
    memory.onDestroy = (buffer) => this.#flushUsersOf(buffer);
  }

  /** Enqueues a dispatch behind all that was enqueued before. */
  dispatch({ label, pipeline, group, buffers, params, grid }: Command): void {
    if (params.byteLength > MAX_PARAMS) {
      throw new Error(`Cannot run kernel "${label}": its parameters take over ${MAX_PARAMS} bytes`);
    }
    if (this.#paramsEnd + MAX_PARAMS > PARAMS_BYTES) this.flush();
    const timestampWrites = this.#profiler.begin(label);
    const pass = this.#openPass(timestampWrites);
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.setBindGroup(1, this.#writeParams(), [this.#paramsEnd]);
    pass.dispatchWorkgroups(...grid);
    this.#params.set(params, this.#paramsEnd / 4);
    this.#paramsEnd += Math.ceil(params.byteLength / PARAMS_STEP) * PARAMS_STEP;
    for (const buffer of buffers) this.#used.add(buffer);
    this.#commands++;
    this.#workgroups += grid[0] * grid[1] * grid[2];
    const isFull = this.#commands >= MAX_COMMANDS || this.#workgroups >= MAX_WORKGROUPS;
    if (isFull || timestampWrites) this.flush();
  }

  /** Enqueues a write of host bytes, a multiple of 4 of them, to the start of a buffer. */
  write(buffer: GPUBuffer, bytes: Uint8Array<ArrayBuffer>): void {
    this.#flushUsersOf(buffer);
    this.#gpu.queue.writeBuffer(buffer, 0, bytes);
    this.#written += Math.max(bytes.length, LEAST_WRITE);
    if (this.#written >= MAX_WRITTEN) this.#submit([]);
  }

  /** Submits a copy between buffers, and all that was enqueued before. */
  copy(source: GPUBuffer, offset: number, target: GPUBuffer, bytes: number): void {
    this.#openEncoder().copyBufferToBuffer(source, offset, target, 0, bytes);
    this.flush();
  }

  /** Submits what is gathered. */
  flush(): void {
    if (!this.#encoder) return;
    const encoder = this.#encoder;
    this.#pass?.end();
    if (this.#paramsEnd > 0) {
      this.#gpu.queue.writeBuffer(this.#paramsBuffer!, 0, this.#params, 0, this.#paramsEnd / 4);
    }
    this.discard();
    this.#submit([encoder.finish()]);
  }

  /** Forgets what is gathered: the device is gone. */
  discard(): void {
    this.#encoder = this.#pass = undefined;
    this.#commands = this.#workgroups = this.#paramsEnd = 0;
    this.#used.clear();
  }

  /** Destroys the parameters' buffer; the next dispatch makes a new one. */
  emptyCache(): void {
    this.flush();
    if (this.#paramsBuffer) this.#memory.destroyBuffer(this.#paramsBuffer);
    this.#paramsBuffer = this.#paramsGroup = undefined;
  }

  #submit(buffers: GPUCommandBuffer[]): void {
    this.#gpu.queue.submit(buffers);
    this.#written = 0;
  }

  #openEncoder(): GPUCommandEncoder {
    this.#pass?.end();
    this.#pass = undefined;
    if (!this.#encoder) {
      this.#encoder = this.#gpu.createCommandEncoder();
      queueMicrotask(() => this.flush());
    }
    return this.#encoder;
  }

  /** Dispatches share a pass, unless they are timed. */
  #openPass(timestampWrites: GPUComputePassTimestampWrites | undefined): GPUComputePassEncoder {
    if (this.#pass && !timestampWrites) return this.#pass;
    const descriptor = timestampWrites && { timestampWrites };
    return this.#pass = this.#openEncoder().beginComputePass(descriptor);
  }

  #writeParams(): GPUBindGroup {
    if (this.#paramsGroup) return this.#paramsGroup;
    const usage = BUFFER_USAGE.UNIFORM | BUFFER_USAGE.COPY_DST;
    const buffer = this.#paramsBuffer = this.#memory.createBuffer(PARAMS_BYTES, usage);
    return this.#paramsGroup = this.#gpu.createBindGroup({
      label: "params",
      layout: this.paramsLayout,
      entries: [{ binding: 0, resource: { buffer, size: MAX_PARAMS } }],
    });
  }

  #flushUsersOf(buffer: GPUBuffer): void {
    if (this.#used.has(buffer)) this.flush();
  }
}
