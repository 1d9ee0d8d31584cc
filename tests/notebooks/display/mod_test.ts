import * as library from "@denoformers/attention";
import * as notebook from "@denoformers/attention/notebook";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("./notebook", () => {
  it("has the whole library, and the helpers", () => {
    const names = new Set(Object.keys(library));
    const helpers = Object.keys(notebook).filter((name) => !names.has(name)).sort();
    assertEquals(helpers, [
      ...["chooseSize", "heatmap", "markdown", "plot", "progress", "sharedDevice", "table"],
      "usePlotly",
    ]);
    assertEquals(notebook.requestDevice, library.requestDevice);
  });
});
