/**
 * The errors a caller may want to tell apart. Wrong arguments throw the built-in `TypeError` (rank,
 * dtype, device, disposed tensor) or `RangeError` (sizes that disagree or exceed a limit) instead.
 */

/** No usable GPU: WebGPU is missing, no adapter was found, or the adapter gives wrong numbers. */
export class GpuUnavailableError extends Error {
  /** The class's name. */
  override name = "GpuUnavailableError";
}

/** A compute shader did not compile; the message holds the compiler's messages and the source. */
export class ShaderCompileError extends Error {
  /** The class's name. */
  override name = "ShaderCompileError";
}

/** The GPU ran out of memory; the message names the adapter, the sizes asked for and those in use. */
export class GpuOutOfMemoryError extends Error {
  /** The class's name. */
  override name = "GpuOutOfMemoryError";
}

/** The GPU refused a command, so the tensors that it was to compute hold nothing of use. */
export class GpuValidationError extends Error {
  /** The class's name. */
  override name = "GpuValidationError";
}

/** The device is gone (driver reset, or `dispose()`); its tensors cannot be used or read any more. */
export class DeviceLostError extends Error {
  /** The class's name. */
  override name = "DeviceLostError";
}
