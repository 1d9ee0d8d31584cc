/** Small pictures of matrices, a colour for each element. */
import { colourOf, type ColourScale, colourScale, DIVERGING } from "./colours.ts";
import { roundApart } from "./digits.ts";
import { finiteRange, type Matrix } from "./matrix.ts";
import { encodePng } from "./static/png.ts";

/** The most pixels of a picture's side. */
export const PICTURE_PIXELS = 256;
/** The most pixels of an element's side. */
const CELL_PIXELS = 32;

/** A picture, and in words what its colours mean. */
export interface Picture {
  readonly png: Uint8Array<ArrayBuffer>;
  readonly width: number;
  readonly height: number;
  readonly caption: string;
}

/**
 * Draws a matrix: on a scale from blue over white to red if it has both signs, else from dark to light.
 *
 * @param matrix At most {@linkcode PICTURE_PIXELS} rows and columns.
 */
export async function matrixPicture(matrix: Matrix): Promise<Picture> {
  const { rows, columns, values } = matrix;
  const range = finiteRange(values);
  const scale = colourScale(...(range ?? [0, 0]));
  const cell = Math.min(
    CELL_PIXELS,
    Math.max(1, Math.floor(PICTURE_PIXELS / Math.max(rows, columns))),
  );
  const width = columns * cell;
  const height = rows * cell;
  const rgba = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const value = values[Math.floor(y / cell) * columns + Math.floor(x / cell)]!;
      rgba.set([...colourOf(value, scale), 255], (y * width + x) * 4);
    }
  }
  const png = await encodePng(rgba, width, height);
  return { png, width, height, caption: caption(matrix, range && scale) };
}

function caption({ values, block, step }: Matrix, scale: ColourScale | undefined): string {
  const parts: string[] = [];
  if (scale) {
    const [first, last] = scale.colours === DIVERGING ? ["blue", "red"] : ["dark", "light"];
    const [low, high] = roundApart([scale.low, scale.high], 4);
    parts.push(`${low} (${first}) to ${high} (${last})`);
  }
  if (Array.from(values).some((value) => !Number.isFinite(value))) {
    parts.push("not finite: magenta");
  }
  if (block > 1) parts.push(`means of ${block} x ${block}`);
  if (step > 1) parts.push(`one of ${step} rows and columns was read`);
  return parts.join("; ");
}
