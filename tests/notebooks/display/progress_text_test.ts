import { progressHtml, progressText } from "../../../notebooks/display/progress_text.ts";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const STATE = { label: "fit", done: 25, total: 100, note: "loss 0.5", elapsed: 10_000 };
const bar = (full: number) => `[${"█".repeat(full)}${"░".repeat(24 - full)}]`;

describe("progressText()", () => {
  it("tells how much is done, the rate, time and time left, and the note", () => {
    assertEquals(
      progressText(STATE),
      `fit ${bar(6)} 25/100 25 % | 2.5/s | 10s, 30s left | loss 0.5`,
    );
  });

  it("tells the time of a step where steps are slow", () => {
    assertEquals(
      progressText({ ...STATE, label: "", done: 4, note: "" }),
      `${bar(1)} 4/100 4 % | 2.5 s each | 10s, 4m0s left`,
    );
  });

  it("tells no rate before the first step, and no time left behind the last", () => {
    assertEquals(
      progressText({ label: "", done: 0, total: 3, note: "", elapsed: 0 }),
      `${bar(0)} 0/3 0 % | 0s`,
    );
    assertEquals(
      progressText({ label: "", done: 3, total: 3, note: "", elapsed: 1_000 }),
      `${bar(24)} 3/3 100 % | 3/s | 1s`,
    );
  });
});

describe("progressHtml()", () => {
  it("has a bar of the page's own, and escapes label and note", () => {
    assertEquals(
      progressHtml({ ...STATE, label: "<i>", note: "a & b" }),
      "<div>&lt;i&gt; " +
        '<progress value="25" max="100" style="width:240px;vertical-align:middle"></progress> ' +
        "<code>25/100 25 % | 2.5/s | 10s, 30s left | a &amp; b</code></div>",
    );
  });
});
