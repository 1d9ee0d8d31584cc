/**
 * A window without a browser, in which plotly.js draws: svgdom's, which knows the boxes and lengths of SVG,
 * and what plotly.js asks for beyond that.
 */
import { Canvas } from "./canvas.ts";
import type { MeasureText } from "./fonts.ts";
import type { EncodePng } from "./png.ts";
import { textBox, type TextElement } from "./text_box.ts";

/** What is used of svgdom's elements: it has no types of its own. */
interface SvgElement extends TextElement {
  readonly outerHTML: string;
  readonly ownerDocument: { createElementNS(namespace: string, name: string): SvgElement };
  readonly parentNode: SvgElement | null;
  appendChild(child: SvgElement): void;
  cloneNode(deep: boolean): SvgElement;
  getBBox(): unknown;
  getBoundingClientRect(): unknown;
  querySelectorAll(selector: string): SvgElement[];
  remove(): void;
  replaceWith(other: SvgElement): void;
  setAttribute(name: string, value: string): void;
}

/** A window as a script sees it. */
export interface ScriptWindow extends Record<string, unknown> {
  /** The page. */
  readonly document: { readonly body: { replaceChildren(): void } };
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * Makes a window with an empty page. Deno's own globals stay as they are.
 *
 * @param measure Measures text.
 * @param encode Writes what is drawn on a canvas.
 * @returns The window.
 */
export async function createWindow(
  measure: MeasureText,
  encode: EncodePng,
): Promise<ScriptWindow> {
  const { createHTMLWindow } = await import("npm:svgdom@0.1.29");
  const window = createHTMLWindow();
  const getComputedStyle = window.getComputedStyle.bind(window);
  Object.assign(window, {
    navigator: { userAgent: "Deno" },
    // svgdom gives null for what is not set, browsers an empty text.
    getComputedStyle: (element: SvgElement) => ({
      getPropertyValue: (name: string) => getComputedStyle(element).getPropertyValue(name) ?? "",
    }),
    XMLSerializer: class {
      serializeToString = (element: SvgElement) => element.outerHTML;
    },
    // Asked whether a heatmap may have a pixel a cell, which is then drawn larger and sharp.
    CSS: { supports: (_name: string, value: string) => value === "pixelated" },
    // Made when plotly.js is loaded, used for the buttons of live figures only.
    DOMParser: class {},
  });
  // There is no layout outside of SVG: all is at the page's corner.
  window.HTMLElement.prototype.getBoundingClientRect = () => (
    { x: 0, y: 0, left: 0, top: 0, right: 0, bottom: 0, width: 0, height: 0 }
  );
  measureTexts(window.SVGGraphicsElement.prototype, measure);
  completePage(window.document, encode);
  return window;
}

// deno-lint-ignore no-explicit-any -- svgdom has no types
function completePage(document: any, encode: EncodePng): void {
  const createElement = document.createElement.bind(document);
  document.createElement = (name: string) =>
    name === "canvas" ? new Canvas(encode) : createElement(name);
  // plotly.js adds no style sheet to a page that has this element, and pictures need none.
  const noStyles = createElement("style");
  noStyles.setAttribute("id", "plotly.js-style-global");
  noStyles.setAttribute("class", "no-inline-styles");
  document.head.appendChild(noStyles);
}

/** Has svgdom measure a copy of an element, in which rectangles stand for texts: see textBox. */
function measureTexts(prototype: SvgElement, measure: MeasureText): void {
  for (const name of ["getBBox", "getBoundingClientRect"] as const) {
    const original = prototype[name];
    prototype[name] = function (this: SvgElement) {
      const copy = withRectangles(this, measure);
      // Beside the original, where the same transforms hold.
      this.parentNode?.appendChild(copy);
      try {
        return original.call(copy);
      } finally {
        if (this.parentNode) copy.remove();
      }
    };
  }
}

function withRectangles(element: SvgElement, measure: MeasureText): SvgElement {
  if (element.nodeName === "text") return rectangle(element, measure);
  const copy = element.cloneNode(true);
  const texts = element.querySelectorAll("text");
  copy.querySelectorAll("text").forEach((text, index) => {
    // Measured in the page, from which it inherits its style.
    text.replaceWith(rectangle(texts[index]!, measure));
  });
  return copy;
}

function rectangle(text: SvgElement, measure: MeasureText): SvgElement {
  const rect = text.ownerDocument.createElementNS(SVG, "rect");
  const attributes = { ...textBox(text, measure), transform: text.getAttribute("transform") ?? "" };
  for (const [name, value] of Object.entries(attributes)) rect.setAttribute(name, String(value));
  return rect;
}
