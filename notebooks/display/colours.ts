/** Colours for numbers. */

/** Red, green and blue, from 0 to 255. */
export type Colour = readonly [red: number, green: number, blue: number];

/** For values of one sign: from dark blue over green to yellow. */
export const SEQUENTIAL: readonly Colour[] = [
  [24, 16, 72],
  [48, 88, 140],
  [32, 148, 140],
  [112, 202, 100],
  [250, 232, 60],
];

/** For values of both signs: from blue over white, which is zero, to red. */
export const DIVERGING: readonly Colour[] = [
  [24, 60, 140],
  [120, 170, 220],
  [246, 246, 246],
  [230, 140, 110],
  [150, 20, 40],
];

/** For NaN and infinities: magenta. */
export const NOT_FINITE: Colour = [255, 0, 255];

/** Colours, and the values of their two ends. */
export interface ColourScale {
  readonly colours: readonly Colour[];
  readonly low: number;
  readonly high: number;
}

/** The scale for values from `low` to `high`: if they have both signs, it reaches as far below zero as above. */
export function colourScale(low: number, high: number): ColourScale {
  if (!(low < 0 && high > 0)) return { colours: SEQUENTIAL, low, high };
  const bound = Math.max(-low, high);
  return { colours: DIVERGING, low: -bound, high: bound };
}

/** The colour of a value within the scale's ends. */
export function colourOf(value: number, { colours, low, high }: ColourScale): Colour {
  if (!Number.isFinite(value)) return NOT_FINITE;
  const at = (high > low ? (value - low) / (high - low) : 0.5) * (colours.length - 1);
  const first = Math.min(Math.floor(at), colours.length - 2);
  const [a, b] = [colours[first]!, colours[first + 1]!];
  const channel = (n: 0 | 1 | 2) => Math.round(a[n] + (b[n] - a[n]) * (at - first));
  return [channel(0), channel(1), channel(2)];
}

/** The colours as plotly takes them. */
export function plotlyColours(colours: readonly Colour[]): [number, string][] {
  return colours.map(([red, green, blue], n) => [
    n / (colours.length - 1),
    `rgb(${red},${green},${blue})`,
  ]);
}
