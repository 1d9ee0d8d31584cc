import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { Canvas } from "../../../notebooks/display/static/canvas.ts";

function canvas(width: number, height: number): Canvas {
  const made = new Canvas((rgba) => new Uint8Array(rgba));
  made.width = width;
  made.height = height;
  return made;
}

/** The red of each pixel, row by row. */
function red({ pixels, width, height }: Canvas): number[][] {
  return Array.from(
    { length: height },
    (_, y) => Array.from({ length: width }, (_, x) => pixels[(y * width + x) * 4]!),
  );
}

describe("Canvas", () => {
  it("fills rectangles, those with negative sides and those that reach out too", () => {
    const made = canvas(4, 3);
    const context = made.getContext();
    context.fillStyle = "rgba(9,8,7,0.5)";
    context.fillRect(2, 2, -1, -1);
    assertEquals([...made.pixels.subarray(20, 24)], [9, 8, 7, 128]);
    context.fillStyle = "rgb(5, 0, 0)";
    context.fillRect(3, -2, 9, 4);
    assertEquals(red(made), [[0, 0, 0, 5], [0, 9, 0, 5], [0, 0, 0, 0]]);
  });

  it("takes blocks of pixels, and is cleared by a new size", () => {
    const made = canvas(2, 2);
    const context = made.getContext();
    const block = context.createImageData(2, 1);
    block.data.fill(3);
    context.putImageData(block, 0, 1);
    assertEquals(red(made), [[0, 0], [3, 3]]);
    made.width = 1;
    assertEquals(red(made), [[0], [0]]);
  });

  it("gives its pixels as a data: URL", () => {
    const made = canvas(1, 1);
    made.getContext().fillRect(0, 0, 1, 1);
    assertEquals(made.toDataURL(), "data:image/png;base64,AAAA/w==");
  });

  it("refuses colours that it does not know", () => {
    const context = canvas(1, 1).getContext();
    context.fillStyle = "hsl(1,2%,3%)";
    assertThrows(
      () => context.fillRect(0, 0, 1, 1),
      TypeError,
      "Cannot fill rectangle: colour is hsl(1,2%,3%), expected rgb() or rgba()",
    );
  });
});
