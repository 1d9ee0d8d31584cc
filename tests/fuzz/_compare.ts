/** When a result is right: its shape, its type, and each element within what rounding may do. */
import type { DType } from "@denoformers/attention";
import { isHalf } from "../../gpu/dtype.ts";
import { decodeHalf, encodeHalf } from "../../gpu/half.ts";
import type { Taken } from "./_family.ts";
import type { Host } from "./_host.ts";

/** Allowed differences, before rounding to the result's type. */
export interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

/** The smallest number that an f32 holds at full precision; drivers may take those below for 0. */
export const MIN_NORMAL = 2 ** -126;

/** A number as an element of this type holds it. */
export function held(dtype: DType, x: number): number {
  if (isHalf(dtype)) return decodeHalf(dtype, encodeHalf(dtype, x));
  if (dtype === "f32") return Math.fround(x);
  return x;
}

/**
 * Whether an element may be what came of a number: what lies between the two ends of the tolerance, each
 * rounded as the type does it. NaN is NaN, and below the smallest normal number 0 will do.
 */
export function isHeld(
  actual: number,
  expected: number,
  dtype: DType,
  { atol, rtol }: Tolerance,
): boolean {
  if (Number.isNaN(expected)) return Number.isNaN(actual);
  if (actual === expected) return true;
  const reach = Number.isFinite(expected) ? atol + rtol * Math.abs(expected) : 0;
  const low = held(dtype, expected - reach);
  const high = held(dtype, expected + reach);
  if (actual >= low && actual <= high) return true;
  return Math.abs(actual) < MIN_NORMAL && low < MIN_NORMAL && high > -MIN_NORMAL;
}

/** Throws unless a tensor is what the host computed. */
export function assertIs(
  actual: Taken,
  expected: Host,
  dtype: DType,
  tolerance: Tolerance,
  what = "result",
): void {
  const shapes = [actual, expected].map(({ shape }) => `[${shape}]`);
  if (shapes[0] !== shapes[1] || actual.dtype !== dtype) {
    throw new Error(
      `${what}: ${actual.dtype} ${shapes[0]}, expected ${dtype} ${shapes[1]}`,
    );
  }
  const at = expected.data.findIndex((x, i) => !isHeld(actual.data[i]!, x, dtype, tolerance));
  if (at >= 0) {
    throw new Error(
      `${what}: element ${at} of ${dtype} ${shapes[0]} is ${actual.data[at]}, expected ${
        expected.data[at]
      }`,
    );
  }
}
