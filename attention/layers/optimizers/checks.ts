/** Checks of optimisers' settings. */

/** Throws unless a setting is a finite number >= 0. */
export function assertNonNegative(action: string, name: string, value: number): void {
  if (!(value >= 0 && value < Infinity)) {
    throw new RangeError(
      `Cannot ${action}: ${name} is ${value}, expected a finite number >= 0`,
    );
  }
}

/** Throws unless a setting is in [0, 1). */
export function assertDecay(action: string, name: string, value: number): void {
  if (!(value >= 0 && value < 1)) {
    throw new RangeError(`Cannot ${action}: ${name} is ${value}, expected a number in [0, 1)`);
  }
}
