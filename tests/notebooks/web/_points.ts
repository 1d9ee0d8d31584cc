/** Points as a sweep gives them, by the laws. */
import { type Measured, ownBytes, type Way } from "../../../notebooks/web/points.ts";
import type { Settings } from "../../../notebooks/web/settings.ts";

/** What is measured unless a test says otherwise. */
export const SETTINGS: Settings = {
  longest: 1024,
  heads: 2,
  mask: "none",
  dtype: "f32",
  isTraining: false,
  budget: 2 ** 30,
};

/** A point that follows the laws exactly: scores and weights for the formula, N² for the time. */
export function measuredPoint(way: Way, tokens: number, settings = SETTINGS): Measured {
  const scores = way === "formula" ? 2 * 4 * settings.heads * tokens ** 2 : 0;
  return {
    kind: "measured",
    way,
    tokens,
    peakBytes: ownBytes(settings, tokens) + scores,
    milliseconds: (tokens / 1000) ** 2,
    error: 1e-6,
    isRight: true,
  };
}
