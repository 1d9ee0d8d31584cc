/** What tests of optimisers share: gradients at will, and values that do not repeat. */
import { type Device, type Tensor, tidy } from "@denoformers/attention";

/**
 * PyTorch's rules in float64 against f32: each step rounds a handful of times, and few steps are taken.
 */
export const TOLERANCE = { atol: 1e-6, rtol: 1e-5 };

/** Numbers between -1 and 1. */
export function values(length: number, seed: number): number[] {
  return Array.from({ length }, (_, i) => Math.sin(12.9898 * (i + 1) + 78.233 * seed));
}

/** A leaf that requires gradients. */
export function leaf(device: Device, data: readonly number[]): Tensor {
  return device.tensor(data, { requiresGrad: true });
}

/** Replaces the gradient of a leaf. */
export function setGradient(parameter: Tensor, gradient: readonly number[]): void {
  parameter.zeroGrad();
  const { dtype, shape } = parameter;
  tidy(() => parameter.clone().backward(parameter.device.tensor(gradient, { shape, dtype })));
}
