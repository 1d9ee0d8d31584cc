/**
 * What one GPU device offers to the layers above: memory, kernels, faults, read-back, profiles, choices. The
 * parts know each other only through their constructors; this is the place that joins them.
 */
import { Tuner } from "../tuning/tuner.ts";
import type { DeviceInfo } from "./info.ts";
import { CommandQueue } from "./commands.ts";
import { FaultLog } from "./faults.ts";
import { BUFFER_USAGE } from "./flags.ts";
import { KernelCache } from "./kernels.ts";
import { MemoryPool, type MemoryStats, type Storage } from "./memory.ts";
import { Profiler } from "./profiler.ts";
import { Readback } from "./readback.ts";

/** How a runtime is set up. */
export interface RuntimeOptions {
  /** The `enable` line that subgroup operations need here, with its line break, or nothing. */
  readonly subgroupDirective: string;
  /** Bytes of idle buffers to keep for reuse. */
  readonly poolBytes: number;
}

/** The parts of one device. */
export class Runtime {
  /** The WebGPU device. */
  readonly gpu: GPUDevice;
  /** What was granted. */
  readonly info: DeviceInfo;
  /** Buffers. */
  readonly memory: MemoryPool;
  /** Errors. */
  readonly faults: FaultLog;
  /** Timestamps. */
  readonly profiler: Profiler;
  /** What is enqueued. */
  readonly commands: CommandQueue;
  /** Compiled kernels. */
  readonly kernels: KernelCache;
  /** The way back to the host. */
  readonly readback: Readback;
  /** Which of several kernels to use. */
  readonly tuner: Tuner;
  #fence: GPUBuffer | undefined;

  /** Joins the parts. */
  constructor(gpu: GPUDevice, info: DeviceInfo, options: RuntimeOptions) {
    this.gpu = gpu;
    this.info = info;
    this.memory = new MemoryPool(gpu, info.limits, options.poolBytes);
    this.faults = new FaultLog(
      gpu,
      () => `Adapter: ${info.adapter}; ${formatStats(this.memory)}`,
      () => this.#distrustBuffers(),
    );
    this.profiler = new Profiler(gpu, this.memory);
    this.commands = new CommandQueue(gpu, this.memory, this.profiler);
    this.faults.onScopes = () => this.commands.flush();
    this.kernels = new KernelCache(
      gpu,
      this.faults,
      this.commands,
      info.limits,
      options.subgroupDirective,
    );
    this.readback = new Readback(gpu, this.memory, this.faults, this.commands);
    this.tuner = new Tuner(this);
  }

  /** Enqueues a copy of host bytes, a multiple of 4 of them, to the start of a storage. */
  upload(storage: Storage, bytes: Uint8Array<ArrayBuffer>): void {
    this.faults.assertAlive();
    this.commands.write(storage.buffer, bytes);
    this.faults.noteWrite(storage);
  }

  /** The first bytes of a storage; throws if the work that should have written them failed. */
  async download(storage: Storage, bytes: number): Promise<ArrayBuffer> {
    this.faults.assertAlive();
    this.faults.assertSound(storage);
    const result = await this.readback.read(storage.buffer, bytes);
    this.faults.assertSound(storage);
    return result;
  }

  /** Waits until all work enqueued so far has ended, and throws what went wrong with it. */
  async sync(): Promise<void> {
    this.faults.assertAlive();
    // Reading any buffer waits for all work, and is faster in Deno than onSubmittedWorkDone().
    await this.readback.read(this.#fenceBuffer(), 4);
  }

  /**
   * Waits within this call, telling of no errors.
   *
   * @param limitMs For how long to wait at most, in milliseconds.
   * @returns Whether all work has ended; `false` also where such waits are not possible.
   */
  waitSync(limitMs: number): boolean {
    return this.readback.readSync(this.#fenceBuffer(), 4, limitMs) !== undefined;
  }

  #fenceBuffer(): GPUBuffer {
    return this.#fence ??= this.memory.createBuffer(4, BUFFER_USAGE.COPY_SRC);
  }

  /** Destroys idle buffers. */
  emptyCache(): void {
    this.kernels.emptyCache();
    this.memory.emptyCache();
    this.readback.emptyCache();
  }

  /** After a failed allocation: whichever buffer it was, none is used again. */
  #distrustBuffers(): void {
    this.memory.distrust();
    this.readback.distrust();
    this.kernels.emptyCache();
    this.commands.emptyCache();
    if (this.#fence) this.memory.destroyBuffer(this.#fence);
    this.#fence = undefined;
  }

  /** Destroys the device and all its buffers. */
  dispose(): void {
    this.faults.close("GPU device was disposed: create a new one with requestDevice()");
    this.commands.discard();
    this.gpu.destroy();
    this.memory.close();
  }
}

function formatStats(memory: MemoryPool): string {
  const { allocatedBytes, peakBytes, reservedBytes, tensors }: MemoryStats = memory.stats();
  return `${allocatedBytes} bytes in ${tensors} live tensors (peak ${peakBytes}), ` +
    `${reservedBytes} bytes reserved, the largest buffer asked for had ${memory.largestRequest}`;
}
