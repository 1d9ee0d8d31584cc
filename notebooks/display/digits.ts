/**
 * How many digits numbers are shown with: as many as tell them apart from those that they are shown with,
 * however far from zero they all are.
 */

/** The power of ten of a number's first digit: 2 of 345. */
function exponentOf(value: number): number {
  return Math.floor(Math.log10(Math.abs(value)));
}

/** The different finite numbers, smallest first. */
function sortedNumbers(values: Iterable<number>): Float64Array {
  return Float64Array.from(new Set(values)).filter(Number.isFinite).sort();
}

/** How far numbers lie apart. Infinite where all are the same. */
export interface Distances {
  /** Between neighbours: three quarters of them are no further apart, so that a few far away change nothing. */
  readonly gap: number;
  /** From the first to the last, if all gaps were like this. */
  readonly spread: number;
}

/**
 * Tells how far numbers that are drawn on one scale lie apart.
 *
 * @param values The numbers; those that are not finite do not count.
 */
export function distancesOf(values: Iterable<number>): Distances {
  const sorted = sortedNumbers(values);
  const gaps = sorted.subarray(1).map((value, n) => value - sorted[n]!).sort();
  const gap = gaps[Math.floor(0.75 * (gaps.length - 1))] ?? Infinity;
  return { gap, spread: gap * (gaps.length || 1) };
}

/** The place of a distance's last digit, if it is told by so many, as a power of ten. */
export function lastPlace(distance: number, digits: number): number {
  return exponentOf(distance) - digits + 1;
}

/**
 * Rounds a number that is no integer.
 *
 * @param value The number.
 * @param digits How many of its digits it keeps at the least.
 * @param place The last place that it keeps, if that is further to the right, as of {@linkcode lastPlace}.
 */
export function round(value: number, digits: number, place: number): number {
  if (Number.isInteger(value) || !Number.isFinite(value)) return value;
  const count = Math.max(digits, exponentOf(value) - place + 1);
  // A number has at most 17.
  return count < 17 ? Number(value.toPrecision(count)) : value;
}

/**
 * Rounds numbers that are read beside one another, each to as many digits as tell it apart from its nearest
 * neighbour.
 *
 * @param values The numbers.
 * @param digits How many digits each keeps at the least.
 */
export function roundApart(values: readonly number[], digits: number): number[] {
  const sorted = sortedNumbers(values);
  const gaps = new Map<number, number>();
  for (const [n, value] of sorted.entries()) {
    const [below = -Infinity, above = Infinity] = [sorted[n - 1], sorted[n + 1]];
    gaps.set(value, Math.min(value - below, above - value));
  }
  return values.map((value) => round(value, digits, lastPlace(gaps.get(value) ?? Infinity, 2)));
}
