// deno-lint-ignore-file no-console -- what is printed is caught
import type { Figure } from "../../../notebooks/display/figure.ts";
import { SHOWN } from "../../../notebooks/display/flush.ts";
import { plot } from "../../../notebooks/display/plot.ts";
import { displaysOf, printedBy, staticDisplaysOf } from "./_displays.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const FIGURE: Figure = {
  data: [{ y: new Float32Array([1, 0.5, NaN]), name: "loss" }],
  layout: { title: { text: "Training" } },
};
const PLOTLY = "application/vnd.plotly.v1+json";

/** Width and height that a PNG file's header tells. */
function pngSize(base64: string): [number, number] {
  const bytes = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return [view.getUint32(16), view.getUint32(20)];
}

describe("plot()", () => {
  it("shows JSON for plotly, a picture that a script makes live, and text", async () => {
    const [message] = await displaysOf(() => plot(FIGURE));
    assertEquals(message!.type, "display_data");
    assertEquals(Object.keys(message!.data), [PLOTLY, "text/html", "text/plain"]);
    assertEquals(message!.data["text/plain"], '[plot: Training] scatter "loss" (3 points)');
    const json = message!.data[PLOTLY] as unknown as { data: unknown; layout: unknown };
    assertEquals(json.data, [{ y: [1, 0.5, null], name: "loss" }]);
    assertEquals(json.layout, { title: { text: "Training" }, width: 700, height: 420 });
    assertStringIncludes(message!.data["text/html"]!, "data:image/svg+xml;base64,");
    assertStringIncludes(message!.data["text/html"]!, "newPlot");
  });

  it("shows a PNG with its size, and neither HTML nor numbers, where output is committed", async () => {
    const [message] = await staticDisplaysOf(() => plot(FIGURE, { width: 300, height: 200 }));
    assertEquals(Object.keys(message!.data), ["image/png", "text/plain"]);
    assertEquals(message!.content.metadata, { "image/png": { width: 300, height: 200 } });
    const [width, height] = pngSize(message!.data["image/png"]!);
    assertEquals(width / height, 300 / 200);
  });

  it("takes the size from the options, then from the layout", async () => {
    const layout = { width: 400, height: 300 };
    const [message] = await displaysOf(() => plot({ data: [], layout }, { width: 500 }));
    assertStringIncludes(message!.data["text/html"]!, '<img width="500" height="300"');
  });

  it("draws another figure in the same place", async () => {
    const [first, second] = await displaysOf(async () => {
      const shown = await plot(FIGURE, { width: 300 });
      await shown.update({ data: [{ type: "bar", y: [1, 2] }] });
    });
    assertEquals(second!.type, "update_display_data");
    assertEquals(second!.content.transient, first!.content.transient);
    assertEquals(second!.data["text/plain"], "[plot] bar (2 points)");
    assertStringIncludes(second!.data["text/html"]!, '<img width="300"');
  });

  it("says why a later figure cannot be drawn, and goes on", async () => {
    const { error } = console;
    const errors: string[] = [];
    console.error = (text: string) => void errors.push(text);
    const odd: unknown[] = [{}, { data: [{ y: [1], nme: "a" }] }, undefined];
    const displays = await displaysOf(async () => {
      const shown = await plot(FIGURE);
      for (const figure of odd) await shown.update(figure as Figure);
      await shown.update({ data: [{ y: [NaN, NaN] }, { type: "heatmap", z: [[NaN]] }] });
    }).finally(() => console.error = error);
    assertEquals(displays.map(({ type }) => type), ["display_data", "update_display_data"]);
    assertEquals(errors.length, odd.length);
    assertStringIncludes(errors[0]!, "Cannot plot: figure.data is undefined");
    assertStringIncludes(errors[1]!, "nme");
  });

  it("gives a value that a cell does not show again", async () => {
    const values: unknown[] = [];
    await displaysOf(async () => values.push(await plot(FIGURE)));
    assert(SHOWN in (values[0] as object));
  });

  it("prints one line outside of a notebook", async () => {
    const lines = await printedBy(() => plot(FIGURE));
    assertEquals(lines, ['[plot: Training] scatter "loss" (3 points)']);
  });

  it("throws on a size that is none", async () => {
    for (const width of [0, -1, NaN, Infinity]) {
      await assertRejects(
        () => plot(FIGURE, { width }),
        RangeError,
        `Cannot plot: width is ${width}, expected a number of pixels`,
      );
    }
  });
});
