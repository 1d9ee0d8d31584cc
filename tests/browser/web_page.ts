/**
 * The page `notebooks/web/` in a headless Chromium, with WebGPU on the SwiftShader that Chromium brings: run,
 * stopped, misused, without WebGPU, with a device that is lost. Pictures are in `.cache/browser/`.
 *
 *     deno test -A tests/browser/web_page.ts
 */
import {
  assert,
  assertAlmostEquals,
  assertEquals,
  assertGreater,
  assertLess,
  assertStringIncludes,
} from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import type { Page } from "playwright-core";
import { ROOT } from "../../notebooks/jupyter/paths.ts";
import { makeSite, siteHandler } from "../../notebooks/web/site.ts";
import { type ChromiumSession, startChromium, STEP_MILLISECONDS } from "./_chromium.ts";

/** A sweep to 1,024 tokens takes some seconds on two cores, most of it to compile. */
const RUN_MILLISECONDS = 120_000;
const SCREENSHOTS = `${ROOT}.cache/browser/`;

let server: Deno.HttpServer<Deno.NetAddr>;
let session: ChromiumSession;

/** A page, and what it complained of in its console. */
interface OpenPage extends AsyncDisposable {
  readonly page: Page;
  readonly problems: string[];
}

/** Opens the page in a tab of its own. `before` runs in it before its own scripts. */
async function openPage(before?: string): Promise<OpenPage> {
  const page = await session.context.newPage();
  const problems: string[] = [];
  page.on("pageerror", (error) => void problems.push(`error in a script: ${error.stack}`));
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`error in the console: ${message.text()}`);
  });
  if (before !== undefined) await page.addInitScript({ content: before });
  await page.goto(`http://127.0.0.1:${server.addr.port}/`);
  return { page, problems, [Symbol.asyncDispose]: () => page.close() };
}

/** Waits until the line of status begins with a text. */
async function untilStatus(page: Page, text: string): Promise<void> {
  const status = page.locator("#status", { hasText: new RegExp(`^\\s*${text}`) });
  await status.waitFor({ timeout: RUN_MILLISECONDS });
}

/** Waits until the table has a row. */
async function untilFirstPoint(page: Page): Promise<void> {
  await page.locator("#points tbody tr").first().waitFor({ timeout: RUN_MILLISECONDS });
}

async function startRun(page: Page, fields: Readonly<Record<string, string>>): Promise<void> {
  await untilStatus(page, "Ready");
  for (const [label, value] of Object.entries(fields)) {
    const field = page.getByLabel(label);
    if (label === "Largest N") await field.fill(value);
    else await field.selectOption(value);
  }
  await page.getByRole("button", { name: "Run" }).click();
}

/** The cells of a table's rows, as texts. */
async function rowsOf(page: Page, table: string): Promise<string[][]> {
  const rows = await page.locator(`#${table} tbody tr`).all();
  return await Promise.all(rows.map((row) => row.locator("td").allTextContents()));
}

/** How many marks plotly.js has drawn in a chart. */
function marks(page: Page, chart: string): Promise<number> {
  return page.locator(`#${chart} .scatterlayer path.point`).count();
}

