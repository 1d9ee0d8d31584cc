/**
 * How much GPU memory each contender holds: every buffer that its devices make counts from `createBuffer` to
 * `destroy`, whatever it is for, so all are measured alike.
 */

/** Bytes of one owner's buffers. */
interface Count {
  live: number;
  peak: number;
  readonly errors: string[];
}

/** Watches all devices that are requested while it is installed. */
export class MemoryWatch {
  readonly #counts = new Map<string, Count>();
  readonly #requestDevice = GPUAdapter.prototype.requestDevice;
  #owner = "nobody";

  /** Installs it; {@linkcode Symbol.dispose} takes it away. */
  constructor() {
    // deno-lint-ignore no-this-alias -- the patched method has a `this` of its own
    const watch = this;
    const original = this.#requestDevice;
    GPUAdapter.prototype.requestDevice = async function (descriptor) {
      const device = await original.call(this, descriptor);
      watch.#track(device, watch.#count(watch.#owner));
      return device;
    };
  }

  /** Devices requested from now on belong to this owner. */
  set owner(name: string) {
    this.#owner = name;
  }

  /** Most bytes that an owner's buffers had at once since {@linkcode resetPeak}. */
  peakBytes(owner: string): number {
    return this.#count(owner).peak;
  }

  /** Starts a new peak at what is live now, and forgets errors. */
  resetPeak(owner: string): void {
    const count = this.#count(owner);
    count.peak = count.live;
    count.errors.length = 0;
  }

  /** The first WebGPU error that an owner's devices reported to nobody; `undefined` if there was none. */
  error(owner: string): string | undefined {
    return this.#count(owner).errors[0];
  }

  /** Leaves the devices that there are watched, and others alone. */
  [Symbol.dispose](): void {
    GPUAdapter.prototype.requestDevice = this.#requestDevice;
  }

  #count(owner: string): Count {
    const count = this.#counts.get(owner) ?? { live: 0, peak: 0, errors: [] };
    this.#counts.set(owner, count);
    return count;
  }

  #track(device: GPUDevice, count: Count): void {
    const createBuffer = device.createBuffer;
    device.createBuffer = (descriptor) => {
      const buffer = createBuffer.call(device, descriptor);
      const { size } = descriptor;
      let isLive = true;
      count.live += size;
      count.peak = Math.max(count.peak, count.live);
      const destroy = buffer.destroy;
      buffer.destroy = () => {
        if (isLive) count.live -= size;
        isLive = false;
        return destroy.call(buffer);
      };
      return buffer;
    };
    device.addEventListener("uncapturederror", (event) => {
      event.preventDefault();
      count.errors.push((event as GPUUncapturedErrorEvent).error.message);
    });
  }
}
