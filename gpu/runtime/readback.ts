/**
 * From GPU memory to the host. The ordinary way, `await buffer.mapAsync()`, takes 10.5 to 12 ms in Deno
 * 2.9 whatever the work, because the runtime sleeps 10 ms between polls of the device. An empty
 * `queue.submit([])` polls as well, so there we ask for the mapping without awaiting it, submit nothing
 * until the mapped range can be had, and reach about 0.1 ms.
 */
import { BUFFER_USAGE, MAP_READ } from "./flags.ts";
import type { FaultLog } from "./faults.ts";
import type { MemoryPool } from "./memory.ts";

/** Reads go through staging buffers of at most this size, piece by piece. */
const MAX_STAGING_BYTES = 64 * 2 ** 20;
const MIN_STAGING_BYTES = 4096;

/** How long to poll without giving other JavaScript a turn, in milliseconds. */
const SPIN_MS = 2;

/** `getMappedRange` as a poll is tested on these versions of Deno and used on no others. */
const POLLING_DENO = /^2\.9\./;

interface Staging {
  readonly buffer: GPUBuffer;
  /**
   * Whether an ordinary mapping of this buffer has succeeded. Deno 2.9 panics when the range of a
   * buffer that was never mapped is asked for.
   */
  mappedBefore: boolean;
}

/** Copies bytes from GPU buffers to the host, keeping its staging buffers for the next time. */
export class Readback {
  readonly #gpu: GPUDevice;
  readonly #memory: MemoryPool;
  readonly #faults: FaultLog;
  readonly #free = new Map<number, Staging[]>();
  readonly #canPoll: boolean;

  /** One per device. */
  constructor(gpu: GPUDevice, memory: MemoryPool, faults: FaultLog) {
    this.#gpu = gpu;
    this.#memory = memory;
    this.#faults = faults;
    this.#canPoll = POLLING_DENO.test(denoVersion());
  }

  /** Makes the first small read fast as well: maps one staging buffer in the ordinary way. */
  async warmUp(): Promise<void> {
    if (!this.#canPoll) return;
    const staging = this.#take(MIN_STAGING_BYTES);
    await this.#mapOrdinarily(staging);
    staging.buffer.unmap();
    this.#put(staging);
  }

  /**
   * The first `bytes` bytes of `source`, which must be a multiple of 4. All work enqueued before has
   * then ended. Throws what went wrong with it, if anything did.
   */
  async read(source: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    const result = new ArrayBuffer(bytes);
    for (let offset = 0; offset < bytes; offset += MAX_STAGING_BYTES) {
      const size = Math.min(bytes - offset, MAX_STAGING_BYTES);
      await this.#readPiece(source, offset, new Uint8Array(result, offset, size));
    }
    return result;
  }

  async #readPiece(source: GPUBuffer, offset: number, target: Uint8Array): Promise<void> {
    const size = Math.max(MIN_STAGING_BYTES, 2 ** Math.ceil(Math.log2(target.length)));
    const staging = this.#take(size);
    const encoder = this.#gpu.createCommandEncoder({ label: "readback" });
    encoder.copyBufferToBuffer(source, offset, staging.buffer, 0, target.length);
    this.#gpu.queue.submit([encoder.finish()]);
    const settled = this.#faults.settle();
    settled.catch(() => {}); // It is awaited below; a failed mapping must not leave it unhandled.
    const copyOut = (range: ArrayBuffer) => target.set(new Uint8Array(range, 0, target.length));
    try {
      if (this.#canPoll && staging.mappedBefore) {
        await this.#mapByPolling(staging, copyOut);
      } else {
        await this.#mapOrdinarily(staging);
        copyOut(staging.buffer.getMappedRange());
        staging.buffer.unmap();
        this.#put(staging);
      }
    } catch (error) {
      await settled; // The reason behind a failed mapping, where there is one, tells more.
      throw error;
    }
    await settled;
  }

  async #mapOrdinarily(staging: Staging): Promise<void> {
    await staging.buffer.mapAsync(MAP_READ);
    staging.mappedBefore = true;
  }

  async #mapByPolling(staging: Staging, copyOut: (range: ArrayBuffer) => void): Promise<void> {
    let failure: unknown;
    staging.buffer.mapAsync(MAP_READ).catch((error) => {
      failure = error ?? new Error("buffer mapping failed");
    });
    const start = performance.now();
    while (true) {
      this.#gpu.queue.submit([]);
      const range = mappedRange(staging.buffer);
      if (range) {
        copyOut(range);
        // The promise of mapAsync settles some 10 ms later; Deno lets the buffer be used meanwhile.
        staging.buffer.unmap();
        this.#put(staging);
        return;
      }
      if (failure) {
        this.#memory.destroyBuffer(staging.buffer);
        throw failure;
      }
      if (performance.now() - start > SPIN_MS) await new Promise((done) => setTimeout(done, 1));
    }
  }

  #take(size: number): Staging {
    const free = this.#free.get(size)?.pop();
    if (free) return free;
    const usage = BUFFER_USAGE.MAP_READ | BUFFER_USAGE.COPY_DST;
    return { buffer: this.#memory.createBuffer(size, usage), mappedBefore: false };
  }

  /** Destroys the staging buffers that are not in use. */
  emptyCache(): void {
    for (const free of this.#free.values()) {
      for (const { buffer } of free) this.#memory.destroyBuffer(buffer);
    }
    this.#free.clear();
  }

  #put(staging: Staging): void {
    const size = staging.buffer.size;
    const free = this.#free.get(size) ?? [];
    this.#free.set(size, free);
    free.push(staging);
  }
}

/** The mapped bytes, or `undefined` while the mapping is under way. */
function mappedRange(buffer: GPUBuffer): ArrayBuffer | undefined {
  try {
    return buffer.getMappedRange();
  } catch {
    return undefined;
  }
}

function denoVersion(): string {
  const deno = (globalThis as { Deno?: { version?: { deno?: string } } }).Deno;
  return deno?.version?.deno ?? "";
}
