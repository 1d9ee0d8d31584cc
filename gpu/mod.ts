/**
 * Devices and tensors on WebGPU: the library that attention is built on, knowing nothing of it.
 *
 * @module
 */
export { Device, type Profile, requestDevice } from "./device.ts";
export type { DType, TensorData } from "./dtype.ts";
export {
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuUnavailableError,
  GpuValidationError,
  ShaderCompileError,
} from "./errors.ts";
export { tidy } from "./lifetime.ts";
export type { NestedArray, TensorSource } from "./parse.ts";
export type { DeviceInfo, DeviceLimits } from "./runtime/info.ts";
export type { MemoryStats } from "./runtime/memory.ts";
export type { KernelTime } from "./runtime/profiler.ts";
export type { DeviceOptions } from "./runtime/request.ts";
export { cat, stack } from "./tensor/join.ts";
export { TensorBase } from "./tensor/base.ts";
export { type ReduceOptions, Tensor } from "./tensor/tensor.ts";
