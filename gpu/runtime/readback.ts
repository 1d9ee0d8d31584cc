/**
 * From GPU memory to the host. The ordinary way, `await buffer.mapAsync()`, takes 10.5 to 12 ms in Deno
 * 2.9 whatever the work, because the runtime sleeps 10 ms between polls of the device. An empty
 * `queue.submit([])` polls as well, so there we ask for the mapping without awaiting it, submit nothing
 * until the mapped range can be had, and reach about 0.1 ms. The same makes it possible to wait for the GPU
 * within a call, without giving other JavaScript a turn.
 */
import { BUFFER_USAGE, MAP_READ } from "./flags.ts";
import type { CommandQueue } from "./commands.ts";
import type { FaultLog } from "./faults.ts";
import type { MemoryPool } from "./memory.ts";

/** Reads go through staging buffers of at most this size, piece by piece. */
const MAX_STAGING_BYTES = 64 * 2 ** 20;
const MIN_STAGING_BYTES = 4096;

/** How long to poll without giving other JavaScript a turn, in milliseconds. */
const SPIN_MS = 2;

/** After how long to give other JavaScript a turn, though no wait was that long, in milliseconds. */
const TURN_MS = 10;

/** How long to sleep between polls of a wait within a call, in milliseconds: a driver may need this core. */
const NAP_MS = 0.1;

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
  readonly #commands: CommandQueue;
  readonly #free = new Map<number, Staging[]>();
  readonly #canPoll: boolean;
  /** When the event loop last went round for certain, in milliseconds. */
  #lastTurn = 0;
  /** Kept apart for {@linkcode readSync}, which cannot wait for the first mapping of another. */
  #forSync: Staging | undefined;

  /** One per device. */
  constructor(gpu: GPUDevice, memory: MemoryPool, faults: FaultLog, commands: CommandQueue) {
    this.#gpu = gpu;
    this.#memory = memory;
    this.#faults = faults;
    this.#commands = commands;
    this.#canPoll = POLLING_DENO.test(denoVersion());
  }

  /** Makes the first small read fast as well: maps one staging buffer in the ordinary way. */
  async warmUp(): Promise<void> {
    if (!this.#canPoll) return;
    this.#put(await this.#warm());
  }

  /** Makes {@linkcode readSync} possible, where the runtime lets it be. */
  async prepareSync(): Promise<void> {
    if (!this.#canPoll || this.#forSync) return;
    this.#forSync = await this.#warm();
  }

  /** A small staging buffer that was mapped before. */
  async #warm(): Promise<Staging> {
    const staging = this.#take(MIN_STAGING_BYTES);
    try {
      await this.#map(staging);
      staging.buffer.unmap();
    } catch (error) {
      this.#memory.destroyBuffer(staging.buffer);
      await this.#faults.settle();
      throw await this.#faults.mappingError(error);
    }
    return staging;
  }

  /** Whether {@linkcode readSync} can read. */
  get canReadSync(): boolean {
    return this.#forSync !== undefined;
  }

  /**
   * As {@linkcode read}, but within this call, and telling of no errors. Blocks the thread.
   *
   * @param limitMs For how long to wait at most, in milliseconds. A wait that takes longer was the last.
   * @returns The bytes; `undefined` where reads within a call are not possible, or took too long.
   */
  readSync(source: GPUBuffer, bytes: number, limitMs: number): ArrayBuffer | undefined {
    const deadline = performance.now() + limitMs;
    const result = new ArrayBuffer(bytes);
    for (let offset = 0; offset < bytes; offset += MIN_STAGING_BYTES) {
      const size = Math.min(bytes - offset, MIN_STAGING_BYTES);
      const target = new Uint8Array(result, offset, size);
      if (!this.#readPieceSync(source, offset, target, deadline)) return undefined;
    }
    return result;
  }

  #readPieceSync(
    source: GPUBuffer,
    offset: number,
    target: Uint8Array,
    deadline: number,
  ): boolean {
    const buffer = this.#forSync?.buffer;
    if (!buffer) return false;
    this.#commands.copy(source, offset, buffer, target.length);
    const mapping = buffer.mapAsync(MAP_READ);
    mapping.catch(() => {}); // What counts is whether the range can be had in time.
    const start = performance.now();
    while (true) {
      this.#gpu.queue.submit([]);
      const range = mappedRange(buffer, target.length);
      if (range) {
        target.set(new Uint8Array(range, 0, target.length));
        buffer.unmap();
        return true;
      }
      const now = performance.now();
      if (now > deadline || now - start > NAP_MS && isRejected(mapping)) {
        this.#destroyForSync();
        return false;
      }
      if (now - start > NAP_MS) nap();
    }
  }

  /**
   * The first `bytes` bytes of `source`, which must be a multiple of 4. All work enqueued before has
   * then ended. Throws what went wrong with it, if anything did.
   */
  async read(source: GPUBuffer, bytes: number): Promise<ArrayBuffer> {
    if (this.#canPoll && bytes <= MAX_STAGING_BYTES) {
      // Deno 2.9 copies what is mapped for reading: there is no need to copy that once more.
      let kept: ArrayBuffer | undefined;
      await this.#readPiece(source, 0, bytes, (range) => kept = range.transfer());
      return kept!;
    }
    const result = new ArrayBuffer(bytes);
    for (let offset = 0; offset < bytes; offset += MAX_STAGING_BYTES) {
      const size = Math.min(bytes - offset, MAX_STAGING_BYTES);
      const target = new Uint8Array(result, offset, size);
      await this.#readPiece(source, offset, size, (range) => target.set(new Uint8Array(range)));
    }
    return result;
  }

  async #readPiece(
    source: GPUBuffer,
    offset: number,
    bytes: number,
    copyOut: (range: ArrayBuffer) => void,
  ): Promise<void> {
    const size = Math.max(MIN_STAGING_BYTES, 2 ** Math.ceil(Math.log2(bytes)));
    const staging = this.#take(size);
    this.#commands.copy(source, offset, staging.buffer, bytes);
    const written = { since: 0, written: 0 };
    this.#faults.noteWrite(written);
    const isPolled = this.#canPoll && staging.mappedBefore;
    // Before the look at errors: that the buffer cannot be mapped must count as an error of this batch.
    const mapping = this.#map(staging);
    const settled = this.#faults.settle();
    settled.catch(() => {}); // It is awaited below; a failed mapping must not leave it unhandled.
    try {
      if (isPolled) {
        copyOut(await this.#poll(staging, mapping, bytes));
      } else {
        await mapping;
        copyOut(staging.buffer.getMappedRange(0, bytes));
      }
      // The promise of a polled mapping settles some 10 ms later; Deno lets the buffer be used meanwhile.
      staging.buffer.unmap();
    } catch (error) {
      this.#memory.destroyBuffer(staging.buffer);
      await settled; // The reason behind a failed mapping, where there is one, tells more.
      this.#faults.assertSound(written);
      if (error instanceof RangeError) throw error; // The host has no room for a copy.
      throw await this.#faults.mappingError(error);
    }
    this.#put(staging);
    await settled;
    // Another wait may have been told why the copy was refused; what was read then is from before.
    this.#faults.assertSound(written);
  }

  /** Asks for a mapping. */
  async #map(staging: Staging): Promise<void> {
    await this.#faults.whileAlive(staging.buffer.mapAsync(MAP_READ));
    staging.mappedBefore = true;
  }

  /** The mapped range, as soon as it can be had. */
  async #poll(staging: Staging, mapping: Promise<void>, bytes: number): Promise<ArrayBuffer> {
    let failure: unknown;
    mapping.catch((error) => failure = error);
    if (performance.now() - this.#lastTurn > TURN_MS) await this.#giveTurn();
    const start = performance.now();
    while (true) {
      this.#gpu.queue.submit([]);
      const range = mappedRange(staging.buffer, bytes);
      if (range) return range;
      if (failure) throw failure;
      if (performance.now() - start > SPIN_MS) await new Promise((done) => setTimeout(done, 1));
    }
  }

  /**
   * Lets the event loop go round once, which takes some 0.01 ms. A loop of reads that never did so would keep timers
   * and signals waiting, and could not even be ended from outside where it runs in a worker.
   */
  async #giveTurn(): Promise<void> {
    const { setImmediate } = globalThis as { setImmediate?: (done: () => void) => void };
    const later = setImmediate ?? setTimeout;
    await new Promise<void>((done) => later(done));
    this.#lastTurn = performance.now();
  }

  #take(size: number): Staging {
    const free = this.#free.get(size)?.pop();
    if (free) return free;
    const usage = BUFFER_USAGE.MAP_READ | BUFFER_USAGE.COPY_DST;
    return { buffer: this.#memory.createBuffer(size, usage), mappedBefore: false };
  }

  /** Destroys all staging buffers that are not in use: one of them may never have got its memory. */
  distrust(): void {
    this.emptyCache();
    this.#destroyForSync();
  }

  #destroyForSync(): void {
    if (this.#forSync) this.#memory.destroyBuffer(this.#forSync.buffer);
    this.#forSync = undefined;
  }

  /** Destroys the staging buffers that are not in use, but for the one of {@linkcode readSync}. */
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

/**
 * The first mapped bytes, or `undefined` while the mapping is under way. No more than are wanted: Deno copies
 * them out of the buffer at this call.
 */
function mappedRange(buffer: GPUBuffer, bytes: number): ArrayBuffer | undefined {
  try {
    return buffer.getMappedRange(0, bytes);
  } catch {
    return undefined;
  }
}

/**
 * Whether a promise is rejected, without awaiting it: JavaScript cannot look into a promise, but `Deno.inspect`
 * shows what is in it. Only Deno gets here.
 */
function isRejected(promise: Promise<unknown>): boolean {
  const { Deno } = globalThis as { Deno?: { inspect(value: unknown): string } };
  return /^Promise \{\s*<rejected>/.test(Deno!.inspect(promise));
}

/** Sleeps for {@linkcode NAP_MS}. Browsers forbid this on their main thread; only Deno gets here. */
function nap(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, NAP_MS);
}

function denoVersion(): string {
  const deno = (globalThis as { Deno?: { version?: { deno?: string } } }).Deno;
  return deno?.version?.deno ?? "";
}
