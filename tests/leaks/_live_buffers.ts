/**
 * Counts GPU buffers behind the library's back: it stands between the library and WebGPU, and knows which buffers
 * exist on each device by their making and destruction alone.
 */
import type { Device } from "@denoformers/attention";
import { runtimeOf } from "../../gpu/device.ts";

/** The buffers of a device that were made and not destroyed. */
export interface LiveBuffers {
  /** How many. */
  readonly count: number;
  /** The sum of their sizes. */
  readonly bytes: number;
}

/** Looks on from {@linkcode watchBuffers} until it is disposed. */
export interface BufferWatch extends Disposable {
  /** What exists on a device that was requested since the watch began. */
  of(device: Device): LiveBuffers;
}

/**
 * Begins to count, on every device that is requested from now on. Sizes are kept, and no buffer: one that is
 * forgotten without being destroyed counts on.
 */
export function watchBuffers(): BufferWatch {
  const live = new WeakMap<GPUDevice, { count: number; bytes: number }>();
  const owners = new WeakMap<GPUBuffer, GPUDevice>();
  const { createBuffer, destroy: destroyDevice } = GPUDevice.prototype;
  const { destroy: destroyBuffer } = GPUBuffer.prototype;

  GPUDevice.prototype.createBuffer = function (descriptor) {
    const buffer = createBuffer.call(this, descriptor);
    const counted = live.get(this) ?? { count: 0, bytes: 0 };
    counted.count++;
    counted.bytes += descriptor.size;
    live.set(this, counted);
    owners.set(buffer, this);
    return buffer;
  };
  GPUBuffer.prototype.destroy = function () {
    const counted = live.get(owners.get(this)!);
    if (counted) {
      counted.count--;
      counted.bytes -= this.size;
      owners.delete(this); // A second call destroys nothing.
    }
    return destroyBuffer.call(this);
  };
  GPUDevice.prototype.destroy = function () {
    live.delete(this); // All its buffers go with it.
    return destroyDevice.call(this);
  };

  return {
    of: (device) => ({ count: 0, bytes: 0, ...live.get(runtimeOf(device).gpu) }),
    [Symbol.dispose]() {
      Object.assign(GPUDevice.prototype, { createBuffer, destroy: destroyDevice });
      Object.assign(GPUBuffer.prototype, { destroy: destroyBuffer });
    },
  };
}
