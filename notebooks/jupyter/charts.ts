/** Figures of the notebooks that README shows, as files in `notebooks/charts/`. */
import { fileName, joined, type Notebook, readNotebook } from "./notebook_file.ts";
import { NOTEBOOKS } from "./paths.ts";

/** A figure, named by its title, and its file. */
interface Chart {
  readonly notebook: string;
  readonly title: string;
  readonly file: string;
}

const FOLDER = `${NOTEBOOKS}charts/`;
const CHARTS: readonly Chart[] = [
  { notebook: "03_memory_sweep.ipynb", title: "Peak memory of attention, forward", file: "memory" },
  { notebook: "03_memory_sweep.ipynb", title: "Time of attention, forward", file: "time" },
];

/**
 * Writes the charts of a notebook that was run.
 *
 * @param path The notebook's path.
 */
export function writeCharts(path: string): void {
  const charts = CHARTS.filter(({ notebook }) => notebook === fileName(path));
  if (charts.length === 0) return;
  const notebook = readNotebook(path);
  Deno.mkdirSync(FOLDER, { recursive: true });
  for (const { title, file } of charts) {
    const picture = pictureOf(notebook, title);
    if (picture) Deno.writeFileSync(`${FOLDER}${file}.png`, picture);
  }
}

/**
 * Compares a notebook's charts with what it shows.
 *
 * @param name The notebook's file name.
 * @param notebook The notebook.
 * @param read Reads a chart's file; undefined where there is none.
 * @returns What is wrong, and what to do.
 */
export function chartViolations(
  name: string,
  notebook: Notebook,
  read: (file: string) => Uint8Array | undefined = readChart,
): string[] {
  return CHARTS.filter((chart) => chart.notebook === name).flatMap(({ title, file }) => {
    const picture = pictureOf(notebook, title);
    if (!picture) return [`has no figure "${title}", which README shows`];
    const isSame = picture.toBase64() === read(file)?.toBase64();
    return isSame ? [] : [
      `charts/${file}.png is not the figure "${title}": run \`deno task notebook:run\``,
    ];
  });
}

/** The PNG of the figure with this title; undefined where there is none. */
function pictureOf({ cells }: Notebook, title: string): Uint8Array<ArrayBuffer> | undefined {
  for (const { data } of cells.flatMap(({ outputs = [] }) => outputs)) {
    const [text, png] = [data?.["text/plain"], data?.["image/png"]] as (string | undefined)[];
    // The line in which plot() describes a figure; a subtitle is not part of it.
    if (text !== undefined && png !== undefined && joined(text).startsWith(`[plot: ${title}]`)) {
      return Uint8Array.fromBase64(joined(png));
    }
  }
  return undefined;
}

function readChart(file: string): Uint8Array | undefined {
  try {
    return Deno.readFileSync(`${FOLDER}${file}.png`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return undefined;
    throw error;
  }
}