async function screenshot(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${SCREENSHOTS}${name}.png`, fullPage: true });
}

describe("the page of the memory sweep", () => {
  beforeAll(async () => {
    const files = await makeSite();
    await Deno.mkdir(SCREENSHOTS, { recursive: true });
    server = Deno.serve(
      { hostname: "127.0.0.1", port: 0, onListen: () => {} },
      siteHandler(files),
    ) as Deno.HttpServer<Deno.NetAddr>;
    session = await startChromium();
  });

  afterAll(async () => {
    await session?.close();
    await server?.shutdown();
  });

  it("measures both ways, and draws each point in both charts", async () => {
    await using opened = await openPage();
    const { page, problems } = opened;
    await startRun(page, { "Largest N": "1024" });
    await untilStatus(page, "Done: 6 points");

    const points = await rowsOf(page, "points");
    assertEquals(points.map(([tokens]) => tokens), ["256", "256", "512", "512", "1k", "1k"]);
    for (const [, way, peak, time, error, note] of points) {
      assertEquals(note, "rows agree with float64", way);
      assert(/^[\d.]+ [KM]iB$/.test(peak!), peak);
      assert(/^[\d.]+ (ms|s)$/.test(time!), time);
      // Of f32; the page's own bound is wider, since its sequences may be far longer.
      assertLess(Number(error), 1e-5);
    }
    assertEquals(await marks(page, "memory-chart"), 6);
    assertEquals(await marks(page, "time-chart"), 6);

    const exponents = new Map((await rowsOf(page, "exponents")).map(([way, memory]) => [
      way,
      Number(memory!.replace("N^", "")),
    ]));
    // Memory is counted, not measured: beside the laws there are only a few numbers a row.
    assertAlmostEquals(exponents.get("memory-efficient")!, 1, 0.05);
    assertAlmostEquals(exponents.get("formula")!, 2, 0.05);

    const facts = await page.locator("#facts").innerText();
    for (const text of ["swiftshader", "Chrome", "largest binding"]) {
      assertStringIncludes(facts, text);
    }
    await picturesOf(page);
    assertEquals(problems, []);
  });

  it("measures training, a mask and half types", async () => {
    await using opened = await openPage();
    const { page, problems } = opened;
    const right = new Array(2).fill("rows agree with float64");
    const notes = async () => (await rowsOf(page, "points")).map((row) => row.at(-1));
    await startRun(page, { "Largest N": "256", "Mask": "packed", "Element type": "bf16" });
    await untilStatus(page, "Done: 2 points");
    assertEquals(await notes(), right);
    assertStringIncludes(await page.locator("#subject").innerText(), "bf16, forward, mask: packed");

    await page.getByLabel("Mask").selectOption("window");
    await page.getByLabel("Element type").selectOption("f32");
    await page.getByLabel("Pass").selectOption("true");
    await page.getByRole("button", { name: "Run" }).click();
    await untilStatus(page, "Measuring");
    await untilStatus(page, "Done: 2 points");
    assertEquals(await notes(), right);
    assertStringIncludes(await page.locator("#subject").innerText(), "forward and backward");
    assertEquals(problems, []);
  });

  it("stops between two runs, and can run again", async () => {
    await using opened = await openPage();
    const { page, problems } = opened;
    await startRun(page, { "Largest N": "65536" });
    await untilFirstPoint(page);
    await page.getByRole("button", { name: "Stop" }).click();
    await untilStatus(page, "Stopped");
    assertLess((await rowsOf(page, "points")).length, 18);
    assertEquals(await page.getByRole("button", { name: "Stop" }).isDisabled(), true);

    await page.getByLabel("Largest N").fill("256");
    await page.getByLabel("Largest N").press("Enter");
    await untilStatus(page, "Done: 2 points");
    assertEquals((await rowsOf(page, "points")).length, 2);
    assertEquals(await page.locator("#error").isVisible(), false);
    assertEquals(problems, []);
  });

  it("refuses a wrong N beside its field, and measures nothing", async () => {
    await using opened = await openPage();
    const { page, problems } = opened;
    for (const wrong of ["", "abc", "-5", "1e4", "255", "262145"]) {
      await startRun(page, { "Largest N": wrong });
      assertEquals(await page.locator("#complaint").isVisible(), true);
      assertStringIncludes(
        await page.locator("#complaint").innerText(),
        `largest N is "${wrong}", expected a whole number from 256 to 262144`,
      );
      assertEquals(await page.locator("#longest").getAttribute("aria-invalid"), "true");
      assertEquals(await page.locator("#results").isVisible(), false);
    }
    await screenshot(page, "wrong_n");
    await startRun(page, { "Largest N": "256" });
    await untilStatus(page, "Measuring");
    assertEquals(await page.locator("#complaint").isVisible(), false);
    assertEquals(problems, []);
  });

  it("says what to do in a browser without WebGPU", async () => {
    await using opened = await openPage(`
      globalThis.gpuOfTest = Object.getOwnPropertyDescriptor(Navigator.prototype, "gpu");
      delete Navigator.prototype.gpu;
    `);
    const { page, problems } = opened;
    await untilStatus(page, "Ended by an error");
    const error = await page.locator("#error").innerText();
    for (const text of ["No usable GPU", "navigator.gpu is missing", "Chrome and Edge"]) {
      assertStringIncludes(error, text);
    }
    assertEquals(
      await page.getByRole("button", { name: "Request a new device" }).isVisible(),
      true,
    );
    await screenshot(page, "no_webgpu");
    assertEquals(problems, []);
  });

  it("shows that the device was lost, and goes on with a new one", async () => {
    await using opened = await openPage(`
      const { requestDevice } = GPUAdapter.prototype;
      GPUAdapter.prototype.requestDevice = async function (...args) {
        return globalThis.deviceOfTest = await requestDevice.apply(this, args);
      };
    `);
    const { page, problems } = opened;
    await startRun(page, { "Largest N": "65536" });
    await untilFirstPoint(page);
    await page.evaluate("deviceOfTest.destroy()");
    await untilStatus(page, "Ended by an error");
    const error = await page.locator("#error").innerText();
    assertStringIncludes(error, "The GPU device was lost");
    assertStringIncludes(error, "request a new device");
    await screenshot(page, "device_lost");

    assertEquals(
      await page.getByRole("button", { name: "Request a new device" }).isVisible(),
      true,
    );
    // Run asks for a new one too.
    await page.getByLabel("Largest N").fill("256");
    await page.getByRole("button", { name: "Run" }).click();
    await untilStatus(page, "Measuring");
    await untilFirstPoint(page);
    assertEquals(await page.locator("#error").isVisible(), false);
    assertEquals(problems, []);
  });

  it("shows errors that nobody caught", async () => {
    await using opened = await openPage();
    const { page } = opened;
    await untilStatus(page, "Ready");
    await page.evaluate(`void setTimeout(() => { throw new Error("of a timer") })`);
    await page.evaluate(`void Promise.reject(new Error("of a promise"))`);
    const error = page.locator("#error");
    await error.getByText("of a timer").waitFor();
    await error.getByText("of a promise").waitFor();
  });

  it("shows the numbers where plotly.js is missing", async () => {
    await session.context.route("**/plotly.min.js", (route) => route.abort());
    try {
      await using opened = await openPage();
      const { page } = opened;
      await startRun(page, { "Largest N": "256" });
      await untilFirstPoint(page);
      assertStringIncludes(
        await page.locator("#memory-chart").innerText(),
        "plotly.js did not load",
      );
    } finally {
      await session.context.unroute("**/plotly.min.js");
    }
  });

  it("reaches for nothing but its own server", async () => {
    await using opened = await openPage();
    const { page, problems } = opened;
    await untilStatus(page, "Ready");
    const blocked = await page.evaluate(
      `fetch("http://127.0.0.1:9/").then(() => "sent", (error) => error.name)`,
    );
    assertEquals(blocked, "TypeError");
    assertGreater(problems.filter((text) => text.includes("Content Security Policy")).length, 0);
  });
});

/** Both widths in both colour schemes; nothing may be wider than the window. */
async function picturesOf(page: Page): Promise<void> {
  for (const width of [380, 1280]) {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.setViewportSize({ width, height: 900 });
      await page.emulateMedia({ colorScheme });
      await untilDrawnAnew(page);
      const overflow = await page.evaluate(
        `document.documentElement.scrollWidth - document.documentElement.clientWidth`,
      );
      assertEquals(overflow, 0, `pixels beyond the window of ${width}`);
      await screenshot(page, `sweep_${width}_${colorScheme}`);
    }
  }
}

/** plotly.js follows the window once that has come to rest. The page's policy rules out waitForFunction(). */
async function untilDrawnAnew(page: Page): Promise<void> {
  const isDrawn = `[...document.querySelectorAll(".chart")].every((chart) =>
    chart.querySelector("svg.main-svg").clientWidth === chart.clientWidth)`;
  const deadline = Date.now() + STEP_MILLISECONDS;
  while (!await page.evaluate(isDrawn)) {
    assertLess(Date.now(), deadline, "charts keep another width than their places");
    await page.waitForTimeout(100);
  }
}
