/** One device for as long as the kernel lives. */

import { checkedOptions } from "../../gpu/checks.ts";
import { runtimeOf } from "../../gpu/device.ts";
import { DEVICE_OPTIONS } from "../../gpu/runtime/request.ts";
import { type Device, type DeviceOptions, requestDevice } from "../../mod.ts";

/** The device, or its request, and what it was requested with. */
let shared: { readonly device: Promise<Device>; readonly options: string } | undefined;

/**
 * The device of this notebook: requested at the first call, and the same one from then on, so that a cell may
 * be run again without a second device. If it was lost or disposed, a new one is requested.
 *
 * @param options As for `requestDevice`; may be left out where the device is there already.
 * @throws {GpuUnavailableError} If there is no usable adapter; the message says what to install.
 * @throws {RangeError} If the device is there with other options.
 *
 * @example
 * ```ts ignore
 * const device = await sharedDevice();
 * ```
 */
export async function sharedDevice(options?: DeviceOptions): Promise<Device> {
  if (options !== undefined) checkedOptions("share the device", options, DEVICE_OPTIONS);
  if (shared) await forgetLost(shared);
  const wanted = JSON.stringify(options ?? {});
  if (shared && options !== undefined && wanted !== shared.options) {
    throw new RangeError(
      `Cannot share the device: options is ${wanted}, expected ${shared.options} as at first, or ` +
        `nothing; for other options dispose the device before`,
    );
  }
  shared ??= { device: requestDevice(options), options: wanted };
  return await shared.device;
}

/** Forgets a device that is of no use any more, and a request that failed. */
async function forgetLost(entry: NonNullable<typeof shared>): Promise<void> {
  try {
    runtimeOf(await entry.device).faults.assertAlive();
  } catch {
    if (shared === entry) shared = undefined;
  }
}
