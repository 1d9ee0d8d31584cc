import {
  assertEquals,
  assertGreater,
  assertLess,
  assertNotEquals,
  assertRejects,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { encodePng, svgToPng } from "../../../notebooks/display/static/png.ts";
import { renderSvg } from "../../../notebooks/display/static/render.ts";
import { decode } from "npm:fast-png@8.0.0";
import { CELLS, decodePng, LINES } from "./static_pictures.ts";

const LIMIT = 60_000;

/** The same at each call. */
function randomBytes(count: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length: count }, () => {
    state = (state * 1664525 + 1013904223) % 2 ** 32;
    return state >>> 24;
  });
}

describe("svgToPng()", () => {
  it("draws lines and text on white ground, in few bytes", async () => {
    const file = await svgToPng(await renderSvg(LINES, { width: 700, height: 420 }));
    assertEquals([...file.subarray(0, 8)], [137, 80, 78, 71, 13, 10, 26, 10]);
    assertLess(file.length, LIMIT);
    const picture = await decodePng(file);
    assertEquals([picture.width, picture.height], [1050, 630]);
    assertEquals(picture.at(0, 0), [255, 255, 255]);
    // The title is in the middle above the axes; the letters of 17 pixels have strokes of about 2.
    assertGreater(picture.dark(300, 20, 750, 120), 500);
    assertEquals(picture.dark(0, 20, 200, 120), 0);
  });

  it("draws a heatmap's cells sharp and in their colours", async () => {
    const svg = await renderSvg(CELLS, { width: 600, height: 300 });
    const { at, dark } = await decodePng(await svgToPng(svg, 1));
    const [red, blue] = [[255, 0, 0], [0, 0, 255]];
    // Cells are 200 x 100 pixels, the first one's corner is at (100, 50); 3 pixels from all edges.
    for (const [x, y, colour] of [[103, 53, red], [297, 147, red], [303, 53, blue]] as const) {
      assertEquals(at(x, y), colour, `at ${x}, ${y}`);
    }
    for (const [x, y, colour] of [[103, 153, blue], [497, 247, red], [497, 147, blue]] as const) {
      assertEquals(at(x, y), colour, `at ${x}, ${y}`);
    }
    assertGreater(dark(510, 60, 590, 80), 20, "the colour bar's title");
  });

  it("draws heatmaps of any size and number of colours", async () => {
    for (const size of [1, 2, 8, 16, 33]) {
      const bytes = randomBytes(size * size);
      const z = Array.from({ length: size }, (_, row) => {
        return [...bytes.subarray(row * size, (row + 1) * size)];
      });
      const figure = { data: [{ type: "heatmap", z, colorscale: "Greens" }] };
      const svg = await renderSvg(figure, { width: 600, height: 400 });
      const { at } = await decodePng(await svgToPng(svg, 1));
      // The middle of the axes is no cell's edge but for even sizes, so a pixel beside it.
      assertNotEquals(at(301, 201), [255, 255, 255], `${size} x ${size}`);
    }
  });

  it("draws a small picture too", async () => {
    const rectangle = '<rect x="0" y="0" width="2" height="4" fill="#0072b2"/>';
    const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="4" height="4">${rectangle}</svg>`;
    const { at } = await decodePng(await svgToPng(svg, 1));
    assertEquals([at(0, 0), at(3, 3)], [[0, 0x72, 0xb2], [255, 255, 255]]);
  });

  it("draws a heatmap of 64 x 64 different cells in few bytes", async () => {
    const z = Array.from(
      { length: 64 },
      (_, i) =>
        Array.from({ length: 64 }, (_, j) => Math.exp(-((i - j) ** 2) / 40) + Math.sin(i * j) / 9),
    );
    const figure = { data: [{ type: "heatmap", z, colorscale: "Viridis" }] };
    const file = await svgToPng(await renderSvg(figure, { width: 700, height: 420 }));
    assertLess(file.length, LIMIT);
  });

  it("has the signs of formulas, in bold and italics too", async () => {
    const draw = async (sign: string, style: string) => {
      const text = `<text x="5" y="40" style="font-size: 40px; ${style}">${sign}</text>`;
      return [
        ...await svgToPng(
          `<svg xmlns="http://www.w3.org/2000/svg" width="60" height="60">${text}</svg>`,
          1,
        ),
      ].join();
    };
    for (const style of ["", "font-weight: bold", "font-style: italic"]) {
      // A private sign, which no font has: what is drawn instead of signs that are missing.
      const missing = await draw("\u{f8ff0}", style);
      for (const sign of "Aαλ√∞·×±≤∑∈ᵀ²⁻⁵₀→−") {
        assertNotEquals(await draw(sign, style), missing, `${sign} ${style}`);
      }
    }
  });
});

describe("encodePng()", () => {
  it("keeps every pixel, opacity too", async () => {
    // Noise, which does not become smaller: in sizes at which encoders may run out of the room they took.
    for (const [width, height] of [[1, 1], [2, 2], [16, 16], [40, 25], [160, 160]] as const) {
      const rgba = randomBytes(width * height * 4);
      const file = await encodePng(rgba, width, height);
      const image = decode(file, { checkCrc: true });
      assertEquals([...file.subarray(-8, -4)], [73, 69, 78, 68], "the last chunk is IEND");
      assertEquals([image.width, image.height, image.channels], [width, height, 4]);
      assertEquals(image.data, rgba);
    }
  });

  it("refuses pixels of another number", async () => {
    await assertRejects(
      () => encodePng(new Uint8Array(16), 2, 3),
      RangeError,
      "Cannot encode PNG: rgba has 16 bytes, expected 24 for 2 x 3 pixels",
    );
  });
});
