/**
 * The font of all pictures, DejaVu Sans. It has Latin, Greek, arrows, √, superscripts such as ᵀ and ⁻, and
 * comes from npm, so that pictures are the same whatever fonts a system has, if any.
 */
import { fileURLToPath } from "node:url";
import { lazy } from "./lazy.ts";
import { packageFile } from "./package_file.ts";

/** How a piece of text is written. */
export interface TextStyle {
  /** Font size in pixels. */
  readonly size: number;
  /** Whether in bold. */
  readonly bold: boolean;
  /** Whether in italics. */
  readonly italic: boolean;
}

/** The room that a piece of text takes, in pixels. */
export interface TextExtent {
  /** Advance width. */
  readonly width: number;
  /** The font's height above the baseline. */
  readonly ascent: number;
  /** The font's depth below the baseline. */
  readonly descent: number;
}

/** Measures text as it is drawn. */
export type MeasureText = (text: string, style: TextStyle) => TextExtent;

/** The name by which the font's files go. */
export const FONT_FAMILY = "DejaVu Sans";

/** In this order: 1 for bold and 2 for italic, added, is a file's index. */
const FILES = ["DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique"];

/**
 * The font's files: regular, bold, italic, bold italic.
 *
 * @returns Paths on this disk.
 */
export const fontFiles: () => Promise<string[]> = lazy(async () => {
  await import("npm:dejavu-fonts-ttf@2.37.3/package.json", { with: { type: "json" } });
  const url = packageFile(import.meta.resolve("npm:dejavu-fonts-ttf@2.37.3/ttf/DejaVuSans.ttf"));
  return FILES.map((file) => fileURLToPath(new URL(`${file}.ttf`, url)));
});

/**
 * Loads the font for measuring.
 *
 * @returns A function that measures, and remembers what it has measured.
 */
export async function loadFonts(): Promise<MeasureText> {
  const [{ create }, files] = await Promise.all([import("npm:fontkit@2.0.4"), fontFiles()]);
  const fonts = await Promise.all(files.map(async (file) => create(await Deno.readFile(file))));
  const widths = new Map<string, number>();
  return (text, { size, bold, italic }) => {
    const index = (bold ? 1 : 0) + (italic ? 2 : 0);
    const font = fonts[index];
    const key = index + text;
    const width: number = widths.get(key) ?? font.layout(text).advanceWidth;
    widths.set(key, width);
    const scale = size / font.unitsPerEm;
    return { width: width * scale, ascent: font.ascent * scale, descent: -font.descent * scale };
  };
}
