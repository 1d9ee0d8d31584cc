/** Learning rates that change from step to step. */

import {
  assertArguments,
  assertFinite,
  assertNotNegative,
  checkedOptions,
  type OptionNames,
} from "../../../gpu/checks.ts";

/** Options of {@linkcode cosineSchedule}. */
export interface CosineScheduleOptions {
  /** Steps in which the rate rises. Default 0. */
  warmupSteps?: number;
  /** The step from which on the rate is `floor`; above `warmupSteps`. */
  totalSteps: number;
  /** The highest rate. */
  peak: number;
  /** The rate at the end. Default 0. */
  floor?: number;
}

const OPTIONS: OptionNames<CosineScheduleOptions> = {
  totalSteps: "number",
  warmupSteps: "",
  peak: "",
  floor: "",
};

/**
 * A learning rate that rises evenly to its peak, at step `warmupSteps`, and falls by half a cosine to its
 * floor, at step `totalSteps`, where it stays (Loshchilov and Hutter, "SGDR", 2017). Steps count from 0; the
 * first one's rate is not 0.
 *
 * @param step A whole number >= 0.
 * @returns The rate of that step.
 *
 * @example A rate for each step
 * ```ts
 * import { cosineSchedule } from "@denoformers/attention";
 *
 * const rates = [0, 1, 2, 3, 4].map((step) =>
 *   cosineSchedule(step, { warmupSteps: 1, totalSteps: 3, peak: 4, floor: 1 })
 * );
 * console.log(rates); // [2, 4, 2.5, 1, 1]
 * ```
 */
export function cosineSchedule(
  step: number,
  options: CosineScheduleOptions,
): number {
  assertArguments("schedule", arguments, 2, "write { totalSteps, peak }");
  const { warmupSteps = 0, totalSteps, peak, floor = 0 } = checkedOptions(
    "schedule",
    options,
    OPTIONS,
  );
  for (const [name, value] of Object.entries({ step, warmupSteps, totalSteps })) {
    assertNotNegative("schedule", name, value);
  }
  for (const [name, value] of Object.entries({ peak, floor })) {
    assertFinite("schedule", name, value);
  }
  if (!(step >= 0 && warmupSteps >= 0 && totalSteps > warmupSteps)) {
    throw new RangeError(
      `Cannot schedule: step is ${step}, warmupSteps ${warmupSteps} and totalSteps ${totalSteps}, ` +
        "expected numbers >= 0 and more steps in all than of warm-up",
    );
  }
  if (step < warmupSteps) return peak * (step + 1) / (warmupSteps + 1);
  const progress = Math.min(1, (step - warmupSteps) / (totalSteps - warmupSteps));
  return floor + (peak - floor) * (1 + Math.cos(Math.PI * progress)) / 2;
}
