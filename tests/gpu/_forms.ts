/** Devices on which kernels take the forms that they have on a GPU, to be tested wherever the tests run. */
import { type Device, requestDevice } from "@denoformers/attention";

/**
 * This adapter, taken for a GPU: threads may wait at barriers, hold rows in registers and share tiles.
 *
 * @param subgroups Whether to use subgroups, if the adapter has them. Default `true`.
 */
export async function deviceAsGpu(subgroups = true): Promise<Device> {
  const device = await requestDevice({ tune: false });
  Object.assign(device.info, { isFallback: false });
  if (!subgroups) Object.assign(device.info, { subgroupSize: 0 });
  return device;
}
