import { assertGreater, assertMatch, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { packageFile } from "../../../notebooks/display/static/package_file.ts";
import { plotlySource } from "../../../notebooks/display/static/plotly.ts";

describe("plotlySource()", () => {
  it("gives the whole text of plotly.js, read once", async () => {
    const source = await plotlySource();
    assertGreater(source.length, 1_000_000);
    assertMatch(source, /plotly\.js \(cartesian - minified\) v4/);
    assertMatch(source, /window\.Plotly = Plotly;/);
    assertStrictEquals(await plotlySource(), source);
  });
});

describe("packageFile()", () => {
  it("refuses packages that are not loaded", () => {
    assertThrows(
      () => packageFile("npm:no-such-package-here@1.0.0/a.txt"),
      Error,
      "Cannot find npm:no-such-package-here@1.0.0/a.txt: the package is not loaded",
    );
  });
});
