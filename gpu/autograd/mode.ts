/** Whether operations are recorded for a backward pass. */
import { assertFunction } from "../checks.ts";
import type { Variable } from "./graph.ts";

let isRecording = true;

/** Who wants to know of tensors that would have been recorded, were recording on. */
let observer: ((variable: Variable) => void) | undefined;

/** Whether operations on tensors that require gradients are recorded now. */
export function isGradEnabled(): boolean {
  return isRecording;
}

/**
 * Runs a function without recording: its results require no gradients, and nothing is kept for a backward
 * pass. For evaluation, and for changing parameters by hand.
 *
 * @param fn A synchronous function.
 * @returns What `fn` returns.
 * @throws {TypeError} If `fn` is asynchronous: what it does behind its first `await` would be recorded.
 *
 * @example Evaluation keeps no graph
 * ```ts
 * import { noGrad, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const w = device.ones([2, 2], { requiresGrad: true });
 * console.log(noGrad(() => w.matmul(w)).requiresGrad); // false
 * ```
 */
export function noGrad<T>(fn: () => T): T {
  assertFunction("run in noGrad", fn);
  const result = withRecording(false, fn);
  if (result instanceof Promise) {
    throw new TypeError("Cannot run an asynchronous function in noGrad: await outside of it");
  }
  return result;
}

/** Runs a function with recording on or off; no observer is told of what happens in it. */
export function withRecording<T>(on: boolean, fn: () => T): T {
  return inMode(on, undefined, fn);
}

/**
 * Runs a function without recording, and reports each tensor that requires gradients and that an operation
 * took which would have been recorded. An observer around this one is told as well.
 */
export function withoutRecording<T>(report: (variable: Variable) => void, fn: () => T): T {
  const outer = observer;
  return inMode(false, (variable) => {
    report(variable);
    outer?.(variable);
  }, fn);
}

/** Tells the observer, if there is one, of an input that is not recorded. */
export function reportUnrecorded(variable: Variable): void {
  observer?.(variable);
}

function inMode<T>(on: boolean, observe: typeof observer, fn: () => T): T {
  const before = { isRecording, observer };
  isRecording = on;
  observer = observe;
  try {
    return fn();
  } finally {
    ({ isRecording, observer } = before);
  }
}
