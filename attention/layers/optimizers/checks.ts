/** Checks of optimisers' settings. */
import { told } from "../../../gpu/checks.ts";

/** Throws unless a setting is a finite number >= 0. */
export function assertNonNegative(action: string, name: string, value: number): void {
  if (!(Number.isFinite(value) && value >= 0)) {
    throw new RangeError(
      `Cannot ${action}: ${name} is ${told(value)}, expected a finite number >= 0`,
    );
  }
}

/** Throws unless a setting is in [0, 1). */
export function assertDecay(action: string, name: string, value: number): void {
  if (!(Number.isFinite(value) && value >= 0 && value < 1)) {
    throw new RangeError(
      `Cannot ${action}: ${name} is ${told(value)}, expected a number in [0, 1)`,
    );
  }
}
