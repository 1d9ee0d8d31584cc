/** A learning rate from step to step. */
import { cosineSchedule } from "@denoformers/attention";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("cosineSchedule", () => {
  const how = { warmupSteps: 4, totalSteps: 14, peak: 5, floor: 1 };

  it("rises evenly to its peak, falls by half a cosine, and stays at its floor", () => {
    const rates = Array.from({ length: 20 }, (_, step) => cosineSchedule(step, how));
    assertEquals(rates.slice(0, 5), [1, 2, 3, 4, 5]);
    assertAlmostEquals(rates[9]!, 3, 1e-12);
    assertAlmostEquals(rates[6]!, 1 + 4 * (1 + Math.cos(Math.PI / 5)) / 2, 1e-12);
    assertEquals(rates.slice(14), Array(6).fill(1));
    for (let step = 4; step < 14; step++) assertEquals(rates[step]! > rates[step + 1]!, true);
  });

  it("starts at its peak without a warm-up, and falls to 0 by default", () => {
    assertEquals([0, 2].map((step) => cosineSchedule(step, { totalSteps: 2, peak: 3 })), [3, 0]);
  });

  it("refuses a warm-up that takes all steps, and a step before the first", () => {
    assertThrows(() => cosineSchedule(0, { ...how, totalSteps: 4 }), RangeError, "totalSteps 4");
    assertThrows(() => cosineSchedule(-1, how), RangeError, "step is -1");
  });
});
