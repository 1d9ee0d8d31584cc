/** Whether a device still computes what it should. */
import { type Device, tidy } from "@denoformers/attention";

/** Throws unless a product and a sum come out right, and no work before them has failed. */
export async function assertDeviceWorks(device: Device): Promise<void> {
  await device.sync();
  using total = tidy(() => {
    const x = device.tensor([[1, 2], [3, 4]]);
    return x.matmul(x).add(0.5).sum();
  });
  const found = await total.item();
  if (found !== 56) throw new Error(`the device computes ${found} where 56 is right`);
}
