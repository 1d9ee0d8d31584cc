import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Figure } from "../../../notebooks/display/figure.ts";
import { renderSvg } from "../../../notebooks/display/static/render.ts";
import { CELLS, LINES } from "./static_pictures.ts";

const SIZE = { width: 700, height: 420 };

/** How many elements have a class. */
function count(svg: string, name: string): number {
  return svg.match(new RegExp(`class="(?:[^"]* )?${name}[ "]`, "g"))?.length ?? 0;
}

/** Texts as they are read, styled pieces joined. */
function texts(svg: string): string[] {
  return [...svg.matchAll(/<text\b.*?<\/text>/g)].map(([text]) => text.replaceAll(/<[^>]*>/g, ""));
}

describe("renderSvg() draws", () => {
  it("lines over axes with logarithms: a path for each, ticks, titles, legend", async () => {
    const svg = await renderSvg(LINES, SIZE);
    assertMatch(svg, /^<svg [^>]*width="700" height="420"/);
    // Two in the plot and two in the legend.
    assertEquals(count(svg, "js-line"), 4);
    assertEquals(count(svg, "point"), 3);
    assertStringIncludes(svg, "font-family: 'Open Sans', verdana, arial, sans-serif;");
    const seen = texts(svg);
    for (const text of ["1", "10", "100", "1000", "tokens", "MiB", "formula", "tiles"]) {
      assert(seen.includes(text), `${text} is missing among ${seen.join(" | ")}`);
    }
    assertMatch(svg, /<tspan [^>]*font-size: ?70%[^>]*>2<\/tspan>/);
    assertMatch(svg, /<tspan [^>]*font-weight: ?bold[^>]*>bold<\/tspan>/);
  });

  it("every kind of trace that notebooks use", async () => {
    const values = [1, 2, 2, 3, 3, 3, 4, 9];
    const rows = [[1, 2, 3], [2, 5, 2], [3, 2, 1]];
    const figures: [name: string, trace: Record<string, unknown>, count: number][] = [
      ["errorbar", { y: [1, 2], error_y: { type: "data", array: [0.1, 0.2] } }, 2],
      ["point", { type: "bar", y: [1, 2, 3] }, 3],
      ["point", { type: "histogram", x: values, xbins: { start: 0, end: 10, size: 5 } }, 2],
      ["boxes", { type: "box", y: values }, 1],
      ["hm", { type: "heatmap", z: rows }, 1],
      ["hm", { type: "heatmap", z: rows, zsmooth: "best" }, 1],
      ["contourlines", { type: "contour", z: rows, contours: { showlabels: true } }, 1],
      ["js-fill", { y: [1, 2, 3], fill: "tozeroy" }, 1],
    ];
    for (const [name, trace, expected] of figures) {
      const svg = await renderSvg({ data: [trace] }, SIZE);
      assertEquals(count(svg, name), expected, `${name} of ${JSON.stringify(trace)}`);
    }
  });

  it("subplots over a shared axis, arrows and shapes", async () => {
    const svg = await renderSvg({
      data: [{ y: [1, 2] }, { y: [3, 4], yaxis: "y2" }],
      layout: {
        grid: { rows: 2, columns: 1, subplots: [["xy"], ["xy2"]] },
        annotations: [{ x: 1, y: 2, text: "out of<br>memory", showarrow: true }],
        shapes: [{ type: "line", x0: 0, x1: 1, y0: 1, y1: 1 }],
      },
    }, SIZE);
    for (const name of ["subplot xy", "subplot xy2", "annotation-arrow-g", "shape-group"]) {
      assertEquals(count(svg, name), 1, name);
    }
    assertStringIncludes(texts(svg).join("|"), "out ofmemory");
  });

  it("a heatmap's cells as one picture that is kept sharp", async () => {
    const svg = await renderSvg(CELLS, { width: 600, height: 300 });
    assertMatch(svg, /<image [^>]*href="data:image\/png;base64,[^>]*image-rendering: pixelated/);
  });
});

describe("renderSvg()", () => {
  it("leaves figures as they are, frozen ones too", async () => {
    const figure: Figure = Object.freeze({
      data: Object.freeze([Object.freeze({ y: Object.freeze([1, 2]) })]),
      layout: Object.freeze({ xaxis: Object.freeze({ title: Object.freeze({ text: "step" }) }) }),
    });
    const before = JSON.stringify(figure);
    assert(texts(await renderSvg(figure, SIZE)).includes("step"));
    assertEquals(JSON.stringify(figure), before);
  });

  it("draws what is asked for at the same time one after the other", async () => {
    const titles = ["first", "second", "third"];
    const drawn = await Promise.all(
      titles.map((text) => renderSvg({ data: [{ y: [1] }], layout: { title: { text } } }, SIZE)),
    );
    assertEquals(
      drawn.map((svg) => texts(svg).filter((text) => titles.includes(text))),
      titles.map((text) => [text]),
    );
  });

  it("leaves the globals as they are", async () => {
    await renderSvg(CELLS, SIZE);
    for (const name of ["window", "document", "Plotly", "Element", "Image", "DOMParser", "d3"]) {
      assert(!(name in globalThis), name);
    }
    assertEquals(navigator.userAgent, `Deno/${Deno.version.deno}`);
  });

  it("refuses sizes that are none, and goes on", async () => {
    await assertRejects(
      () => renderSvg({ data: [] }, { width: NaN, height: 420 }),
      RangeError,
      "Cannot draw figure: width is NaN, expected 10 pixels or more",
    );
    assertMatch(await renderSvg({ data: [] }, SIZE), /^<svg /);
  });
});
