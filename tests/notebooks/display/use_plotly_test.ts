import { usePlotly } from "../../../notebooks/display/use_plotly.ts";
import { displaysOf, printedBy, staticDisplaysOf } from "./_displays.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("usePlotly()", () => {
  it("shows the script, and a short text in its place", async () => {
    const [script, text, ...others] = await displaysOf(usePlotly);
    assertEquals(others, []);
    assertGreater(script!.data["text/html"]!.length, 1_000_000);
    assertEquals(text!.type, "update_display_data");
    assertEquals(text!.content.transient, script!.content.transient);
    assert(JSON.stringify(text!.content).length < 300);
    assertEquals(text!.data["text/plain"], "plotly.js was loaded when this cell ran.");
  });

  it("shows nothing where output is committed, and prints nothing elsewhere", async () => {
    assertEquals(await staticDisplaysOf(usePlotly), []);
    assertEquals(await printedBy(usePlotly), []);
  });
});
