/** PNG files, of pixels and of SVG. */
import { FONT_FAMILY, fontFiles } from "./fonts.ts";
import { lazy } from "./lazy.ts";

/** Writes pixels as PNG; see `encodePng`. */
export type EncodePng = (
  rgba: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
) => Uint8Array<ArrayBuffer>;

/** Smaller pictures gain nothing from fewer colours, and upng-js cuts off the files of very small ones. */
const LEAST_PIXELS_TO_REDUCE = 10_000;

/**
 * Draws an SVG picture.
 *
 * The PNG has 256 colours at most, which halves it or better: in figures they are off by a fraction of a
 * level on average, and by a few where lines of several colours meet.
 *
 * @param svg The picture's text, with a size in pixels.
 * @param scale Pixels of the PNG for one of the SVG.
 * @returns A PNG file, on white ground.
 */
export async function svgToPng(svg: string, scale = 1.5): Promise<Uint8Array<ArrayBuffer>> {
  const [{ Resvg }, files, { default: UPNG }] = await Promise.all([
    import("npm:@resvg/resvg-js@2.6.2"),
    fontFiles(),
    import("npm:upng-js@2.1.0"),
  ]);
  const picture = new Resvg(sharpImages(svg), {
    background: "white",
    fitTo: { mode: "zoom", value: scale },
    font: {
      fontFiles: files,
      loadSystemFonts: false,
      defaultFontFamily: FONT_FAMILY,
      sansSerifFamily: FONT_FAMILY,
      serifFamily: FONT_FAMILY,
      monospaceFamily: FONT_FAMILY,
    },
  }).render();
  const { width, height } = picture;
  if (width * height < LEAST_PIXELS_TO_REDUCE) return new Uint8Array(picture.asPng());
  // A copy, as the library reads a buffer from its beginning to its end.
  const { buffer } = new Uint8Array(picture.pixels);
  return new Uint8Array(UPNG.encode([buffer], width, height, 256));
}

/** resvg knows image-rendering as an attribute only, and not by the name "pixelated". */
function sharpImages(svg: string): string {
  return svg.replaceAll(
    /<image\b[^>]*image-rendering: *pixelated[^>]*>/g,
    (image) =>
      image.replaceAll(/image-rendering:[^;"]*;?/g, "")
        .replace("<image", '<image image-rendering="optimizeSpeed"'),
  );
}

/**
 * Writes pixels as a PNG file, without loss.
 *
 * @param rgba Red, green, blue, opacity of each pixel, row by row: `width * height * 4` bytes.
 * @param width Pixels in a row.
 * @param height Rows.
 * @returns A PNG file.
 * @throws {RangeError} If `rgba` has another length.
 */
export async function encodePng(
  rgba: Uint8Array | Uint8ClampedArray,
  width: number,
  height: number,
): Promise<Uint8Array<ArrayBuffer>> {
  if (rgba.length !== width * height * 4) {
    throw new RangeError(
      `Cannot encode PNG: rgba has ${rgba.length} bytes, expected ${width * height * 4} for ` +
        `${width} x ${height} pixels`,
    );
  }
  return (await loadPngEncoder())(rgba, width, height);
}

/**
 * Loads the encoder, for where there is no waiting.
 *
 * @returns The encoder.
 */
export const loadPngEncoder: () => Promise<EncodePng> = lazy(async () => {
  const { encode } = await import("npm:fast-png@8.0.0");
  return (data, width, height) => new Uint8Array(encode({ data, width, height, channels: 4 }));
});
