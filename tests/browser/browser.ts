/**
 * The project's own test files in headless Chromium, unchanged, and a user's program bundled as README
 * says. A picture of the results is in `.cache/browser/`.
 *
 *     deno test -A tests/browser/browser.ts
 */
import { assertEquals, assertGreater, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { type ChromiumSession, startChromium, WEBGPU_FLAGS } from "./_chromium.ts";
import { type PageServer, runInPage, servePage } from "./_page.ts";
import { bundleProgram, bundleTests, CACHE, makeBundleFolder } from "./bundle.ts";
import { declaredTests, filesElsewhere } from "./files.ts";
import { reportOutcomes } from "./outcomes.ts";
import { type FileResult, resultsPage } from "./_results_page.ts";

/** What README tells users to write. */
const PROGRAM = `
import { memoryEfficientAttention, requestDevice } from "@denoformers/attention";

const device = await requestDevice();
const query = device.randn([1, 256, 4, 32], { seed: 1 });
document.body.textContent = await memoryEfficientAttention(query, query, query).format();
`;

/** Tests of when GPU memory is given back call the garbage collector. */
const FLAGS = [...WEBGPU_FLAGS, "--js-flags=--expose-gc"];

const FILES = filesElsewhere();

describe("in Chromium", () => {
  let session: ChromiumSession;
  let server: PageServer;
  let folder: string;
  const results: FileResult[] = [];

  beforeAll(async () => {
    folder = await makeBundleFolder();
    await bundleTests(FILES, folder);
    await bundleProgram(PROGRAM, `${folder}/program`);
    server = servePage(folder);
    session = await startChromium(FLAGS);
  });

  afterAll(async () => {
    await session.close();
    await server[Symbol.asyncDispose]();
    await Deno.remove(folder, { recursive: true });
  });

  for (const file of FILES) {
    const declared = declaredTests(file);
    it(file, async (t) => {
      const start = performance.now();
      const path = `/tests/${file.replace(/\.ts$/, ".js")}`;
      const { outcomes, problems } = await runInPage(session.context, server.base, path);
      results.push({ file, outcomes, seconds: (performance.now() - start) / 1000 });
      await reportOutcomes(t, declared, outcomes);
      assertEquals(problems, []);
    });
  }

  it("a program of three lines, bundled by `deno bundle`", async () => {
    const page = await session.context.newPage();
    const problems: string[] = [];
    page.on("console", (message) => problems.push(message.text()));
    const failed = page.waitForEvent("pageerror", { timeout: 0 });
    failed.catch(() => {}); // The page is closed without one.
    await page.goto(server.base);
    await page.addScriptTag({ type: "module", url: "/program.js" });
    const shown = page.waitForFunction("document.body.textContent !== ''");
    assertEquals(await Promise.race([shown.then(() => "shown"), failed]), "shown");
    assertMatch(await page.textContent("body") ?? "", /^tensor\(\[\[\[\[ *-?\d/);
    assertEquals(problems, []);
    await page.close();
  });

  it("shows its results", async () => {
    const page = await session.context.newPage();
    await page.setContent(resultsPage(session.context.browser()!.version(), results));
    await page.screenshot({ path: `${CACHE}results.png`, fullPage: true });
    assertGreater(Deno.statSync(`${CACHE}results.png`).size, 0);
    await page.close();
  });
});
