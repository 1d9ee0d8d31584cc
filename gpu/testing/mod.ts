/**
 * Assertions for tests of numerical code.
 *
 * @example Compare with known values
 * ```ts
 * import { assertAllClose } from "@denoformers/attention/testing";
 *
 * const doubled = new Float32Array([0.1, 0.2, 0.3]).map((x) => 2 * x);
 * assertAllClose(doubled, [0.2, 0.4, 0.6]);
 * ```
 *
 * @module
 */

export { type AllCloseOptions, type AllCloseValues, assertAllClose } from "./all_close.ts";
export { gradCheck, type GradCheckOptions } from "./grad_check.ts";
