import { figureJson } from "../../../notebooks/display/figure_json.ts";
import { escapeHtml } from "../../../notebooks/display/html.ts";
import { figureHtml, plotlyHtml, scriptJson } from "../../../notebooks/display/page.ts";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** Texts that end a script, hide its end, or end a line in it. */
const NASTY = "</script><!--<script>\u2028\u2029'\"&\\";

describe("escapeHtml()", () => {
  it("leaves no character that means something in HTML", () => {
    assertEquals(escapeHtml(`<a b="c" d='e'>&`), "&lt;a b=&quot;c&quot; d=&#39;e&#39;&gt;&amp;");
  });
});

describe("scriptJson()", () => {
  it("is safe within a script element, and means the same", () => {
    const text = scriptJson({ [NASTY]: NASTY });
    assertEquals(/[<\u2028\u2029]/.test(text), false);
    assertEquals(JSON.parse(text), { [NASTY]: NASTY });
  });
});

describe("figureHtml()", () => {
  const figure = figureJson({ data: [{ name: NASTY }] }, { width: 300, height: 200 });
  const html = figureHtml(figure, "<svg>\u00e9</svg>", NASTY);

  it("holds the picture, of the figure's size, and its description", () => {
    const [, source = ""] = /src="data:image\/svg\+xml;base64,([^"]+)"/.exec(html) ?? [];
    const bytes = Uint8Array.from(atob(source), (character) => character.charCodeAt(0));
    assertEquals(new TextDecoder().decode(bytes), "<svg>\u00e9</svg>");
    assertStringIncludes(html, `<img width="300" height="200"`);
    assertStringIncludes(html, `alt="${escapeHtml(NASTY)}"`);
  });

  it("holds one script, which is a program", () => {
    const [, script, rest] = /<script>(.*?)<\/script>(.*)$/s.exec(html) ?? [];
    assertEquals(rest, "");
    new Function(script!); // Throws if it is none.
    assert(!script!.includes("<"));
  });
});

describe("plotlyHtml()", () => {
  it("has the source as an attribute, and a handler that is a program", () => {
    const html = plotlyHtml(`var text = "${NASTY}";`);
    assertStringIncludes(html, `data-source="${escapeHtml(`var text = "${NASTY}";`)}"`);
    const [, handler = ""] = /onerror="([^"]+)"/.exec(html) ?? [];
    const program = handler.replaceAll("&quot;", '"').replaceAll("&amp;", "&");
    assert(!program.includes("&#"));
    new Function(program); // Throws if it is none.
  });
});
