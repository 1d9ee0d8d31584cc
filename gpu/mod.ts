/**
 * Devices and tensors on WebGPU: the library that attention is built on, knowing nothing of it.
 *
 * @module
 */
export { checkpoint } from "./autograd/checkpoint.ts";
export { type CustomFunction, customFunction, type FunctionContext } from "./autograd/function.ts";
export { isGradEnabled, noGrad } from "./autograd/mode.ts";
export { Device, type Profile, requestDevice, type TensorOptions } from "./device.ts";
export type { DType, TensorData } from "./dtype.ts";
export {
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuUnavailableError,
  GpuValidationError,
  ShaderCompileError,
} from "./errors.ts";
export { tidy } from "./lifetime.ts";
export type { HalfArray, IntegerList, NestedArray, NestedValues, TensorSource } from "./parse.ts";
export type { DeviceInfo, DeviceLimits } from "./runtime/info.ts";
export type { MemoryStats } from "./runtime/memory.ts";
export type { KernelTime } from "./runtime/profiler.ts";
export type { DeviceOptions, TuningOptions } from "./runtime/request.ts";
export { cat, stack } from "./tensor/join.ts";
export { linear } from "./tensor/linear_algebra.ts";
export { TensorBase } from "./tensor/base.ts";
export { type BackwardOptions, DifferentiableTensor } from "./tensor/differentiable.ts";
export { type ReduceOptions, Tensor } from "./tensor/tensor.ts";
export type { CandidateTime } from "./tuning/measure.ts";
export type { TuningChoice } from "./tuning/tuner.ts";
