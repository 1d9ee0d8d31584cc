import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { MeasureText } from "../../../notebooks/display/static/fonts.ts";
import { createWindow } from "../../../notebooks/display/static/window.ts";

/** Letters half as wide as high, twice that in bold; 0.8 of their height above the baseline. */
const measure: MeasureText = (text, { size, bold }) => ({
  width: text.length * size * (bold ? 1 : 0.5),
  ascent: size * 0.8,
  descent: size * 0.2,
});

/** The box of the first element of some SVG, as plotly.js asks for it. */
async function box(content: string): Promise<number[]> {
  const window = await createWindow(measure, () => new Uint8Array());
  // deno-lint-ignore no-explicit-any -- svgdom has no types
  const body = window.document.body as any;
  body.innerHTML = `<svg xmlns="http://www.w3.org/2000/svg">${content}</svg>`;
  const { x, y, width, height } = body.firstChild.firstChild.getBBox();
  // To a millionth: svgdom adds up in another order than the numbers below.
  return [x, y, width, height].map((value) => Math.round(value * 1e6) / 1e6);
}

describe("textBox()", () => {
  it("is as wide as the text and as high as the font", async () => {
    assertEquals(await box(`<text x="5" y="20" style="font-size: 10px">abcd</text>`), [
      5,
      12,
      20,
      10,
    ]);
  });

  it("takes sizes in per cent, weights and inherited styles", async () => {
    const runs = `10<tspan style="font-size: 50%">2</tspan><tspan font-weight="bold">b</tspan>`;
    const [, , width] = await box(`<g style="font-size: 10px"><text>${runs}</text></g>`);
    assertEquals(width, 10 + 2.5 + 10);
  });

  it("centres all runs together", async () => {
    const style = "font-size: 10px; text-anchor: middle";
    const [x] = await box(`<text x="50" style="${style}">10<tspan>22</tspan></text>`);
    assertEquals(x, 40);
  });

  it("ends where the text is to end", async () => {
    const [x] = await box(`<text x="50" style="font-size: 10px" text-anchor="end">1000</text>`);
    assertEquals(x, 30);
  });

  it("rises with superscripts, and the baseline comes back", async () => {
    const runs = `10<tspan style="font-size: 70%" dy="-0.6em">2</tspan>` +
      `<tspan dy="0.42em">&#x200b;</tspan>`;
    const [, y, , height] = await box(`<text y="20" style="font-size: 10px">${runs}</text>`);
    // The superscript's baseline is at 20 - 0.6 * 7, its top 0.8 * 7 above.
    assertEquals([y, height], [10.2, 11.8]);
  });

  it("has all lines, each from its own beginning", async () => {
    const lines = `<tspan class="line" x="5" y="20" dy="0em">abcd</tspan>` +
      `<tspan class="line" x="5" y="20" dy="1.3em">ab</tspan>`;
    assertEquals(await box(`<text style="font-size: 10px">${lines}</text>`), [5, 12, 20, 23]);
  });

  it("counts in groups, with transforms", async () => {
    const text =
      `<text x="5" y="20" transform="translate(100,0)" style="font-size: 10px">ab</text>`;
    assertEquals(
      await box(`<g><rect x="0" y="12" width="1" height="1"/>${text}</g>`),
      [0, 12, 115, 10],
    );
  });
});
