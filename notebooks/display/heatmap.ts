/** Matrices as colours, with axes. */
import { assertArguments, checkedOptions, type OptionNames, told } from "../../gpu/checks.ts";
import { noGrad, Tensor } from "../../mod.ts";
import { colourScale, plotlyColours } from "./colours.ts";
import { distancesOf, lastPlace, round } from "./digits.ts";
import type { Figure } from "./figure.ts";
import { finiteRange, type Matrix, readMatrix, reduceMatrix } from "./matrix.ts";
import { type Plot, plot } from "./plot.ts";
import "./tensor_display.ts"; // Where matrices can be drawn, tensors draw themselves as well.

/** The most rows and columns that are drawn: what a screen shows, in a notebook of some 100 KB. */
const MOST_CELLS = 160;
/** The same of each of several matrices. */
const MOST_PANEL_CELLS = 96;
/** The most matrices side by side. */
const MOST_PANELS = 12;
/** Digits of what is drawn, and of its spread. */
const DIGITS = 4;

/** Options of {@linkcode heatmap}. */
export interface HeatmapOptions {
  /** Written above. */
  readonly title?: string | undefined;
  /** Written above each of several matrices. Default their numbers. */
  readonly titles?: readonly string[] | undefined;
  /** Written below. */
  readonly xTitle?: string | undefined;
  /** Written on the left. */
  readonly yTitle?: string | undefined;
  /** A name that plotly knows. Default from dark to light, for values of both signs from blue over white to red. */
  readonly colorscale?: string | undefined;
  /** Values of the scale's ends. Default the smallest and the largest, or as far below zero as above. */
  readonly range?: readonly [number, number] | undefined;
  /** In pixels. Default 500, or 760 for several matrices, which JupyterLab has room for. */
  readonly width?: number | undefined;
  /** In pixels. Default 420, or 320 for several matrices. */
  readonly height?: number | undefined;
}

const OPTIONS: OptionNames<HeatmapOptions> = {
  title: "string",
  titles: "",
  xTitle: "",
  yTitle: "",
  colorscale: "",
  range: "list",
  width: "number",
  height: "",
};

/**
 * Shows a matrix as colours, row 0 at the top. Of a matrix with more than 160 rows or columns (96 if there
 * are several), means of square blocks are shown; values that are not finite are left blank.
 *
 * @param values A matrix `[rows, columns]`, or several `[n, rows, columns]`, which are put side by side on one
 * scale.
 * @param options Titles, scale and size.
 * @returns A handle by which another figure is drawn in the same place.
 * @throws {TypeError} If the values are no matrix, nor several.
 * @throws {RangeError} If rows have different lengths, there are more than 12 matrices, or not a title for each.
 *
 * @example Attention's weights
 * ```ts ignore
 * const weights = q.matmul(k.transpose(0, 1)).mul(scale).softmax(1);
 * await heatmap(weights, { title: "Who sees whom", xTitle: "key", yTitle: "query" });
 * ```
 */
export async function heatmap(
  values: Tensor | readonly (readonly number[])[],
  options: HeatmapOptions = {},
): Promise<Plot> {
  assertArguments("show a heatmap", arguments, 2, "write { title }");
  checkedOptions("show a heatmap", options, OPTIONS);
  const matrices = values instanceof Tensor ? await readPanels(values) : [parseRows(values)];
  const { titles } = options;
  if (titles && titles.length !== matrices.length) {
    throw new RangeError(
      `Cannot show a heatmap: titles has ${titles.length} texts, expected ${matrices.length}, one for ` +
        `each matrix`,
    );
  }
  const isSingle = matrices.length === 1;
  const { width = isSingle ? 500 : 760, height = isSingle ? 420 : 320 } = options;
  return await plot(heatmapFigure(matrices, options), { width, height });
}

async function readPanels(tensor: Tensor): Promise<Matrix[]> {
  const { shape } = tensor;
  if (shape.length !== 2 && shape.length !== 3) {
    throw new TypeError(
      `Cannot show a heatmap: values is ${tensor}, expected 2 axes, or 3 for several matrices`,
    );
  }
  assertPanels(shape.length === 3 ? shape[0]! : 1, shape.at(-2)!, shape.at(-1)!);
  if (shape.length === 2) return [await readMatrix(tensor, MOST_CELLS)];
  const matrices: Matrix[] = [];
  for (let n = 0; n < shape[0]!; n++) {
    const matrix = noGrad(() => tensor.select(0, n));
    try {
      matrices.push(await readMatrix(matrix, shape[0] === 1 ? MOST_CELLS : MOST_PANEL_CELLS));
    } finally {
      matrix.dispose();
    }
  }
  return matrices;
}

