import { markdown } from "../../../notebooks/display/markdown.ts";
import { displaysOf } from "./_displays.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("markdown()", () => {
  it("shows a text as Markdown, and as it is", async () => {
    const [message] = await displaysOf(() => markdown("**a**"));
    assertEquals(message!.data, { "text/markdown": "**a**", "text/plain": "**a**" });
  });

  it("throws on what is no text", async () => {
    await assertRejects(() => markdown(5 as never), TypeError, "text is 5, expected a string");
  });
});
