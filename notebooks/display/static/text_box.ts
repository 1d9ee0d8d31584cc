/**
 * Boxes of SVG text as browsers give them: as wide as the advance widths, as high as the font.
 *
 * svgdom has boxes of its own, which take "70%" and "0.6em" for pixels and measure each run of a
 * centred text as if it were alone; sub- and superscripts come out a multiple too large.
 */
import type { MeasureText, TextStyle } from "./fonts.ts";

/** What is used of a DOM element here. */
export interface TextElement {
  readonly nodeType: number;
  readonly nodeName: string;
  readonly data?: string;
  readonly childNodes: readonly TextElement[];
  readonly parentNode: TextElement | null;
  readonly style: { getPropertyValue(name: string): string };
  getAttribute(name: string): string | null;
}

/** A box in the coordinates of its element, y pointing down. */
export interface Box {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

/** What a line's runs take together, top and bottom counted downwards from the line's `y`. */
interface Line {
  width: number;
  top: number;
  bottom: number;
  /** Where the baseline is at the moment: `dy` of one run holds for those behind it too. */
  baseline: number;
}

const ELEMENT = 1;
const TEXT = 3;

/**
 * The box of a `<text>` as plotly.js writes it: lines are `<tspan class="line">`, runs of other sizes
 * and weights are `<tspan>` within them.
 *
 * @param text The element.
 * @param measure Measures a piece of text.
 * @returns Its box, without its own `transform`.
 */
export function textBox(text: TextElement, measure: MeasureText): Box {
  const lines = text.childNodes.filter((node) => node.getAttribute?.("class") === "line");
  const boxes = (lines.length > 0 ? lines : [text]).map((line) => lineBox(line, text, measure));
  const left = Math.min(...boxes.map((box) => box.x));
  const top = Math.min(...boxes.map((box) => box.y));
  const right = Math.max(...boxes.map((box) => box.x + box.width));
  const bottom = Math.max(...boxes.map((box) => box.y + box.height));
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function lineBox(element: TextElement, text: TextElement, measure: MeasureText): Box {
  const line: Line = { width: 0, top: Infinity, bottom: -Infinity, baseline: 0 };
  addRuns(element, line, measure);
  const x = Number(element.getAttribute("x") ?? text.getAttribute("x") ?? 0);
  const y = Number(element.getAttribute("y") ?? text.getAttribute("y") ?? 0);
  const anchor = inherited(element, "text-anchor");
  const before = anchor === "middle" ? line.width / 2 : anchor === "end" ? line.width : 0;
  if (line.bottom < line.top) return { x, y, width: 0, height: 0 };
  return { x: x - before, y: y + line.top, width: line.width, height: line.bottom - line.top };
}

function addRuns(element: TextElement, line: Line, measure: MeasureText): void {
  const style = textStyle(element);
  line.baseline += length(element.getAttribute("dy"), style.size);
  line.width += length(element.getAttribute("dx"), style.size);
  for (const node of element.childNodes) {
    if (node.nodeType === ELEMENT) addRuns(node, line, measure);
    if (node.nodeType !== TEXT || !node.data) continue;
    const { width, ascent, descent } = measure(node.data, style);
    line.width += width;
    line.top = Math.min(line.top, line.baseline - ascent);
    line.bottom = Math.max(line.bottom, line.baseline + descent);
  }
}

function textStyle(element: TextElement): TextStyle {
  const weight = inherited(element, "font-weight");
  return {
    size: fontSize(element),
    bold: weight === "bold" || Number(weight) >= 600,
    italic: inherited(element, "font-style") === "italic",
  };
}

function fontSize(element: TextElement): number {
  const size = own(element, "font-size");
  const parent = element.parentNode;
  // 12 pixels: plotly.js' own default.
  const outer = () => parent?.nodeType === ELEMENT ? fontSize(parent) : 12;
  if (size.endsWith("%")) return Number.parseFloat(size) / 100 * outer();
  return Number.parseFloat(size) || outer();
}

function inherited(element: TextElement, name: string): string {
  for (let at: TextElement | null = element; at?.nodeType === ELEMENT; at = at.parentNode) {
    const value = own(at, name);
    if (value !== "") return value;
  }
  return "";
}

function own(element: TextElement, name: string): string {
  return element.style.getPropertyValue(name) || element.getAttribute(name) || "";
}

function length(text: string | null, size: number): number {
  const value = Number.parseFloat(text ?? "") || 0;
  return text?.endsWith("em") ? value * size : value;
}
