/** Times each dispatch on the GPU by timestamp queries, while a profile is being taken. */
import { BUFFER_USAGE } from "./flags.ts";
import type { MemoryPool } from "./memory.ts";

/** Time that one kernel took within a profile. */
export interface KernelTime {
  /** The kernel's label. */
  readonly kernel: string;
  /** Number of dispatches. */
  calls: number;
  /** Sum of their times on the GPU, in milliseconds. */
  milliseconds: number;
}

/** Dispatches that one query set can time: two timestamps each, 4,096 at most by the specification. */
const MAX_DISPATCHES = 2048;

/** Timestamps of one device. */
export class Profiler {
  readonly #gpu: GPUDevice;
  readonly #memory: MemoryPool;
  #labels: string[] | undefined;
  #querySet: GPUQuerySet | undefined;
  #standIn: Profiler | undefined;

  /** One per device. */
  constructor(gpu: GPUDevice, memory: MemoryPool) {
    this.#gpu = gpu;
    this.#memory = memory;
  }

  /** Whether the device can tell time. */
  get available(): boolean {
    return this.#gpu.features.has("timestamp-query");
  }

  /** Starts a profile; one at a time. */
  start(): void {
    if (this.#labels) {
      throw new Error("Cannot start a profile: another one is under way on this device, await it");
    }
    this.#labels = [];
    this.#querySet ??= this.available
      ? this.#gpu.createQuerySet({ type: "timestamp", count: 2 * MAX_DISPATCHES })
      : undefined;
  }

  /** Ends the profile and forgets it. */
  cancel(): void {
    this.#labels = undefined;
  }

  /** Runs a function whose dispatches another profiler times: a profile under way does not see them. */
  replacedBy<T>(other: Profiler, fn: () => T): T {
    const outer = this.#standIn;
    this.#standIn = other;
    try {
      return fn();
    } finally {
      this.#standIn = outer;
    }
  }

  /** The timestamps for one dispatch to write, while a profile is being taken. */
  begin(label: string): GPUComputePassTimestampWrites | undefined {
    if (this.#standIn) return this.#standIn.begin(label);
    if (!this.#labels || !this.#querySet) return undefined;
    const index = this.#labels.length;
    if (index === MAX_DISPATCHES) {
      throw new RangeError(
        `Cannot profile more than ${MAX_DISPATCHES} dispatches at once, profile a shorter piece`,
      );
    }
    this.#labels.push(label);
    return {
      querySet: this.#querySet,
      beginningOfPassWriteIndex: 2 * index,
      endOfPassWriteIndex: 2 * index + 1,
    };
  }

  /**
   * Ends the profile.
   *
   * @param read Reads a buffer back, once all work before it has ended.
   * @returns Time by kernel, in order of first use; empty where the device cannot tell.
   */
  async stop(
    read: (source: GPUBuffer, bytes: number) => Promise<ArrayBuffer>,
  ): Promise<KernelTime[]> {
    const resolved = this.#resolve();
    if (!resolved) return [];
    const { labels, buffer } = resolved;
    try {
      return sumByKernel(labels, new BigUint64Array(await read(buffer, buffer.size)));
    } finally {
      this.#memory.destroyBuffer(buffer);
    }
  }

  /**
   * Ends the profile within this call.
   *
   * @param read Reads a buffer back without giving other JavaScript a turn, if it can.
   * @returns As {@linkcode stop}; `undefined` if the buffer could not be read.
   */
  stopSync(
    read: (source: GPUBuffer, bytes: number) => ArrayBuffer | undefined,
  ): KernelTime[] | undefined {
    const resolved = this.#resolve();
    if (!resolved) return [];
    const { labels, buffer } = resolved;
    try {
      const stamps = read(buffer, buffer.size);
      return stamps && sumByKernel(labels, new BigUint64Array(stamps));
    } finally {
      this.#memory.destroyBuffer(buffer);
    }
  }

  /** Gives the driver back what this profiler holds; for profilers that do not live as long as the device. */
  dispose(): void {
    this.#querySet?.destroy();
    this.#querySet = undefined;
  }

  /** Ends the profile and enqueues a copy of its timestamps to a new buffer; nothing if there are none. */
  #resolve(): { labels: readonly string[]; buffer: GPUBuffer } | undefined {
    const labels = this.#labels ?? [];
    this.#labels = undefined;
    if (!this.#querySet || labels.length === 0) return undefined;
    const usage = BUFFER_USAGE.QUERY_RESOLVE | BUFFER_USAGE.COPY_SRC;
    const buffer = this.#memory.createBuffer(labels.length * 16, usage);
    const encoder = this.#gpu.createCommandEncoder({ label: "resolve timestamps" });
    encoder.resolveQuerySet(this.#querySet, 0, 2 * labels.length, buffer, 0);
    this.#gpu.queue.submit([encoder.finish()]);
    return { labels, buffer };
  }
}

/** Nanosecond stamps, begin and end for each dispatch, become milliseconds by kernel. */
function sumByKernel(labels: readonly string[], stamps: BigUint64Array): KernelTime[] {
  const times = new Map<string, KernelTime>();
  for (const [i, kernel] of labels.entries()) {
    const time = times.get(kernel) ?? { kernel, calls: 0, milliseconds: 0 };
    time.calls++;
    time.milliseconds += Number(stamps[2 * i + 1]! - stamps[2 * i]!) / 1e6;
    times.set(kernel, time);
  }
  return [...times.values()];
}
