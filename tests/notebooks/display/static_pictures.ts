/** Figures and PNG files for the tests of notebooks/display/static/. */
import { assertEquals } from "@std/assert";
import type { Figure } from "../../../notebooks/display/figure.ts";

/** A PNG file's size and pixels. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  /** Red, green and blue of the pixel at column `x` and row `y`. */
  at(x: number, y: number): number[];
  /** How many pixels of a part are darker than half. */
  dark(left: number, top: number, right: number, bottom: number): number;
}

/** Decodes a PNG file; one that is damaged or cut off is an error. */
export async function decodePng(file: Uint8Array<ArrayBuffer>): Promise<Picture> {
  const { convertIndexedToRgb, decode } = await import("npm:fast-png@8.0.0");
  const image = decode(file, { checkCrc: true });
  assertEquals([...file.subarray(-8, -4)], [73, 69, 78, 68], "the last chunk is IEND");
  const { width, height } = image;
  const pixels = image.palette ? convertIndexedToRgb(image) : image.data;
  const channels = pixels.length / (width * height);
  const at = (x: number, y: number) => {
    const start = (y * width + x) * channels;
    return [...pixels.subarray(start, start + 3)];
  };
  return {
    width,
    height,
    at,
    dark(left, top, right, bottom) {
      let count = 0;
      for (let y = top; y < bottom; y++) {
        for (let x = left; x < right; x++) if (Math.max(...at(x, y)) < 128) count++;
      }
      return count;
    },
  };
}

/** Two lines over axes with logarithms, with title and legend. */
export const LINES: Figure = {
  data: [
    { x: [1, 10, 100], y: [2, 30, 4000], name: "formula", mode: "lines+markers" },
    { x: [1, 10, 100], y: [1, 10, 100], name: "tiles", mode: "lines" },
  ],
  layout: {
    title: { text: "Memory over N<sup>2</sup>, H<sub>2</sub>O, <b>bold</b>" },
    xaxis: { type: "log", title: { text: "tokens" }, dtick: 1 },
    yaxis: { type: "log", title: { text: "MiB" } },
  },
};

/** Two by two cells, red where 0 and blue where 1, over exactly 400 x 200 pixels from (100, 50) on. */
export const CELLS: Figure = {
  data: [{
    type: "heatmap",
    z: [[0, 1], [1, 0]],
    colorscale: [[0, "#ff0000"], [1, "#0000ff"]],
    colorbar: { title: { text: "weight" } },
  }],
  layout: {
    width: 600,
    height: 300,
    margin: { l: 100, r: 100, t: 50, b: 50, pad: 0 },
    yaxis: { autorange: "reversed" },
  },
};
