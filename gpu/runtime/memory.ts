/**
 * GPU memory: every buffer of a device is made and counted here. A storage is a buffer shared by the
 * tensors that view it; when the last lets go, the buffer waits in a pool for the next storage of its
 * size, because making a buffer costs far more than reusing one. Reuse is safe at once: the queue runs
 * in order, so whoever writes next comes after whoever read last.
 */
import { BUFFER_USAGE } from "./flags.ts";
import type { DeviceLimits } from "./info.ts";

/** What `device.memory()` gives. All sizes are bytes of GPU buffers as allocated. */
export interface MemoryStats {
  /** Bytes of buffers that hold live tensors or the scratch of an operation under way. */
  allocatedBytes: number;
  /** Highest `allocatedBytes` since the device was made or `resetPeakMemory()` was called. */
  peakBytes: number;
  /** Bytes of all buffers that exist, idle ones in the pool, staging and parameters included. */
  reservedBytes: number;
  /** Number of buffers that `allocatedBytes` counts. */
  buffers: number;
  /** Number of tensors that are not disposed; views count, though they own no bytes. */
  tensors: number;
}

/** A reference-counted buffer. */
export class Storage {
  /** The buffer; at least as long as the tensor that it was made for. */
  readonly buffer: GPUBuffer;
  /** Serial number of the last write to it; see `FaultLog`. */
  written = 0;
  /** Serial number of the first write that its contents follow from, of those not yet looked at. */
  since = 0;
  /** How often its contents were changed in place since it was made. */
  version = 0;
  readonly #pool: MemoryPool;
  readonly #generation: number;
  #references = 1;

  /** Made by {@linkcode MemoryPool.acquire} alone. */
  constructor(buffer: GPUBuffer, pool: MemoryPool, generation: number) {
    this.buffer = buffer;
    this.#pool = pool;
    this.#generation = generation;
  }

  /** Adds an owner. */
  retain(): this {
    this.#references++;
    return this;
  }

  /** Removes an owner; the last one gives the buffer back. */
  release(): void {
    if (--this.#references === 0) this.#pool.giveBack(this.buffer, this.#generation);
  }
}

/** Buffers are allocated in steps of this many bytes, so that kernels may read them as `vec4f`. */
const GRANULE = 16;

/** Makes, counts, keeps and destroys the buffers of one device. */
export class MemoryPool {
  readonly #gpu: GPUDevice;
  readonly #limits: DeviceLimits;
  /** Idle buffers by size. Insertion order is age: the least recently used size goes first. */
  #idle = new Map<number, GPUBuffer[]>();
  readonly #idleLimit: number;
  /** Buffers of an earlier generation are not kept for reuse; see {@linkcode distrust}. */
  #generation = 0;
  #idleBytes = 0;
  #allocatedBytes = 0;
  #peakBytes = 0;
  #reservedBytes = 0;
  #buffers = 0;
  #isClosed = false;
  /** Size of the largest buffer asked for so far, for errors. */
  largestRequest = 0;
  /** Tensors that are not disposed; kept up to date by the tensors themselves. */
  tensors = 0;
  /** Called before a buffer is destroyed, while commands that use it may not be submitted yet. */
  onDestroy: (buffer: GPUBuffer) => void = () => {};

  /**
   * @param gpu The device to allocate on.
   * @param limits The limits to keep.
   * @param idleLimit How many bytes of idle buffers to keep for reuse.
   */
  constructor(gpu: GPUDevice, limits: DeviceLimits, idleLimit: number) {
    this.#gpu = gpu;
    this.#limits = limits;
    this.#idleLimit = idleLimit;
  }

  /** Throws if this device has no buffers of so many bytes. */
  assertFits(bytes: number, what: string): void {
    const { maxBufferSize } = this.#limits;
    if (bytes > maxBufferSize) {
      throw new RangeError(
        `Cannot allocate ${what}: it takes ${bytes} bytes, the device's maxBufferSize is ` +
          `${maxBufferSize}; split the tensor`,
      );
    }
  }

