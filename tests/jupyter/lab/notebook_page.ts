/** One notebook, open in JupyterLab. */
import type { Locator, Page } from "playwright-core";
import { readNotebook } from "../../../notebooks/jupyter/notebook_file.ts";
import type { Lab } from "../../../notebooks/jupyter/lab_server.ts";
import { ROOT } from "../../../notebooks/jupyter/paths.ts";
import {
  hasCells,
  hasRun,
  heightBelow,
  horizontalRange,
  plotlyVersion,
  readCells,
  scrollBy,
  scrollToTop,
  type VisibleCell,
} from "./in_page.ts";
import { COPIES } from "./notebook_copies.ts";
import { outputsOf } from "./saved_outputs.ts";
import { endKernels, type LabSession } from "./session.ts";

/** JupyterLab's own page is several MB of scripts. */
const OPEN_MILLISECONDS = 60_000;
/** Notebooks take less than a minute at small sizes, with two cores and nothing compiled before. */
const RUN_MILLISECONDS = 240_000;
const POLL_MILLISECONDS = 200;
/** How long the notebook has to look as if it had run; what comes late arrives meanwhile. */
const QUIET_MILLISECONDS = 1000;
/** How long a page that is scrolled needs to draw itself. */
const FRAME_MILLISECONDS = 60;
/** How tall pictures are, and the window that they are taken of. */
const PICTURE_PIXELS = 3000;
/** The folder of the pictures; git ignores it. */
const SCREENSHOTS = `${ROOT}.cache/notebooks/screenshots/`;

/** A page with a notebook. Made by {@linkcode openNotebook}. */
export class NotebookPage {
  /** What went wrong in the page: errors of scripts, and requests to others than the server. */
  readonly problems: string[] = [];
  readonly #page: Page;
  readonly #lab: Lab;
  readonly #codeCells: number;

  constructor(page: Page, lab: Lab, codeCells: number) {
    this.#page = page;
    this.#lab = lab;
    this.#codeCells = codeCells;
    const server = new URL(lab.base).host;
    const isOwn = (url: string) => !/^(https?|wss?):/.test(url) || new URL(url).host === server;
    page.on("pageerror", (error) => void this.problems.push(`error in a script: ${error.stack}`));
    page.on("console", (message) => {
      if (message.type() !== "error") return;
      this.problems.push(`error in the console: ${message.text()} (${message.location().url})`);
    });
    page.on("request", (request) => {
      if (!isOwn(request.url())) this.problems.push(`request to ${request.url()}`);
    });
    page.on("websocket", (socket) => {
      if (!isOwn(socket.url())) this.problems.push(`socket to ${socket.url()}`);
    });
  }

  /** Waits until the notebook is there and its kernel answers. */
  async ready(): Promise<void> {
    // Both at once: until it has a kernel, the notebook is shown as idle as well.
    await this.#page.locator("#jp-main-statusbar").getByText("Deno | Idle")
      .waitFor({ timeout: OPEN_MILLISECONDS });
    await this.#page.waitForFunction(hasCells, this.#codeCells, { timeout: OPEN_MILLISECONDS });
  }

  /** Runs all cells by the menu, and waits until they have ended or one has failed. */
  async runAll(): Promise<void> {
    await this.#menu("Run", "Run All Cells");
    const deadline = Date.now() + RUN_MILLISECONDS;
    let quietSince = Infinity;
    while (Date.now() - quietSince < QUIET_MILLISECONDS) {
      if (Date.now() > deadline) {
        const prompts = (await this.cells()).map(({ prompt }) => prompt).join(" ");
        throw new Error(`Not run within ${RUN_MILLISECONDS / 1000} s, prompts are ${prompts}`);
      }
      await this.#page.waitForTimeout(POLL_MILLISECONDS);
      quietSince = await this.#page.evaluate(hasRun) ? Math.min(quietSince, Date.now()) : Infinity;
    }
  }

  /** Saves the notebook by the menu, and waits until it has been. */
  async save(): Promise<void> {
    await this.#menu("File", "Save Notebook");
    await this.#page.locator(".lm-TabBar-tab.jp-mod-current:not(.jp-mod-dirty)").waitFor();
  }

  /** Loads the page again, with nothing but what was saved. */
  async reload(): Promise<void> {
    await this.#page.reload();
    await this.ready();
  }

