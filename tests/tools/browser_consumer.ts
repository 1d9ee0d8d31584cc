/**
 * A program as someone would write it for a browser. It is not run: `check_browser_types.ts`
 * compiles it without Deno's types.
 *
 * @module
 */

import {
  type Device,
  GpuUnavailableError,
  LowerTriangularMask,
  memoryEfficientAttention,
  requestDevice,
  type Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";

/**
 * Attends causally on the page's GPU.
 *
 * @param status Where to say that there is no GPU.
 * @returns Elements of the output.
 */
export async function attend(status: { textContent: string | null }): Promise<number[]> {
  let device: Device;
  try {
    device = await requestDevice({ tune: false });
  } catch (error) {
    if (error instanceof GpuUnavailableError) status.textContent = error.message;
    throw error;
  }
  const query: Tensor = device.randn([1, 16, 2, 8], { seed: 1 });
  const out = memoryEfficientAttention(query, query, query, {
    attnBias: new LowerTriangularMask(),
    scale: 0.5,
  });
  const data = await out.data();
  assertAllClose(data, data);
  query.dispose();
  out.dispose();
  const { allocatedBytes }: { allocatedBytes: number } = device.memory();
  status.textContent = `${allocatedBytes} bytes`;
  return Array.from(data);
}
