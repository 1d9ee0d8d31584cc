/** The two charts as figures of plotly.js, logarithmic on both axes. */
import type { Figure } from "../display/figure.ts";
import { measuredOf, type Point, predict, type Quantity, type Way, WAYS } from "./points.ts";
import { type Settings, SHORTEST } from "./settings.ts";
import { formatBytes, formatDuration, formatTokens } from "./text.ts";

/** Colours of a chart, as CSS has them. */
export interface Theme {
  readonly text: string;
  readonly grid: string;
  readonly ways: Readonly<Record<Way, string>>;
}

/** From the palette of Okabe and Ito, whose colours people with any colour vision tell apart. */
export const THEMES: Readonly<Record<"light" | "dark", Theme>> = {
  light: {
    text: "#1f2328",
    grid: "#e3e6ea",
    ways: { "memory-efficient": "#0072b2", formula: "#d55e00" },
  },
  dark: {
    text: "#e6e9ee",
    grid: "#39414c",
    ways: { "memory-efficient": "#56b4e9", formula: "#e69f00" },
  },
};

const LABELS = { peakBytes: "peak memory", milliseconds: "time" } as const;
const FORMATS = { peakBytes: formatBytes, milliseconds: formatDuration } as const;
/** Where ticks may stand; plotly.js leaves out those beyond the axis. */
const TICKS = { peakBytes: powers(4, 5, 20), milliseconds: powers(10, -3, 7) } as const;

/** What is drawn, and how. */
export interface ChartOptions {
  readonly quantity: Quantity;
  readonly settings: Settings;
  readonly theme: Theme;
}

/**
 * Draws one quantity of both ways. Filled marks are measured. Dashed lines go on from the last of them by the
 * laws; a cross on them stands for a length that the device refuses, a ring for one that would take too much.
 *
 * @param points All points so far.
 * @param options What to draw.
 * @returns The figure.
 */
export function chart(points: readonly Point[], options: ChartOptions): Figure {
  const { quantity, settings, theme } = options;
  const axis = {
    type: "log",
    color: theme.text,
    gridcolor: theme.grid,
    linecolor: theme.grid,
    ticks: "outside",
    automargin: true,
    // A box to zoom into would take the finger's way of scrolling the page.
    fixedrange: true,
  };
  return {
    data: WAYS.flatMap((way) => traces(points, way, options)),
    layout: {
      autosize: true,
      margin: { l: 64, r: 16, t: 40, b: 48 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: theme.text, family: "system-ui, sans-serif" },
      // plotly.js leaves out a legend of one.
      showlegend: true,
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom" },
      hovermode: "closest",
      xaxis: {
        ...axis,
        ...ticks(powers(2, 8, 19), formatTokens),
        title: { text: "N, tokens" },
        range: [Math.log10(SHORTEST / 1.3), Math.log10(settings.longest * 1.3)],
      },
      yaxis: { ...axis, ...ticks(TICKS[quantity], FORMATS[quantity]) },
    },
    config: { responsive: true, displayModeBar: false },
  };
}

/** The dashed curve and the solid one above it. */
function traces(
  points: readonly Point[],
  way: Way,
  { quantity, settings, theme }: ChartOptions,
): Figure["data"] {
  const color = theme.ways[way];
  const known = measuredOf(points, way);
  const last = known.at(-1);
  const notRun = points.filter((point) => point.way === way && point.kind !== "measured");
  const rest = last && notRun.length > 0 ? [last, ...notRun] : [];
  const format = FORMATS[quantity];
  const predicted = rest.map(({ tokens }) => predict(last!, tokens, quantity, settings));
  return [{
    name: `${way}, by its law`,
    showlegend: false,
    x: rest.map(({ tokens }) => tokens),
    y: predicted,
    mode: "lines+markers",
    line: { color, width: 1.5, dash: "dash" },
    marker: {
      color,
      // The first place has a filled mark already.
      size: rest.map((_, n) => n === 0 ? 0 : 9),
      symbol: rest.map(({ kind }) => kind === "refused" ? "x" : "circle-open"),
    },
    text: rest.map((point, n) =>
      `${way}, N = ${formatTokens(point.tokens)}: about ${format(predicted[n]!)}` +
      (point.kind === "measured" ? "" : `<br>${point.note}`)
    ),
    hoverinfo: "text",
  }, {
    name: way,
    x: known.map(({ tokens }) => tokens),
    y: known.map((point) => point[quantity]),
    mode: "lines+markers",
    line: { color, width: 2.5 },
    marker: { color, size: 8 },
    text: known.map((point) =>
      `${way}, N = ${formatTokens(point.tokens)}: ${LABELS[quantity]} ${format(point[quantity])}`
    ),
    hoverinfo: "text",
  }];
}

function ticks(values: readonly number[], format: (value: number) => string) {
  return { tickvals: values, ticktext: values.map(format) };
}

function powers(base: number, first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, n) => base ** (first + n));
}
