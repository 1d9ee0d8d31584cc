import { display, isNotebook, isStatic } from "../../../notebooks/display/kernel.ts";
import { displaysOf, printedBy, withEnvironment } from "./_displays.ts";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("display()", () => {
  it("sends a bundle with its metadata and its name", async () => {
    const [first, second] = await displaysOf(async () => {
      await display({ "text/plain": "a" });
      await display({ "text/plain": "b" }, { id: "x", update: true, metadata: { width: 1 } });
    });
    assertEquals(first!.type, "display_data");
    assertEquals(first!.content, { data: { "text/plain": "a" }, metadata: {}, transient: {} });
    assertEquals(second!.type, "update_display_data");
    assertEquals(second!.content, {
      data: { "text/plain": "b" },
      metadata: { width: 1 },
      transient: { display_id: "x" },
    });
  });

  it("prints the text outside of a notebook", async () => {
    assert(!isNotebook());
    const show = () => display({ "text/html": "<b>a</b>", "text/plain": "a" });
    assertEquals(await printedBy(show), ["a"]);
  });
});

describe("isStatic()", () => {
  it("is told by DENOFORMERS_NOTEBOOK_OUTPUT, and not without it", async () => {
    assertEquals(await withEnvironment({ DENOFORMERS_NOTEBOOK_OUTPUT: "" }, isStatic), false);
    const values = { static: true, interactive: false };
    for (const [value, expected] of Object.entries(values)) {
      const found = await withEnvironment({ DENOFORMERS_NOTEBOOK_OUTPUT: value }, isStatic);
      assertEquals(found, expected);
    }
  });

  it("throws on other values, with the ones that there are", async () => {
    await assertRejects(
      () => withEnvironment({ DENOFORMERS_NOTEBOOK_OUTPUT: "png" }, isStatic),
      RangeError,
      'DENOFORMERS_NOTEBOOK_OUTPUT is "png", expected "static" or "interactive"',
    );
  });
});
