/** Figures as SVG, drawn by plotly.js without a browser. */
import type { Figure } from "../figure.ts";
import { checkFigure } from "./check_figure.ts";
import { loadFonts } from "./fonts.ts";
import { lazy } from "./lazy.ts";
import { type Plotly, plotlySource } from "./plotly.ts";
import { loadPngEncoder } from "./png.ts";
import { createWindow, type ScriptWindow } from "./window.ts";

interface Renderer {
  readonly plotly: Plotly;
  readonly window: ScriptWindow;
}

let last: Promise<unknown> = Promise.resolve();

/**
 * Draws a figure. Calls at the same time are drawn one after the other, as plotly.js expects.
 *
 * @param figure The figure; left as it is.
 * @param size The picture's size in pixels; it comes before the layout's.
 * @returns The text of an SVG file.
 * @throws {TypeError} If plotly.js cannot draw the figure; the message names what is wrong with it.
 * @throws {RangeError} If the size is none.
 */
export function renderSvg(
  figure: Figure,
  size: { width: number; height: number },
): Promise<string> {
  const drawn = last.then(() => draw(figure, size));
  last = drawn.catch(() => {});
  return drawn;
}

async function draw(figure: Figure, size: { width: number; height: number }): Promise<string> {
  for (const [name, value] of Object.entries(size)) {
    // plotly.js draws nothing smaller.
    if (value >= 10 && value < Infinity) continue;
    throw new RangeError(`Cannot draw figure: ${name} is ${value}, expected 10 pixels or more`);
  }
  const { plotly, window } = await renderer();
  checkFigure(figure, plotly);
  const options = { ...size, format: "svg", imageDataOnly: true };
  try {
    // plotly.js writes into what it draws: ranges and positions that it chose.
    const svg = await plotly.toImage(structuredClone(figure), options);
    // What plotly.js has put for quotes in styles, and takes out again where a browser has added quotes.
    return svg.replaceAll("TOBESTRIPPED", "'");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new TypeError(`Cannot draw figure: ${reason}`, { cause: error });
  } finally {
    window.document.body.replaceChildren();
  }
}

const renderer: () => Promise<Renderer> = lazy(async () => {
  const [source, measure, encode] = await Promise.all([
    plotlySource(),
    loadFonts(),
    loadPngEncoder(),
  ]);
  const window = await createWindow(measure, encode);
  const plotly = runPlotly(source, window);
  // Warnings would be printed among a notebook's outputs; what matters is an error here.
  plotly.setPlotConfig({ logging: 0 });
  // Put together anew at each validate(), which takes 50 ms, and always the same.
  const schema = plotly.PlotSchema.get();
  plotly.PlotSchema.get = () => schema;
  return { plotly, window };
});

/** Runs plotly.js with the window's names as local ones, so that Deno's globals are not touched. */
function runPlotly(source: string, window: ScriptWindow): Plotly {
  const global: ScriptWindow = new Proxy(window, {
    get(target, name) {
      if (name === "window" || name === "self") return global;
      return Reflect.get(name in target ? target : globalThis, name);
    },
  });
  // What plotly.js names without "window." before, and Deno does not have, or has otherwise.
  const names = ["window", "self", "document", "navigator"];
  names.push("DOMParser", "Element", "HTMLElement", "Image");
  // Parameters without a value: plotly.js would export to these instead.
  const absent = ["module", "exports", "define"];
  new Function(...names, ...absent, source)(...names.map((name) => global[name]));
  return global.Plotly as Plotly;
}
