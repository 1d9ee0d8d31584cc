/** Figures. */
import { assertArguments, checkedOptions, type OptionNames, told } from "../../gpu/checks.ts";
import { FIGURE, type Figure } from "./figure.ts";
import { describeFigure, type FigureJson, figureJson, type Size } from "./figure_json.ts";
import { SHOWN } from "./flush.ts";
import { display, isNotebook, isStatic, type MimeBundle } from "./kernel.ts";
import { figureHtml } from "./page.ts";

/** Options of {@linkcode plot}. */
export interface PlotOptions {
  /** In pixels; that of the layout unless told, else 700. */
  readonly width?: number | undefined;
  /** In pixels; that of the layout unless told, else 420. */
  readonly height?: number | undefined;
}

const OPTIONS: OptionNames<PlotOptions> = { width: "number", height: "" };

/** A figure that is shown. Made by {@linkcode plot}. */
export interface Plot {
  /**
   * Draws another figure in its place, wherever it was shown; in the same size if that was told. A figure that
   * cannot be drawn ends nothing that is under way: what is wrong with it is printed on standard error, and the
   * figure before stays.
   */
  update(figure: Figure): Promise<void>;
}

/**
 * Shows a figure, drawn by plotly.js: live where {@linkcode usePlotly} was called, and as a picture that
 * stays when the notebook is closed and needs neither scripts nor a network.
 *
 * @param figure What to draw, as plotly.js takes it. Typed arrays may hold the numbers.
 * @param options The size.
 * @returns A handle by which another figure is drawn in the same place.
 * @throws {TypeError} If the figure has no array of traces, or plotly.js cannot draw it.
 * @throws {RangeError} If the size is not positive.
 *
 * @example A curve
 * ```ts ignore
 * await plot({
 *   data: [{ y: [1, 0.5, 0.25], name: "loss" }],
 *   layout: { title: { text: "Training" } },
 * });
 * ```
 */
export async function plot(figure: Figure, options: PlotOptions = {}): Promise<Plot> {
  assertArguments("plot", arguments, 2, "write { width, height }");
  checkedOptions("plot", options, OPTIONS);
  const id = `plot-${crypto.randomUUID()}`;
  const show = async (shown: Figure, update: boolean) => {
    const json = figureJson(shown, figureSize(shown, options));
    const { bundle, metadata } = await figureBundle(json);
    await display(bundle, { id, update, metadata });
  };
  await show(figure, false);
  return new ShownPlot((next) => show(next, true));
}

class ShownPlot implements Plot {
  readonly [SHOWN] = true;
  readonly #show: (figure: Figure) => Promise<void>;

  constructor(show: (figure: Figure) => Promise<void>) {
    this.#show = show;
  }

  async update(figure: Figure): Promise<void> {
    try {
      await this.#show(figure);
    } catch (error) {
      // deno-lint-ignore no-console -- printing is what is left
      console.error(String(error));
    }
  }
}

function figureSize(figure: Figure, options: PlotOptions): Size {
  const { layout } = checkedOptions("plot: figure", figure, FIGURE);
  const size = {
    width: options.width ?? layout?.["width"] ?? 700,
    height: options.height ?? layout?.["height"] ?? 420,
  };
  for (const [name, value] of Object.entries(size)) {
    if (typeof value !== "number" || !(value > 0 && value < Infinity)) {
      throw new RangeError(`Cannot plot: ${name} is ${told(value)}, expected a number of pixels`);
    }
  }
  return size as Size;
}

/** Pictures take half a second at first, so that there are none where nobody sees them. */
async function figureBundle(
  json: FigureJson,
): Promise<{ bundle: MimeBundle; metadata: Record<string, unknown> }> {
  const description = describeFigure(json);
  if (!isNotebook()) return { bundle: { "text/plain": description }, metadata: {} };
  const { width, height } = json.layout;
  const [{ renderSvg }, { svgToPng }] = await Promise.all([
    import("./static/render.ts"),
    import("./static/png.ts"),
  ]);
  const svg = await renderSvg(json, { width, height });
  if (isStatic()) {
    // Without the numbers, which would be most of the notebook's bytes.
    return {
      bundle: { "image/png": (await svgToPng(svg)).toBase64(), "text/plain": description },
      metadata: { "image/png": { width, height } },
    };
  }
  return {
    bundle: {
      "application/vnd.plotly.v1+json": json,
      "text/html": figureHtml(json, svg, description),
      "text/plain": description,
    },
    metadata: {},
  };
}
