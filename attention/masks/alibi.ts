/** Attention with linear biases: how fast each head's scores fall with the distance of query and key. */
import { told } from "../../gpu/checks.ts";

/** More than any model has, and few enough to list. */
const MAX_HEADS = 2 ** 20;

/**
 * The slopes of Press et al., "Train Short, Test Long" (2022), https://arxiv.org/abs/2108.12409: for a
 * power of two a geometric sequence from `2 ** (-8 / numHeads)` with that ratio, so that 8 heads have
 * 1/2, 1/4 to 1/256. Other numbers take the slopes of the next lower power of two, then every other one
 * of twice that power, from the first.
 *
 * @param numHeads H.
 * @returns One slope a head, in the order of the heads. The bias is `-slope * |i + Mkv - Mq - j|`.
 * @throws {RangeError} If it is no whole number from 1 to 2^20.
 */
export function alibiSlopes(numHeads: number): number[] {
  if (!Number.isSafeInteger(numHeads) || numHeads < 1 || numHeads > MAX_HEADS) {
    throw new RangeError(
      `Cannot compute ALiBi slopes: numHeads is ${
        told(numHeads)
      }, expected a whole number from 1 to ${MAX_HEADS}`,
    );
  }
  const power = 2 ** Math.floor(Math.log2(numHeads));
  const between = geometric(2 * power).filter((_, i) => i % 2 === 0);
  return [...geometric(power), ...between.slice(0, numHeads - power)];
}

/** `2 ** (-8 i / count)` for i from 1 to `count`. */
function geometric(count: number): number[] {
  return Array.from({ length: count }, (_, i) => 2 ** (-8 * (i + 1) / count));
}
