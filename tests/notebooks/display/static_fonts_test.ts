import { assertAlmostEquals, assertEquals, assertGreater, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { fontFiles, loadFonts } from "../../../notebooks/display/static/fonts.ts";

const PLAIN = { size: 10, bold: false, italic: false };

describe("fontFiles()", () => {
  it("gives the four files of the font", async () => {
    const files = await fontFiles();
    assertEquals(files.length, 4);
    for (const file of files) assertGreater((await Deno.stat(file)).size, 100_000);
  });
});

describe("loadFonts()", () => {
  it("measures in proportion to the size, wider in bold", async () => {
    const measure = await loadFonts();
    const { width, ascent, descent } = measure("peak memory", PLAIN);
    // Rounding of a product in float64.
    assertAlmostEquals(measure("peak memory", { ...PLAIN, size: 30 }).width, width * 3, 1e-9);
    assertGreater(measure("peak memory", { ...PLAIN, bold: true }).width, width);
    assertGreater(ascent, 9);
    assertGreater(descent, 2);
  });

  it("draws letters closer that fit, and gives joints no width", async () => {
    const measure = await loadFonts();
    const width = (text: string) => measure(text, PLAIN).width;
    assertLess(width("AV"), width("A") + width("V"));
    assertEquals(width("\u200b"), 0);
  });
});