function assertPanels(count: number, rows: number, columns: number): void {
  if (count * rows * columns === 0) {
    throw new RangeError(
      `Cannot show a heatmap: values has ${count} x ${rows} x ${columns} elements, expected some`,
    );
  }
  if (count > MOST_PANELS) {
    throw new RangeError(
      `Cannot show a heatmap: values has ${count} matrices, expected at most ${MOST_PANELS}; ` +
        `take some by slice()`,
    );
  }
}

function parseRows(rows: readonly ArrayLike<number>[]): Matrix {
  if (!Array.isArray(rows) || rows.some((row) => typeof row !== "object" || !("length" in row))) {
    throw new TypeError(
      `Cannot show a heatmap: values is ${told(rows)}, expected a Tensor or an array of rows`,
    );
  }
  const all = rows.map((row: ArrayLike<number>) => Array.from(row));
  const columns = all[0]?.length ?? 0;
  assertPanels(1, all.length, columns);
  for (const [n, { length }] of all.entries()) {
    if (length === columns) continue;
    throw new RangeError(
      `Cannot show a heatmap: row ${n} has ${length} values, expected ${columns} as row 0`,
    );
  }
  return reduceMatrix(all.flat(), all.length, columns, MOST_CELLS);
}

function heatmapFigure(matrices: readonly Matrix[], options: HeatmapOptions): Figure {
  const { title, xTitle = "", yTitle = "" } = options;
  const isSingle = matrices.length === 1;
  const scale = heatmapScale(matrices, options);
  const { spread } = distancesOf(matrices.flatMap(({ values }) => Array.from(values)));
  const place = lastPlace(spread, DIGITS);
  const axes = matrices.map((_, n) => `${n === 0 ? "" : n + 1}`);
  const titles = options.titles ?? (isSingle ? [] : axes.map((_, n) => `${n}`));
  return {
    data: matrices.map(({ values, rows, columns, block }, n) => ({
      type: "heatmap",
      z: Array.from(
        { length: rows },
        (_, row) =>
          Array.from(
            { length: columns },
            (_, column) => round(values[row * columns + column]!, DIGITS, place),
          ),
      ),
      // A block's cell lies in the middle of the rows and columns that it stands for.
      ...(block > 1 && { x0: (block - 1) / 2, dx: block, y0: (block - 1) / 2, dy: block }),
      xaxis: `x${axes[n]}`,
      yaxis: "y",
      ...scale,
      showscale: n === matrices.length - 1,
    })),
    layout: {
      ...(title !== undefined && { title: { text: title } }),
      ...Object.fromEntries(
        axes.map((axis) => [`xaxis${axis}`, { title: { text: xTitle }, constrain: "domain" }]),
      ),
      yaxis: { title: { text: yTitle }, autorange: "reversed" },
      ...(!isSingle && { grid: { rows: 1, columns: matrices.length, pattern: "coupled" } }),
      annotations: titles.map((text, n) => ({
        text,
        xref: `x${axes[n]} domain`,
        x: 0.5,
        yref: "paper",
        y: 1,
        yanchor: "bottom",
        showarrow: false,
      })),
      margin: { t: title === undefined ? 30 : titles.length > 0 ? 80 : 60, r: 30, b: 60, l: 60 },
    },
  };
}

function heatmapScale(
  matrices: readonly Matrix[],
  { colorscale, range }: HeatmapOptions,
): Record<string, unknown> {
  const ends = matrices.flatMap(({ values }) => finiteRange(values) ?? []);
  if (ends.length === 0) ends.push(0, 1);
  const { colours, low, high } = colourScale(...(range ?? [Math.min(...ends), Math.max(...ends)]));
  const [zmin, zmax] = range ?? [low, high];
  return { colorscale: colorscale ?? plotlyColours(colours), zmin, zmax };
}
