import { colourOf, colourScale, plotlyColours } from "../../../notebooks/display/colours.ts";
import { reduceMatrix } from "../../../notebooks/display/matrix.ts";
import { matrixPicture } from "../../../notebooks/display/picture.ts";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("colourScale()", () => {
  it("is symmetric for both signs, and has white at zero", () => {
    const scale = colourScale(-1, 3);
    assertEquals([scale.low, scale.high], [-3, 3]);
    assertEquals(colourOf(0, scale), [246, 246, 246]);
    const [red, , blue] = colourOf(3, scale);
    assertEquals(red > blue, true);
  });

  it("has the ends of values of one sign, and its middle for all alike", () => {
    for (const [low, high] of [[0, 2], [-2, 0], [1, 4]] as const) {
      const scale = colourScale(low, high);
      assertEquals([scale.low, scale.high], [low, high]);
      assertEquals(colourOf(low, scale), [24, 16, 72]);
      assertEquals(colourOf(high, scale), [250, 232, 60]);
    }
    assertEquals(colourOf(5, colourScale(5, 5)), [32, 148, 140]);
  });

  it("shows what is not finite in a colour of its own", () => {
    for (const value of [NaN, Infinity, -Infinity]) {
      assertEquals(colourOf(value, colourScale(0, 1)), [255, 0, 255]);
    }
  });

  it("is what plotly takes", () => {
    assertEquals(plotlyColours([[1, 2, 3], [4, 5, 6]]), [[0, "rgb(1,2,3)"], [1, "rgb(4,5,6)"]]);
  });
});

describe("matrixPicture()", () => {
  const picture = (values: number[], rows: number, columns: number) =>
    matrixPicture(reduceMatrix(values, rows, columns, 256));

  it("has whole pixels for each element, up to 256 in all", async () => {
    const sizes = [[2, 3, 96, 64], [100, 10, 20, 200], [256, 1, 1, 256], [600, 2, 1, 200]] as const;
    for (const [rows, columns, width, height] of sizes) {
      const found = await picture(Array(rows * columns).fill(1), rows, columns);
      assertEquals([found.width, found.height], [width, height], `${rows} x ${columns}`);
      const header = new DataView(found.png.buffer);
      assertEquals([header.getUint32(16), header.getUint32(20)], [width, height]);
    }
  });

  it("says what the colours mean", async () => {
    const captions = [
      [[0, 1, 0.123456, 1], "0 (dark) to 1 (light)"],
      [[10000.1, 10000.2, 10000.3, 10000.4], "10000.1 (dark) to 10000.4 (light)"],
      [[-0.5, 1, 0, NaN], "-1 (blue) to 1 (red); not finite: magenta"],
      [[NaN, NaN, NaN, NaN], "not finite: magenta"],
    ] as const;
    for (const [values, caption] of captions) {
      assertEquals((await picture([...values], 2, 2)).caption, caption);
    }
    const { caption } = await picture(Array(600).fill(1), 600, 1);
    assertEquals(caption, "1 (dark) to 1 (light); means of 3 x 3");
  });
});
