/** The README's comparison names a test for each of our cells; here is seen to it that there is one. */
import { assertEquals, assertGreater } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const ROOT = new URL("../", import.meta.url);
const readme = Deno.readTextFileSync(new URL("README.md", ROOT));

/** The rows of the comparison: what it is about, our cell, the cell that names a test. */
function comparison(): { feature: string; ours: string; shownBy: string }[] {
  const section = readme.split("## Compared")[1]!.split("\n## ")[0]!;
  const rows = section.split("\n").filter((line) => line.startsWith("|")).slice(2);
  return rows.map((row) => {
    const cells = row.split("|").slice(1, -1).map((cell) => cell.trim());
    assertEquals(cells.length, 8, row);
    return { feature: cells[0]!, ours: cells[6]!, shownBy: cells[7]! };
  });
}

describe("the README's comparison", () => {
  it("has a row for every feature of attention's forward pass", () => {
    assertGreater(comparison().length, 20);
  });

  for (const { feature, ours, shownBy } of comparison()) {
    it(`names a test for ${feature}`, () => {
      if (ours === "not yet") return assertEquals(shownBy, "");
      const [, path, name] = /^\[[\w/]+\]\(([\w/.]+)\): “(.+)”$/.exec(shownBy) ?? [];
      const source = Deno.readTextFileSync(new URL(path!, ROOT));
      // "…" stands for what a test puts into its name.
      const titles = [...source.matchAll(/\b(?:describe|it)\(\s*["`](.+?)["`]\s*,/g)]
        .map(([, title]) => title!.replaceAll(/\$\{[^}]*\}/g, "…"));
      assertEquals(titles.includes(name!), true, `${path} has no test "${name}"`);
    });
  }
});
