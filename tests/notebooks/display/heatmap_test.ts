import { heatmap } from "../../../notebooks/display/heatmap.ts";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { type Displays, displaysOf } from "./_displays.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

interface Heatmap {
  readonly data: readonly Readonly<Record<string, unknown>>[];
  readonly layout: Readonly<Record<string, Readonly<Record<string, unknown>>>>;
}

function figureOf([message]: Displays): Heatmap {
  return message!.data["application/vnd.plotly.v1+json"] as unknown as Heatmap;
}

function titlesOf(layout: Heatmap["layout"]): unknown[][] {
  const annotations = layout["annotations"] as unknown as Record<string, unknown>[];
  return annotations.map(({ xref, text }) => [xref, text]);
}

describe("heatmap()", () => {
  it("shows rows from the top, with titles and range", async () => {
    const { data, layout } = figureOf(
      await displaysOf(() =>
        heatmap([[1, 2, 3], [4, NaN, 0.123456]], {
          title: "T",
          xTitle: "X",
          yTitle: "Y",
          colorscale: "Greys",
          range: [-1, 5],
        })
      ),
    );
    const [trace] = data;
    assertEquals(trace!["z"], [[1, 2, 3], [4, null, 0.1235]]);
    assertEquals([trace!["zmin"], trace!["zmax"], trace!["colorscale"]], [-1, 5, "Greys"]);
    assertEquals(layout["title"], { text: "T" });
    assertEquals(layout["xaxis"]!["title"], { text: "X" });
    assertEquals(layout["yaxis"], { title: { text: "Y" }, autorange: "reversed" });
  });

  it("paints what differs differently, however far from 0", async () => {
    const matrices = [
      [[10000.1, 10000.2], [10000.3, 10000.4]],
      [[1e-9 + 1, 2e-9 + 1], [NaN, 3e-9 + 1]],
      [[0, 1758512345.25], [1758512346.75, 1758512348.25]],
    ];
    for (const matrix of matrices) {
      const [trace] = figureOf(await displaysOf(() => heatmap(matrix))).data;
      const cells = matrix.map((row) => row.map((cell) => Number.isNaN(cell) ? null : cell));
      assertEquals(trace!["z"], cells);
    }
    const [constant] = figureOf(await displaysOf(() => heatmap([[1 / 3, 1 / 3]]))).data;
    assertEquals(constant!["z"], [[0.3333, 0.3333]]);
    // Four digits where the values are near 0: a notebook holds them all.
    const [trace] = figureOf(await displaysOf(() => heatmap([[1 / 3, 2 / 3, 1 / 300]]))).data;
    assertEquals(trace!["z"], [[0.3333, 0.6667, 0.003333]]);
  });

  it("leaves a matrix blank that has no finite value", async () => {
    const [trace] = figureOf(await displaysOf(() => heatmap([[NaN, Infinity]]))).data;
    assertEquals(trace!["z"], [[null, null]]);
  });

  it("has a scale that is symmetric about zero for values of both signs", async () => {
    const range = async (rows: number[][]) => {
      const [trace] = figureOf(await displaysOf(() => heatmap(rows))).data;
      return [trace!["zmin"], trace!["zmax"]];
    };
    assertEquals(await range([[-1, 4]]), [-4, 4]);
    assertEquals(await range([[1, 4]]), [1, 4]);
  });

  it("shows a tensor of three axes side by side, on one scale", async () => {
    const device = await sharedDevice();
    using tensor = device.tensor([[[1, 2]], [[3, 4]], [[5, 6]]], { dtype: "f16" });
    const { data, layout } = figureOf(await displaysOf(() => heatmap(tensor, { xTitle: "key" })));
    assertEquals(data.map(({ z }) => z), [[[1, 2]], [[3, 4]], [[5, 6]]]);
    assertEquals(data.map(({ xaxis }) => xaxis), ["x", "x2", "x3"]);
    assertEquals(data.map(({ zmin, zmax }) => [zmin, zmax]), Array(3).fill([1, 6]));
    assertEquals(data.map(({ showscale }) => showscale), [false, false, true]);
    assertEquals(layout["grid"], { rows: 1, columns: 3, pattern: "coupled" });
    assertEquals(layout["xaxis2"]!["title"], { text: "key" });
    assertEquals(titlesOf(layout), [["x domain", "0"], ["x2 domain", "1"], ["x3 domain", "2"]]);
  });

  it("writes a title above each of several matrices", async () => {
    const device = await sharedDevice();
    using tensor = device.tensor([[[1, 2]], [[3, 4]]]);
    const { layout } = figureOf(
      await displaysOf(() => heatmap(tensor, { titles: ["head 1", "head 2"] })),
    );
    assertEquals(titlesOf(layout), [["x domain", "head 1"], ["x2 domain", "head 2"]]);
    await assertRejects(
      () => heatmap(tensor, { titles: ["head 1"] }),
      RangeError,
      "titles has 1 texts, expected 2",
    );
  });

  it("shows means of a large matrix, at the rows and columns that they stand for", async () => {
    const device = await sharedDevice();
    using tensor = device.ones([400, 200]);
    await assertNoLeak(device, async () => {
      const [trace] = figureOf(await displaysOf(() => heatmap(tensor))).data;
      const z = trace!["z"] as number[][];
      assertEquals([z.length, z[0]!.length], [134, 67]);
      assertEquals([trace!["x0"], trace!["dx"], trace!["y0"], trace!["dy"]], [1, 3, 1, 3]);
    });
  });

  it("throws on what is no matrix, before anything is drawn", async () => {
    const device = await sharedDevice();
    using vector = device.zeros([3]);
    using many = device.zeros([13, 1, 1]);
    using empty = device.zeros([0, 2]);
    const bad = (values: unknown) => heatmap(values as number[][]);
    await assertRejects(() => bad(vector), TypeError, "values is Tensor(shape=[3]");
    await assertRejects(() => bad(many), RangeError, "13 matrices, expected at most 12");
    await assertRejects(() => bad(empty), RangeError, "1 x 0 x 2 elements, expected some");
    await assertRejects(() => bad([]), RangeError, "1 x 0 x 0 elements, expected some");
    await assertRejects(() => bad([[1, 2], [3]]), RangeError, "row 1 has 1 values, expected 2");
    await assertRejects(() => bad([1, 2]), TypeError, "expected a Tensor or an array of rows");
    await assertRejects(() => bad(5), TypeError, "values is 5, expected a Tensor");
  });

  it("says of a disposed tensor that it is", async () => {
    const tensor = (await sharedDevice()).zeros([2, 2]);
    tensor.dispose();
    await assertRejects(() => heatmap(tensor), TypeError, "Cannot use a disposed tensor");
  });
});
