/**
 * Functions that run in the page of JupyterLab. They are sent there as text, so that they can use
 * nothing from outside of themselves but the page's own globals, of which the types say what is used.
 */

interface PageElement {
  readonly textContent: string;
  scrollTop: number;
  readonly clientHeight: number;
  readonly dataset: Readonly<Record<string, string | undefined>>;
  getBoundingClientRect(): { readonly top: number; readonly bottom: number };
  querySelector(selector: string): PageElement | null;
  querySelectorAll(selector: string): Iterable<PageElement>;
}

interface PlotlyElement extends PageElement {
  readonly data: readonly { readonly visible?: boolean | "legendonly" }[];
  readonly layout: { readonly xaxis?: { readonly range?: readonly unknown[] } };
}

interface PictureElement extends PageElement {
  readonly complete: boolean;
  readonly naturalWidth: number;
}

interface ProgressElement extends PageElement {
  readonly value: number;
  readonly max: number;
}

interface PageGlobals {
  readonly document: PageElement;
  readonly Plotly?: { readonly version: string };
}

/** What a reader sees of a code cell, on the screen or outside of it. */
export interface VisibleCell {
  /** What stands beside the code: `[3]:` after its execution, `[*]:` before it has ended. */
  readonly prompt: string;
  /** Live charts, by what they have of traces that are to be seen, and what of traces that are drawn. */
  readonly charts: readonly { readonly traces: number; readonly drawn: number }[];
  /** How many pictures there are that have been loaded. */
  readonly pictures: number;
  /** Progress bars, by how full they are, from 0 to 1. */
  readonly progress: readonly number[];
}

/** Reads all code cells of the open notebook. */
export function readCells(): VisibleCell[] {
  const { document } = globalThis as unknown as PageGlobals;
  const all = <T extends PageElement>(parent: PageElement, selector: string): T[] =>
    [...parent.querySelectorAll(selector)] as T[];
  // A group for each trace, by the layers that plotly.js draws traces of this package's bundle in.
  const traces = ".cartesianlayer :is(g.trace, g.hm, g.contour, g.im)";
  return all(document, ".jp-Notebook .jp-CodeCell").map((cell) => ({
    prompt: cell.querySelector(".jp-InputPrompt")?.textContent.trim() ?? "",
    charts: all<PlotlyElement>(cell, ".js-plotly-plot").map((chart) => ({
      traces: chart.data.filter(({ visible = true }) => visible === true).length,
      drawn: all(chart, traces).length,
    })),
    pictures: all<PictureElement>(cell, ".jp-OutputArea-output img")
      .filter((picture) => picture.complete && picture.naturalWidth > 0).length,
    progress: all<ProgressElement>(cell, "progress").map((bar) => bar.value / bar.max),
  }));
}

/** Whether the page has a number of code cells; it adds them one by one. */
export function hasCells(count: number): boolean {
  const { document } = globalThis as unknown as PageGlobals;
  return [...document.querySelectorAll(".jp-Notebook .jp-CodeCell")].length === count;
}

/** Whether the kernel has nothing to do, all cells that were begun have ended, and one was. */
export function hasRun(): boolean {
  const { document } = globalThis as unknown as PageGlobals;
  const indicator = document.querySelector(".jp-Notebook-ExecutionIndicator");
  const prompts = [...document.querySelectorAll(".jp-Notebook .jp-CodeCell .jp-InputPrompt")]
    .map((prompt) => prompt.textContent.trim());
  return indicator?.dataset["status"] === "idle" && !prompts.includes("[*]:") &&
    prompts.some((prompt) => /^\[\d+\]:$/.test(prompt));
}

/** The version of plotly.js that the page has. */
export function plotlyVersion(): string | undefined {
  return (globalThis as unknown as PageGlobals).Plotly?.version;
}

/** The range of the horizontal axis of a chart. */
export function horizontalRange(chart: unknown): readonly unknown[] | undefined {
  return (chart as PlotlyElement).layout.xaxis?.range?.slice();
}

/**
 * Scrolls the notebook by a fraction of what is in view.
 *
 * @returns Whether it moved.
 */
export function scrollBy(fraction: number): boolean {
  const { document } = globalThis as unknown as PageGlobals;
  const panel = document.querySelector(".jp-WindowedPanel-outer")!;
  const before = panel.scrollTop;
  panel.scrollTop += fraction * panel.clientHeight;
  return panel.scrollTop !== before;
}

/** Scrolls to the top. */
export function scrollToTop(): void {
  const { document } = globalThis as unknown as PageGlobals;
  document.querySelector(".jp-WindowedPanel-outer")!.scrollTop = 0;
}

/** How far the last cell reaches below the upper edge of what is in view, in pixels. */
export function heightBelow(): number {
  const { document } = globalThis as unknown as PageGlobals;
  const panel = document.querySelector(".jp-WindowedPanel-outer")!;
  // Not scrollHeight: after its last cell a notebook has room.
  const last = [...document.querySelectorAll(".jp-Notebook .jp-Cell")].at(-1)!;
  return last.getBoundingClientRect().bottom - panel.getBoundingClientRect().top;
}
