/**
 * Every notebook in a real JupyterLab in Chromium as it is committed, and one that is run there by Run All Cells,
 * looked at, saved, and opened again. Pictures of what was seen are in `.cache/notebooks/screenshots/`.
 *
 *     deno test -A tests/jupyter/jupyterlab.ts
 */
import { assert, assertEquals, assertGreater, assertMatch, assertNotEquals } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { type Output, readNotebook } from "../../notebooks/jupyter/notebook_file.ts";
import { NOTEBOOKS } from "../../notebooks/jupyter/paths.ts";
import { committedCopy, COPIES, copyNotebooks, NAMES } from "./lab/notebook_copies.ts";
import { type NotebookPage, openNotebook } from "./lab/notebook_page.ts";
import {
  complaintsOf,
  isFigure,
  isFresh,
  isProgress,
  kindsOf,
  outputsOf,
} from "./lab/saved_outputs.ts";
import { type LabSession, startSession } from "./lab/session.ts";

/** The notebook that shows everything: figures that can be zoomed, tables, progress. */
const LIVE = "04_training.ipynb";

/** The notebook takes half a minute on two cores once all is compiled. */
const DEADLINE_SECONDS = 600;

let session: LabSession;

describe("JupyterLab", () => {
  beforeAll(async () => {
    copyNotebooks();
    session = await startSession(DEADLINE_SECONDS);
  });

  afterAll(() => session.close());

  it("has notebooks to open", () => assertGreater(NAMES.length, 0));

  it(`runs ${LIVE}, live, and keeps its pictures`, async () => {
    const page = await openNotebook(session, LIVE);
    try {
      await page.runAll();
      await page.save();
      await page.scrollThrough();
      await page.screenshots(LIVE.replace(".ipynb", ""));
      await assertComplete(LIVE);
      await assertLive(page, LIVE);
      await page.reload();
      await assertPictures(page, LIVE);
      assertEquals(page.problems, []);
    } finally {
      await page.close();
    }
  });

  for (const name of NAMES) {
    it(`shows ${name} with the outputs that are committed`, async () => {
      const committed = committedCopy(name);
      const page = await openNotebook(session, committed);
      try {
        await assertPictures(page, committed);
        assertEquals(page.problems, []);
      } finally {
        await page.close();
      }
    });
  }
});

/** Every cell has run in order, and every output arrived where it belongs. */
async function assertComplete(name: string): Promise<void> {
  const saved = readNotebook(COPIES + name);
  assertEquals(complaintsOf(saved), []);
  const order = saved.cells.filter((cell) => cell.cell_type === "code")
    .map((cell) => cell.execution_count);
  assertEquals(order, order.map((_, n) => n + 1));
  const committed = readNotebook(NOTEBOOKS + name);
  if (await isFresh(committed)) assertEquals(kindsOf(saved), kindsOf(committed));
}

/** Every figure is a chart of plotly.js, every progress line is at its end. */
async function assertLive(page: NotebookPage, name: string): Promise<void> {
  const cells = await page.cells();
  const figures = counts(name, isFigure);
  assertEquals(cells.map(({ charts }) => charts.length), figures);
  for (const { traces, drawn } of cells.flatMap(({ charts }) => charts)) {
    assertGreater(traces, 0);
    assertEquals(drawn, traces);
  }
  assertEquals(
    cells.map(({ progress }) => progress),
    counts(name, isProgress).map((count) => Array<number>(count).fill(1)),
  );
  if (figures.every((count) => count === 0)) return;
  assertMatch(`${await page.plotlyVersion()}`, /^\d+\.\d+\.\d+$/);
  const { before, after } = await page.zoom(0);
  assertNotEquals(after, before);
}

/** Every figure is a picture, as no cell has run since the page was loaded. */
async function assertPictures(page: NotebookPage, name: string): Promise<void> {
  const cells = await page.cells();
  assertEquals(cells.flatMap(({ charts }) => charts), []);
  for (const [n, figures] of counts(name, isFigure).entries()) {
    const { pictures } = cells[n]!;
    assert(pictures >= figures, `code cell ${n + 1} has ${pictures} pictures of ${figures}`);
  }
}

/** How many outputs of a kind each code cell has in the file. */
function counts(name: string, isCounted: (output: Output) => boolean): number[] {
  return outputsOf(readNotebook(COPIES + name)).map((outputs) => outputs.filter(isCounted).length);
}