  /** A storage of at least `bytes` bytes, whose contents are arbitrary. */
  acquire(bytes: number, what: string): Storage {
    const size = Math.max(GRANULE, Math.ceil(bytes / GRANULE) * GRANULE);
    this.assertFits(size, what);
    let buffer = this.#takeIdle(size);
    if (!buffer) {
      buffer = this.createBuffer(
        size,
        BUFFER_USAGE.STORAGE | BUFFER_USAGE.COPY_SRC | BUFFER_USAGE.COPY_DST,
      );
    }
    this.#buffers++;
    this.#allocatedBytes += size;
    this.#peakBytes = Math.max(this.#peakBytes, this.#allocatedBytes);
    return new Storage(buffer, this, this.#generation);
  }

  /** Takes back a storage's buffer; called by {@linkcode Storage.release}. */
  giveBack(buffer: GPUBuffer, generation: number): void {
    if (this.#isClosed) return;
    this.#buffers--;
    this.#allocatedBytes -= buffer.size;
    if (generation !== this.#generation) {
      this.destroyBuffer(buffer);
      return;
    }
    const same = this.#idle.get(buffer.size) ?? [];
    same.push(buffer);
    this.#idle.delete(buffer.size); // To the end of the map: its size is the one used last.
    this.#idle.set(buffer.size, same);
    this.#idleBytes += buffer.size;
    this.#trim(this.#idleLimit);
  }

  /** A buffer outside the pool (staging, parameters); it counts as reserved. */
  createBuffer(size: number, usage: number): GPUBuffer {
    this.largestRequest = Math.max(this.largestRequest, size);
    const buffer = this.#gpu.createBuffer({ size, usage });
    if (!this.#isClosed) this.#reservedBytes += size;
    return buffer;
  }

  /** Destroys a buffer that {@linkcode createBuffer} made. Work already enqueued still sees it. */
  destroyBuffer(buffer: GPUBuffer): void {
    if (this.#isClosed) return;
    this.onDestroy(buffer);
    this.#reservedBytes -= buffer.size;
    buffer.destroy();
  }

  /** Destroys all idle buffers. */
  emptyCache(): void {
    this.#trim(0);
  }

  /**
   * Reuses no buffer that exists now: an allocation failed, WebGPU does not say which, and the buffer of
   * a failed one looks like any other while every use of it is refused.
   */
  distrust(): void {
    this.#generation++;
    this.emptyCache();
  }

  /**
   * Runs a function whose storages leave no trace: they raise no peak, and their buffers are kept for reuse until
   * the function returns and no longer.
   */
  apart<T>(fn: () => T): T {
    const [idle, idleBytes, generation] = [this.#idle, this.#idleBytes, this.#generation];
    const [peakBytes, largestRequest] = [this.#peakBytes, this.largestRequest];
    this.#idle = new Map();
    this.#idleBytes = 0;
    // Generations outside are whole numbers: a storage released later is not kept.
    this.#generation = generation + 0.5;
    try {
      return fn();
    } finally {
      this.emptyCache();
      [this.#idle, this.#idleBytes, this.#generation] = [idle, idleBytes, generation];
      [this.#peakBytes, this.largestRequest] = [peakBytes, largestRequest];
    }
  }

  /** The device was destroyed, and all buffers with it: none is counted, kept or destroyed any more. */
  close(): void {
    this.#isClosed = true;
    this.#idle.clear();
    this.#idleBytes =
      this.#allocatedBytes =
      this.#reservedBytes =
      this.#buffers =
        0;
  }

  /** Starts a new peak at what is allocated now. */
  resetPeak(): void {
    this.#peakBytes = this.#allocatedBytes;
  }

  /** The counters. */
  stats(): MemoryStats {
    return {
      allocatedBytes: this.#allocatedBytes,
      peakBytes: this.#peakBytes,
      reservedBytes: this.#reservedBytes,
      buffers: this.#buffers,
      tensors: this.tensors,
    };
  }

  #takeIdle(size: number): GPUBuffer | undefined {
    const same = this.#idle.get(size);
    const buffer = same?.pop();
    if (!buffer) return undefined;
    if (same!.length === 0) this.#idle.delete(size);
    this.#idleBytes -= size;
    return buffer;
  }

  #trim(limit: number): void {
    for (const [size, same] of this.#idle) {
      while (this.#idleBytes > limit && same.length > 0) {
        this.destroyBuffer(same.shift()!);
        this.#idleBytes -= size;
      }
      if (same.length > 0) return;
      this.#idle.delete(size);
    }
  }
}
