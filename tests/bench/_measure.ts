// deno-lint-ignore-file no-console -- for programs of the command line
/** What the benchmarks share: inputs, times on the GPU, lines of output. */
import { type Device, requestDevice, type Tensor } from "@denoformers/attention";

/** Element types of attention. */
export type FloatName = "f32" | "f16" | "bf16";

/** A device that can time kernels, whose adapter is printed. */
export async function benchDevice(): Promise<Device> {
  const device = await requestDevice();
  if (!device.info.timestamps) {
    throw new Error(`Cannot time kernels: ${device.info.adapter} has no timestamp-query`);
  }
  console.log(device.info.adapter);
  return device;
}

/** By how much to divide lengths: a CPU takes a thousand times as long. */
export function scaleFor({ info }: Device): number {
  return info.isFallback ? 8 : 1;
}

/** Seeded tensors. */
export function inputs(device: Device, shapes: readonly number[][], dtype: FloatName): Tensor[] {
  return shapes.map((shape, i) => device.randn(shape, { seed: i + 1, dtype }));
}

/** Median time on the GPU, in ms, of a function that enqueues work; the first calls compile and are left out. */
export async function median(device: Device, run: () => void, calls: number): Promise<number> {
  const times: number[] = [];
  for (let call = 0; call < calls + 3; call++) {
    const { milliseconds } = await device.profile(run);
    if (call >= 3) times.push(milliseconds);
  }
  return times.sort((a, b) => a - b)[calls >> 1]!;
}

/** Prints one line: what, its time in ms, a rate. */
export function print(what: string, time: number, rate: string): void {
  console.log(`${what.padEnd(58)} ${time.toFixed(3).padStart(9)} ms  ${rate}`);
}
