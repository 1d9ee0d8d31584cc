/** Inputs and plain models that the tests of tensors share. */
import type { Device, NestedArray, Tensor } from "@denoformers/attention";
import type { DeviceArray } from "../../gpu/array.ts";
import { runtimeOf } from "../../gpu/device.ts";
import type { Runtime } from "../../gpu/runtime/runtime.ts";
import { tensorFrom } from "../../gpu/tensor/tensor.ts";

/** An array on the host: the model that tensors are compared with. */
export interface HostArray {
  readonly shape: readonly number[];
  /** The elements in row-major order. */
  readonly data: readonly number[];
}

/** Numbers in [low, high) that a float holds exactly, from a linear congruential generator. */
export function randomValues(count: number, seed: number, low = -1, high = 1): Float32Array {
  let state = Math.imul(seed + 1, 0x9e3779b1) >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return low + (high - low) * (state / 2 ** 32);
  });
}

/** The product of all sizes. */
export function numel(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** Every index of an array of this shape, in row-major order. */
export function indices(shape: readonly number[]): number[][] {
  return shape.reduce<number[][]>(
    (heads, size) => heads.flatMap((head) => Array.from({ length: size }, (_, i) => [...head, i])),
    [[]],
  );
}

/** The row-major place of an index. */
export function placeOf(index: readonly number[], shape: readonly number[]): number {
  return index.reduce((place, i, axis) => place * shape[axis]! + i, 0);
}

/** An array whose element at each index is what a function says. */
export function hostArray(shape: readonly number[], at: (index: number[]) => number): HostArray {
  return { shape, data: indices(shape).map(at) };
}

/** The element at an index; axes of size 1 and missing leading axes broadcast. */
export function broadcastAt({ shape, data }: HostArray, index: readonly number[]): number {
  const own = index.slice(index.length - shape.length).map((i, axis) => shape[axis] === 1 ? 0 : i);
  return data[placeOf(own, shape)]!;
}

/** Nested arrays of the elements. */
export function nested({ shape, data }: HostArray): NestedArray {
  const level = (axis: number, start: number): NestedArray => {
    if (axis === shape.length) return data[start]!;
    const step = numel(shape.slice(axis + 1));
    return Array.from({ length: shape[axis]! }, (_, i) => level(axis + 1, start + i * step));
  };
  return level(0, 0);
}

/** Shape and elements of a tensor, for `assertAllClose`. */
export async function read(tensor: Tensor): Promise<{ shape: readonly number[]; data: number[] }> {
  return { shape: tensor.shape, data: [...await tensor.data()] };
}

/** What a kernel makes, as a tensor that owns it. */
export function computed(device: Device, kernel: (runtime: Runtime) => DeviceArray): Tensor {
  const runtime = runtimeOf(device);
  return tensorFrom(device, runtime, kernel(runtime));
}

/** The density of the standard normal distribution. */
export function normalDensity(x: number): number {
  return Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
}

/** The standard normal distribution: density(x) (x + x^3 / 3 + x^5 / (3 5) + ...) above 1/2. */
export function normalCdf(x: number): number {
  if (Math.abs(x) > 9) return x > 0 ? 1 : 0; // The rest is below 10^-18.
  let sum = 0;
  for (let term = Math.abs(x), k = 3; term > sum * 2 ** -60; term *= x * x / k, k += 2) sum += term;
  return 0.5 + Math.sign(x) * normalDensity(x) * sum;
}

/** All subsets of the axes of a tensor. */
export function axisSubsets(rank: number): number[][] {
  return Array.from(
    { length: 2 ** rank },
    (_, bits) => Array.from({ length: rank }, (_, axis) => axis).filter((axis) => bits >> axis & 1),
  );
}

/** The product of `[..., m, k]` and `[..., k, n]` in 64-bit floats, and the same of absolute values. */
export function naiveMatmul(
  a: HostArray,
  b: HostArray,
  lead: readonly number[],
): { product: HostArray; magnitudes: number[] } {
  const [m, k] = a.shape.slice(-2) as [number, number];
  const n = b.shape.at(-1)!;
  const magnitudes: number[] = [];
  const product = hostArray([...lead, m, n], (index) => {
    const batch = index.slice(0, -2);
    const [row, column] = index.slice(-2) as [number, number];
    let sum = 0;
    let magnitude = 0;
    for (let i = 0; i < k; i++) {
      const term = broadcastAt(a, [...batch, row, i]) * broadcastAt(b, [...batch, i, column]);
      sum += term;
      magnitude += Math.abs(term);
    }
    magnitudes.push(magnitude);
    return sum;
  });
  return { product, magnitudes };
}
