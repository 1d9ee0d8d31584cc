import { describeFigure, figureJson } from "../../../notebooks/display/figure_json.ts";
import { sharedDevice } from "../../_device.ts";
import { assertEquals, assertLess, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const SIZE = { width: 300, height: 200 };

describe("figureJson()", () => {
  it("turns typed arrays, BigInts and dates into what JSON has", () => {
    const when = new Date(0);
    const { data } = figureJson({
      data: [{ x: new Float32Array([1, 2]), y: new BigInt64Array([3n]), n: 4n, when, s: null }],
    }, SIZE);
    assertEquals(JSON.parse(JSON.stringify(data)), [
      { x: [1, 2], y: [3], n: 4, when: "1970-01-01T00:00:00.000Z", s: null },
    ]);
  });

  it("rounds to six digits, keeps whole numbers, and makes null of what is not finite", () => {
    const { data } = figureJson({
      data: [{ y: [0.123456789, 1e-20 / 3, 123456789, NaN, [Infinity]] }],
    }, SIZE);
    assertEquals(data, [{ y: [0.123457, 3.33333e-21, 123456789, null, [null]] }]);
  });

  describe("rounds no closer than what is drawn together lies apart", () => {
    const times = [1758512345.25, 1758512346.75, 1758512348.25];
    const near = [100000.25, 100000.5, 100000.75];
    const cases: [what: string, data: Record<string, unknown>[]][] = [
      ["points far from 0", [{ x: times, y: near }]],
      ["milliseconds", [{ x: times.map((_, n) => 1758512345250.5 + n) }]],
      ["points that spread little", [{ y: [1 + 1e-9, 1 + 2e-9, 1 + 3e-9] }]],
      ["a gap among them, and one point far away", [{ x: [0, ...times], y: [...near, null] }]],
      ["typed arrays", [{ x: new Float64Array(times) as unknown }]],
      ["one point each, on one axis", near.map((y) => ({ y: [y] }))],
      ["and on another axis", near.map((y) => ({ y: [y], yaxis: "y2" }))],
      ["rows", [{ type: "heatmap", z: [near, times] }]],
      ["one row each", near.map((z) => ({ type: "heatmap", z: [[z]] }))],
      ["error bars", [{ error_y: { array: near, arrayminus: times } }]],
      ["marks", [{ marker: { color: near, size: [1, 2.5, 3], line: { width: times } } }]],
      ["the parts of boxes", [{ type: "box", q1: [near[0]], median: [near[1]], q3: [near[2]] }]],
      ["bars that lie", [
        { type: "bar", orientation: "h", base: [near[0]], x: [near[1]] },
        { type: "bar", orientation: "h", base: [near[2]], x: [near[0]] },
      ]],
      ["what is hovered", [{ customdata: [[times[0], 1 / 3], [times[1], 2 / 3]] }]],
      ["texts and dates", [{ x: ["2025-09-22", "a"], text: near }]],
      ["what stands alone", [{ x0: times[0], dx: 1 / 3, zmin: near[0], marker: { size: 1 / 3 } }]],
    ];
    for (const [what, data] of cases) {
      it(what, () => {
        const plain = data.map((trace) =>
          trace["x"] instanceof Float64Array ? { x: [...trace["x"]] } : trace
        );
        assertEquals(figureJson({ data }, SIZE).data, plain);
      });
    }
  });

  it("rounds to a part of the distance of many points, and to six digits near 0", () => {
    const x = Array.from({ length: 20_000 }, (_, n) => 1758512345 + n * 1.5 + Math.sin(n) / 10);
    const y = x.map((_, n) => Math.exp(-n / 1000));
    const [trace] = figureJson({ data: [{ x, y }] }, SIZE).data as { x: number[]; y: number[] }[];
    const error = Math.max(...x.map((value, n) => Math.abs(value - trace!.x[n]!)));
    assertLess(error, 0.015);
    const errors = y.map((value, n) => Math.abs(value - trace!.y[n]!) / value);
    assertLess(Math.max(...errors), 5.1e-6);
    assertLess(JSON.stringify(trace).length, 0.7 * JSON.stringify({ x, y }).length);
  });

  it("leaves numbers of the layout as they are", () => {
    const layout = {
      xaxis: { range: [1758512345.25, 1758512346.75] },
      shapes: [{ x0: 100000.25, x1: 100000.5 }],
      annotations: [{ x: 100000.25, y: 1 / 3 }],
    };
    assertEquals(figureJson({ data: [], layout }, SIZE).layout, { ...layout, ...SIZE });
  });

  it("sets the size, and leaves the figure as it was", () => {
    const figure = { data: [], layout: { width: 5, title: "t" }, config: { scrollZoom: true } };
    const json = figureJson(figure, SIZE);
    assertEquals(json.layout, { width: 300, height: 200, title: "t" });
    assertEquals(json.config, { displaylogo: false, scrollZoom: true, responsive: false });
    assertEquals(figure.layout, { width: 5, title: "t" });
  });

  it("throws on a figure without traces, and on a tensor by its place", async () => {
    assertThrows(
      () => figureJson({} as never, SIZE),
      TypeError,
      "Cannot plot: figure.data is undefined, expected an array of traces",
    );
    const y = (await sharedDevice()).zeros([2]);
    assertThrows(
      () => figureJson({ data: [{}, { y }] }, SIZE),
      TypeError,
      "Cannot plot: figure.data[1].y is Tensor(shape=[2]",
    );
    y.dispose();
  });
});

describe("describeFigure()", () => {
  it("tells title, kinds, names and sizes", () => {
    const text = (data: Record<string, unknown>[], layout = {}) =>
      describeFigure(figureJson({ data, layout }, SIZE));
    assertEquals(
      text([{ y: [1, 2], name: "loss" }, { type: "heatmap", z: [[1, 2, 3], [4, 5, 6]] }], {
        title: { text: "Training<br><b>run</b>" },
      }),
      '[plot: Training run] scatter "loss" (2 points), heatmap (2 x 3)',
    );
    assertEquals(text([{ type: "bar" }], { title: "Old" }), "[plot: Old] bar");
    assertEquals(text([]), "[plot] no traces");
  });
});
