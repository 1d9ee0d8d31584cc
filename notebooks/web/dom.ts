/**
 * What is used of the page, as types. TypeScript's own DOM library would reach all files that are checked
 * together, and there it meets Deno's types of the same names.
 */
import type { Figure } from "../display/figure.ts";

/** An element, with what forms, tables and progress bars have. */
export interface PageElement {
  textContent: string;
  className: string;
  hidden: boolean;
  disabled: boolean;
  value: string;
  max: number;
  append(...children: (PageElement | string)[]): void;
  replaceChildren(...children: (PageElement | string)[]): void;
  setAttribute(name: string, value: string): void;
  removeAttribute(name: string): void;
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
  focus(): void;
}

/** An event. */
export interface PageEvent {
  /** Of an error that nobody caught. */
  readonly error?: unknown;
  readonly message?: string;
  /** Of a promise that nobody looked at. */
  readonly reason?: unknown;
  preventDefault(): void;
}

/** What is used of plotly.js in a page. */
export interface PagePlotly {
  /** Draws a figure in an element, in place of the one that was there. */
  react(
    element: PageElement,
    data: Figure["data"],
    layout: Figure["layout"],
    config: Figure["config"],
  ): Promise<unknown>;
}

/** The page's globals. */
export interface PageWindow {
  readonly document: {
    getElementById(id: string): PageElement | null;
    createElement(name: string): PageElement;
  };
  readonly Plotly?: PagePlotly;
  matchMedia(query: string): {
    readonly matches: boolean;
    addEventListener(type: "change", listener: () => void): void;
  };
  addEventListener(type: string, listener: (event: PageEvent) => void): void;
}

/** The page that runs this. */
export const page: PageWindow = globalThis as unknown as PageWindow;

/**
 * The element of this id.
 *
 * @throws {Error} If the page has none.
 */
export function element(id: string): PageElement {
  const found = page.document.getElementById(id);
  if (!found) throw new Error(`Cannot show the page: it has no element "${id}"`);
  return found;
}

/** A new element around texts and others. */
export function create(name: string, ...children: (PageElement | string)[]): PageElement {
  const created = page.document.createElement(name);
  created.append(...children);
  return created;
}
