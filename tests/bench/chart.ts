/** Results as a page with a plotly figure. */
import { importText, PLOTLY } from "./peers/packages.ts";
import { OURS } from "./ours.ts";
import type { Outcome, Results, Row } from "./results.ts";

/** A plotly figure, as far as it is used here. */
export interface Figure {
  /** The traces. */
  readonly data: readonly Readonly<Record<string, unknown>>[];
  /** Titles, axes. */
  readonly layout: Readonly<Record<string, unknown>>;
}

/** The sequence of cases that all contenders compute. */
function againstPeers({ rows }: Results, pass: string): Row[] {
  return rows.filter(({ case: { set, variant, pass: own, peers } }) =>
    set === "must" && peers && variant === "none" && own === pass
  );
}

/** Wall time by length, peak memory by length, and the rate of every case of ours. */
export function figureOf(results: Results): Figure {
  const names = [
    ...new Set(results.rows.flatMap(({ outcomes }) => outcomes.map((o) => o.contender))),
  ];
  const rows = againstPeers(results, "forward");
  const lines = names.flatMap((name, n) => [
    line(rows, name, { axes: 1, color: n, y: ({ wallMs }) => wallMs }),
    line(rows, name, {
      ...{ axes: 2, color: n },
      y: ({ peakBytes }) => peakBytes && peakBytes / 2 ** 20,
    }),
  ]);
  const title = { text: "N, forward, B 1, H 8, K 64, f32" };
  const lengths = { title, type: "log", tickvals: rows.map(({ case: { Mq } }) => Mq) };
  return {
    data: [...lines, ...bars(results)],
    layout: {
      title: { text: `Attention on ${results.adapter.name}` },
      grid: { rows: 2, columns: 2, pattern: "independent" },
      height: 1000,
      xaxis: lengths,
      yaxis: { title: { text: "wall time with read-back, ms" }, type: "log", automargin: true },
      xaxis2: lengths,
      yaxis2: { title: { text: "peak memory, MiB" }, type: "log", automargin: true },
      xaxis3: { domain: [0, 1], automargin: true, tickfont: { size: 8 } },
      yaxis3: { title: { text: "TFLOP/s on the GPU" }, domain: [0, 0.4], automargin: true },
      ...(results.ceilings && { shapes: [ceilingLine(results.ceilings.f32.rate)] }),
    },
  };
}

/** Colours of the contenders in turn; this package's first. */
const COLORS = ["#1f77b4", "#ff7f0e", "#2ca02c", "#9467bd"];

function line(
  rows: readonly Row[],
  name: string,
  { axes, color, y }: {
    axes: 1 | 2;
    color: number;
    y: (outcome: Outcome) => number | undefined;
  },
): Record<string, unknown> {
  const points = rows.flatMap(({ case: { Mq }, outcomes }) => {
    const outcome = outcomes.find(({ contender }) => contender === name);
    const value = outcome && y(outcome);
    return value === undefined ? [] : [[Mq, value] as const];
  });
  return {
    type: "scatter",
    mode: "lines+markers",
    name,
    legendgroup: name,
    showlegend: axes === 1,
    marker: { color: COLORS[color % COLORS.length] },
    x: points.map(([N]) => N),
    y: points.map(([, value]) => value),
    ...(axes === 2 && { xaxis: "x2", yaxis: "y2" }),
  };
}

/** One bar for each case of this package that was timed, forward and training apart. */
function bars({ rows }: Results): Record<string, unknown>[] {
  return ["forward", "training"].map((pass, n) => {
    const timed = rows.flatMap((row) => {
      const ours = row.outcomes.find(({ contender }) => contender === OURS);
      return row.case.pass === pass && ours?.tflops !== undefined
        ? [[row.case.name.replace(/, \w+$/, ""), ours.tflops] as const]
        : [];
    });
    return {
      type: "bar",
      name: `${OURS}, ${pass}`,
      marker: { color: ["#1f77b4", "#aec7e8"][n] },
      x: timed.map(([name]) => name),
      y: timed.map(([, tflops]) => tflops),
      xaxis: "x3",
      yaxis: "y3",
    };
  });
}

/** Where the adapter's multiply-adds end. */
function ceilingLine(y: number): Record<string, unknown> {
  return {
    ...{ type: "line", xref: "paper", yref: "y3", x0: 0, x1: 1, y0: y, y1: y },
    line: { dash: "dash", color: "gray" },
    label: { text: "f32 multiply-adds", textposition: "end" },
  };
}

/** A page that needs nothing else: plotly.js, from npm, is in it. */
export async function chartPage(results: Results): Promise<string> {
  const plotly = await importText(PLOTLY);
  const figure = JSON.stringify(figureOf(results)).replaceAll("<", "\\u003c");
  return `<!DOCTYPE html>
<meta charset="utf-8">
<title>Attention on ${results.adapter.name.replaceAll("<", "&lt;")}</title>
<div id="chart"></div>
<script>${plotly}</script>
<script>
const { data, layout } = ${figure};
Plotly.newPlot("chart", data, layout, { responsive: true });
</script>
`;
}
