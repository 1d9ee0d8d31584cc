import { describeFigure, figureJson } from "../../../notebooks/display/figure_json.ts";
import { sharedDevice } from "../../_device.ts";
import { assertEquals, assertThrows } from "@std/assert";
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
