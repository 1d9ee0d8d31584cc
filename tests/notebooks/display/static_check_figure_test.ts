import { assertMatch, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Figure } from "../../../notebooks/display/figure.ts";
import { renderSvg } from "../../../notebooks/display/static/render.ts";

const SIZE = { width: 300, height: 200 };

describe("checkFigure() refuses", () => {
  const refused: [what: string, figure: unknown, message: string][] = [
    ["no data", {}, "data is not an array"],
    [
      "a type of trace that the bundle lacks",
      { data: [{ y: [1] }, { type: "scatter3d", x: [1] }] },
      'trace 1 has type "scatter3d", expected one of scatter, bar, box, heatmap,',
    ],
    ["a trace that is none", { data: [5] }, "Trace 0"],
    ["an unknown attribute", { data: [{ y: [1], nme: "a" }] }, "key nme"],
    ["an unknown value", { data: [{ y: [1], mode: "dots" }] }, "key mode"],
    ["a function", { data: [{ y: [1], name: () => 1 }] }, "key name"],
    ["a title of the old form", { data: [], layout: { title: "a" } }, "key title"],
    ["an axis of unknown type", { data: [], layout: { xaxis: { type: "ln" } } }, "key xaxis.type"],
    [
      "data of another form",
      { data: [{ type: "heatmap", z: [1, 2] }] },
      'trace 0 of type "heatmap" has nothing to show',
    ],
    [
      "pictures by address",
      { data: [], layout: { images: [{ source: "https://example.org/a.png" }] } },
      "images[0] of the layout has source https://example.org/a.png, expected a data: URL",
    ],
    ["traces of pictures", { data: [{ type: "image", source: "data:," }] }, "trace 0 has a source"],
    [
      "pixels that are not red, green and blue",
      { data: [{ type: "image", z: [[[0, 0, 0]]], colormodel: "hsl" }] },
      'trace 0 has colormodel "hsl"',
    ],
  ];
  for (const [what, figure, message] of refused) {
    it(what, async () => {
      const drawing = () => renderSvg(figure as Figure, SIZE);
      const error = await assertRejects(drawing, TypeError, message);
      assertMatch(error.message, /^Cannot draw figure: /);
    });
  }
});

describe("checkFigure() takes", () => {
  const taken: [what: string, figure: Figure][] = [
    ["empty traces", { data: [{ x: [], y: [] }, { type: "heatmap", z: [] }, {}] }],
    ["hidden traces", { data: [{ y: [1], visible: false }, { y: [1], visible: "legendonly" }] }],
    ["undefined attributes", { data: [{ y: [1], name: undefined }] }],
    ["typed arrays", { data: [{ y: new Float32Array([1, 2]) }] }],
    ["numbers in base64", { data: [{ y: { dtype: "f4", bdata: "AACAPwAAAEA=" } }] }],
    ["what is not finite", { data: [{ y: [1, NaN, Infinity] }] }],
    ["rows of nothing else", { data: [{ type: "heatmap", z: [[NaN, null]] }] }],
    ["other bundles' templates", {
      data: [],
      layout: { template: { data: { scattergl: [{}] }, layout: { polar: {} } } },
    }],
  ];
  for (const [what, figure] of taken) {
    it(what, async () => assertMatch(await renderSvg(figure, SIZE), /^<svg /));
  }
});
