/**
 * Philox 4x32-10, the counter-based generator of Salmon et al., "Parallel random numbers: as easy as
 * 1, 2, 3" (SC 2011): random words as a pure function of a 128-bit counter and a 64-bit key. Any thread
 * can compute any word, so results depend on no order of execution. Here once for kernels, and once
 * for the host, which tests compare.
 */

import { told } from "../checks.ts";
import { drawSeed } from "./journal.ts";

/** Four words of randomness or of a counter. */
export type Words4 = [number, number, number, number];

const ROUNDS = 10;
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const KEY_STEP_0 = 0x9e3779b9;
const KEY_STEP_1 = 0xbb67ae85;

/** WGSL: `philox(counter, key)`, and `multiply_high(a, b)`, the upper word of a product. */
export const PHILOX = /* wgsl */ `
fn multiply_high(a: u32, b: u32) -> u32 {
  let a_low = a & 0xffffu;
  let a_high = a >> 16u;
  let b_low = b & 0xffffu;
  let b_high = b >> 16u;
  let middle = a_high * b_low + ((a_low * b_low) >> 16u);
  let carry = (middle & 0xffffu) + a_low * b_high;
  return a_high * b_high + (middle >> 16u) + (carry >> 16u);
}

fn philox(counter: vec4u, key: vec2u) -> vec4u {
  var c = counter;
  var k = key;
  for (var round = 0u; round < ${ROUNDS}u; round++) {
    c = vec4u(
      multiply_high(${MULTIPLIER_1}u, c.z) ^ c.y ^ k.x,
      ${MULTIPLIER_1}u * c.z,
      multiply_high(${MULTIPLIER_0}u, c.x) ^ c.w ^ k.y,
      ${MULTIPLIER_0}u * c.x,
    );
    k += vec2u(${KEY_STEP_0}u, ${KEY_STEP_1}u);
  }
  return c;
}
`;

/** The same on the host. */
export function philox(counter: Readonly<Words4>, key: readonly [number, number]): Words4 {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    [c0, c1, c2, c3] = [
      (multiplyHigh(MULTIPLIER_1, c2) ^ c1 ^ k0) >>> 0,
      Math.imul(MULTIPLIER_1, c2) >>> 0,
      (multiplyHigh(MULTIPLIER_0, c0) ^ c3 ^ k1) >>> 0,
      Math.imul(MULTIPLIER_0, c0) >>> 0,
    ];
    k0 = (k0 + KEY_STEP_0) >>> 0;
    k1 = (k1 + KEY_STEP_1) >>> 0;
  }
  return [c0, c1, c2, c3];
}

/** The upper 32 bits of the product of two 32-bit numbers. */
export function multiplyHigh(a: number, b: number): number {
  return Number((BigInt(a) * BigInt(b)) >> 32n);
}

/**
 * The key of a seed: its low and its high 32 bits.
 *
 * @param seed A whole number from 0 to 2^53 - 1.
 */
export function seedKey(seed: number): [number, number] {
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new RangeError(
      `Cannot use seed ${told(seed)}, expected a whole number from 0 to 2^53 - 1`,
    );
  }
  return [seed >>> 0, Math.floor(seed / 2 ** 32)];
}

/** A seed that nobody chose, for callers who gave none. */
export function freshSeed(): number {
  return drawSeed(() => {
    const [low, high] = crypto.getRandomValues(new Uint32Array(2));
    return low! + (high! & 0x1fffff) * 2 ** 32;
  });
}
