import type { OptionNames } from "../../gpu/checks.ts";

/**
 * A figure as plotly.js takes it, live on a page and drawn without a browser alike.
 *
 * The traces' and the layout's entries are those of plotly.js: https://plotly.com/javascript/reference/
 */
export interface Figure {
  /** The traces, first drawn first. A trace without `type` is a scatter trace. */
  readonly data: readonly Readonly<Record<string, unknown>>[];
  /** Title, axes, legend, size in pixels and so on; plotly's defaults where left out. */
  readonly layout?: Readonly<Record<string, unknown>>;
  /** What the reader may do with the live figure; no influence on the picture. */
  readonly config?: Readonly<Record<string, unknown>>;
}

/** Its parts. */
export const FIGURE: OptionNames<Figure> = { data: "list", layout: "", config: "" };
