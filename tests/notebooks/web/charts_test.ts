import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { plotlySource } from "../../../notebooks/display/static/plotly.ts";
import { renderSvg } from "../../../notebooks/display/static/render.ts";
import { chart, THEMES } from "../../../notebooks/web/charts.ts";
import type { Point } from "../../../notebooks/web/points.ts";
import { measuredPoint, SETTINGS } from "./_points.ts";

const POINTS: readonly Point[] = [
  measuredPoint("memory-efficient", 256),
  measuredPoint("formula", 256),
  measuredPoint("memory-efficient", 512),
  { kind: "skipped", way: "formula", tokens: 512, note: "would take about 4 s" },
  measuredPoint("memory-efficient", 1024),
  { kind: "refused", way: "formula", tokens: 1024, note: "out of memory" },
];

const OPTIONS = { quantity: "peakBytes", settings: SETTINGS, theme: THEMES.light } as const;

describe("chart()", () => {
  it("draws what was measured, and goes on by the laws", () => {
    const { data } = chart(POINTS, OPTIONS);
    assertEquals(data.map(({ x }) => x), [
      [],
      [256, 512, 1024],
      [256, 512, 1024],
      [256],
    ]);
    const [, ours, rest, formula] = data;
    assertEquals(
      ours!["y"],
      [256, 512, 1024].map((tokens) => measuredPoint("memory-efficient", tokens).peakBytes),
    );
    assertEquals(formula!["y"], [measuredPoint("formula", 256).peakBytes]);
    // The laws lead where measurements would: these points are made by them.
    assertEquals(
      rest!["y"],
      [256, 512, 1024].map((tokens) => measuredPoint("formula", tokens).peakBytes),
    );
    const { symbol, size } = rest!["marker"] as { symbol: string[]; size: number[] };
    assertEquals(symbol, ["circle-open", "circle-open", "x"]);
    assertEquals(size, [0, 9, 9]);
  });

  it("can be drawn without any point, and with each theme", async () => {
    await plotlySource();
    for (const theme of Object.values(THEMES)) {
      for (const points of [[], POINTS]) {
        const { data, layout } = chart(points, { ...OPTIONS, quantity: "milliseconds", theme });
        const svg = await renderSvg({ data, layout: layout! }, { width: 380, height: 360 });
        const marks = svg.match(/class="point"/g)?.length ?? 0;
        // Each point is a mark, and the last measured one is the dashed line's unseen first as well.
        assertEquals(marks, points.length === 0 ? 0 : points.length + 1);
      }
    }
  });
});
