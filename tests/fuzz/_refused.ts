/** What a refusal is: an error of ours that says what was wrong, never one of the engine. */
import {
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuUnavailableError,
  GpuValidationError,
  ShaderCompileError,
} from "@denoformers/attention";

const KINDS = [
  TypeError,
  RangeError,
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuUnavailableError,
  GpuValidationError,
  ShaderCompileError,
];

/** How messages of the engine begin or end that begin as ours do. */
const ENGINE = [
  /^Cannot (read|set) propert|^Cannot (destructure|mix BigInt|access '|assign to|define property|delete property)/,
  /^Cannot convert (undefined|null|object|a BigInt|a Symbol|\d+n)/,
  /is not (a function|iterable|a constructor|defined)/,
  /Failed to execute|Invalid (array|typed array|count|string) |Maximum call stack|reduce of empty/,
];

/** Why an error is no refusal; `undefined` if it is one. */
export function faultOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return `what was thrown is ${typeof error}`;
  const text = `${error.name}: ${error.message}`;
  if (!KINDS.some((kind) => error instanceof kind) && error.constructor !== Error) {
    return `${text} is of no kind that is documented`;
  }
  if (ENGINE.some((pattern) => pattern.test(error.message))) return `${text} is the engine's`;
  if (!error.message.startsWith("Cannot ")) return `${text} does not say what cannot be done`;
  return undefined;
}

/** Throws unless a call throws a refusal. */
export function assertRefused(call: () => unknown): void {
  let result: unknown;
  try {
    result = call();
  } catch (error) {
    const fault = faultOf(error);
    if (fault) throw new Error(fault, { cause: error });
    return;
  }
  throw new Error(`expected a refusal, got ${String(result)}`);
}