  /** All code cells, as they look now. */
  cells(): Promise<VisibleCell[]> {
    return this.#page.evaluate(readCells);
  }

  /** The version of plotly.js in the page; undefined if there is none. */
  plotlyVersion(): Promise<string | undefined> {
    return this.#page.evaluate(plotlyVersion);
  }

  /** Scrolls through the whole notebook, to its end and back. */
  async scrollThrough(): Promise<void> {
    for (const fraction of [0.8, -0.8]) {
      while (await this.#page.evaluate(scrollBy, fraction)) {
        await this.#page.waitForTimeout(FRAME_MILLISECONDS);
      }
    }
  }

  /**
   * Zooms into a chart with the mouse.
   *
   * @param index Which chart of the notebook.
   * @returns The ranges of its horizontal axis before and after.
   */
  async zoom(index: number): Promise<{ before: unknown; after: unknown }> {
    const chart = this.#page.locator(".js-plotly-plot").nth(index);
    await chart.scrollIntoViewIfNeeded();
    const before = await chart.evaluate(horizontalRange);
    await this.#drag(chart.locator(".nsewdrag").first());
    await this.#page.waitForTimeout(QUIET_MILLISECONDS);
    return { before, after: await chart.evaluate(horizontalRange) };
  }

  /**
   * Takes pictures of the whole notebook, one below the other: `NAME_1.png` and so on.
   *
   * @param name The start of their names.
   */
  async screenshots(name: string): Promise<void> {
    await removeScreenshots(name);
    const size = this.#page.viewportSize()!;
    await this.#page.setViewportSize({ ...size, height: PICTURE_PIXELS });
    // JupyterLab takes its time to fill a larger window.
    await this.#page.waitForTimeout(QUIET_MILLISECONDS);
    await this.#page.evaluate(scrollToTop);
    const panel = (await this.#page.locator(".jp-WindowedPanel-outer").boundingBox())!;
    let isWhole = false;
    for (let n = 1; !isWhole; n++) {
      await this.#page.waitForTimeout(QUIET_MILLISECONDS);
      const below = Math.ceil(await this.#page.evaluate(heightBelow));
      await this.#page.screenshot({
        path: `${SCREENSHOTS}${name}_${n}.png`,
        clip: { ...panel, height: Math.max(1, Math.min(panel.height, below)) },
      });
      isWhole = below <= panel.height || !await this.#page.evaluate(scrollBy, 1);
    }
    await this.#page.setViewportSize(size);
  }

  /** Closes the page and ends all kernels. */
  async close(): Promise<void> {
    await this.#page.close();
    await endKernels(this.#lab);
  }

  async #menu(menu: string, entry: string): Promise<void> {
    await this.#page.locator(".lm-MenuBar-itemLabel").getByText(menu, { exact: true }).click();
    await this.#page.locator(".lm-Menu-itemLabel").getByText(entry, { exact: true }).click();
  }

  async #drag(area: Locator): Promise<void> {
    const { x, y, width, height } = (await area.boundingBox())!;
    await this.#page.mouse.move(x + width * 0.3, y + height * 0.3);
    await this.#page.mouse.down();
    await this.#page.mouse.move(x + width * 0.7, y + height * 0.7, { steps: 5 });
    await this.#page.mouse.up();
  }
}

/**
 * Opens a notebook in a page of its own.
 *
 * @param session Server and browser.
 * @param file The notebook's file.
 * @returns The page, once its kernel answers.
 */
export async function openNotebook(
  { context, lab }: LabSession,
  file: string,
): Promise<NotebookPage> {
  const page = await context.newPage();
  const count = outputsOf(readNotebook(COPIES + file)).length;
  const notebook = new NotebookPage(page, lab, count);
  // `reset` forgets the layout of the pages before.
  await page.goto(`${lab.base}lab/tree/${file}?token=${lab.token}&reset`);
  await notebook.ready();
  return notebook;
}

/** Removes those of a longer notebook. */
async function removeScreenshots(name: string): Promise<void> {
  await Deno.mkdir(SCREENSHOTS, { recursive: true });
  for await (const file of Deno.readDir(SCREENSHOTS)) {
    if (file.name.startsWith(`${name}_`)) await Deno.remove(SCREENSHOTS + file.name);
  }
}
