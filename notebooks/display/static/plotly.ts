/**
 * plotly.js: its text, for a page or for drawing without one, and what is used of it here. The bundle has
 * the cartesian traces: scatter, bar, heatmap, contour, histogram, box and so on.
 */
import type { Figure } from "../figure.ts";
import { lazy } from "./lazy.ts";
import { packageFile } from "./package_file.ts";

/** What is used of plotly.js. */
export interface Plotly {
  /** Draws a figure and gives the picture. */
  toImage(figure: Figure, options: Readonly<Record<string, unknown>>): Promise<string>;
  /** Compares a figure with the schema; nothing if there is nothing to say. */
  validate(data: unknown, layout: unknown): readonly Problem[] | undefined;
  /** Sets what holds for all figures. */
  setPlotConfig(config: Readonly<Record<string, unknown>>): void;
  /** All traces with their attributes. */
  readonly PlotSchema: { get(): { readonly traces: Readonly<Record<string, unknown>> } };
}

/** What plotly.js says of a figure. */
export interface Problem {
  /** Its kind: "object", "array", "schema", "value", "invisible", "unused" or "dynamic". */
  readonly code: string;
  /** The trace's index, unless the layout has the problem. */
  readonly trace?: number | null;
  /** The attribute within trace or layout. */
  readonly path: string | (string | number)[];
  /** A sentence that says all this. */
  readonly msg: string;
}

/**
 * The text of plotly.js, minified. Run where there is no `module`, it defines `window.Plotly`.
 *
 * @returns The text, 1.5 MB; read once.
 */
export const plotlySource: () => Promise<string> = lazy(async () => {
  await import("npm:plotly.js-cartesian-dist-min@4.1.1/package.json", { with: { type: "json" } });
  return Deno.readTextFile(packageFile(
    import.meta.resolve("npm:plotly.js-cartesian-dist-min@4.1.1/plotly-cartesian.min.js"),
  ));
});
