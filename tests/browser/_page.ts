/** A server for a page, and a page that runs bundles of test files. */
import type { BrowserContext } from "playwright-core";
import { fixtureNames, readFixture } from "./bundle.ts";
import type { Outcome } from "./harness.ts";

/** The page's icon is none, or the browser would ask for one and complain. */
const PAGE = `<!doctype html><html lang="en"><meta charset="utf-8"><title>Tests</title>
<link rel="icon" href="data:,"><body></body></html>`;

/** Some tests need shared memory, which browsers give to pages alone that say this. */
const ISOLATED = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** A file's tests may take this long together; the slowest takes a tenth of it on two cores. */
const FILE_MILLISECONDS = 600_000;

/** A server that is running. */
export interface PageServer extends AsyncDisposable {
  /** Address of the empty page, with a slash at its end; `isolated` behind it gives one with shared memory. */
  readonly base: string;
}

/**
 * Serves an empty page, a folder of modules and the tests' fixtures, to this computer alone. Pages from
 * 127.0.0.1 are secure ones, which WebGPU needs.
 *
 * @param folder The folder.
 */
export function servePage(folder: string): PageServer {
  const server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    if (pathname === "/") return answer(PAGE, "text/html");
    if (pathname === "/isolated") return answer(PAGE, "text/html", ISOLATED);
    if (pathname.startsWith("/fixtures/")) {
      return answer(readFixture(pathname.slice("/fixtures/".length)), "application/octet-stream");
    }
    try {
      return answer(Deno.readFileSync(folder + pathname), "text/javascript");
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return new Response(null, { status: 404 });
      throw error;
    }
  });
  return {
    base: `http://127.0.0.1:${server.addr.port}/`,
    [Symbol.asyncDispose]: () => server.shutdown(),
  };
}

function answer(
  body: string | Uint8Array<ArrayBuffer>,
  type: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return new Response(body, { headers: { "content-type": type, ...headers } });
}

/** What came of a file. */
export interface FileRun {
  /** How each of its tests went. */
  readonly outcomes: readonly Outcome[];
  /** What else the page told: on its console, of any kind, and errors that nobody caught. */
  readonly problems: readonly string[];
}

/**
 * Runs a bundle of a test file in a page of its own, as Deno runs every file in a realm of its own.
 *
 * @param context The browser's window.
 * @param base Address of the server.
 * @param path Path of the bundle on it.
 */
export async function runInPage(
  context: BrowserContext,
  base: string,
  path: string,
): Promise<FileRun> {
  const page = await context.newPage();
  const problems: string[] = [];
  // Uncaptured errors and warnings of WebGPU come this way too.
  page.on("console", (message) => problems.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.stack ?? error}`));
  page.on("crash", () => problems.push("the page crashed"));
  try {
    await page.goto(`${base}isolated`);
    const outcomes = await within(
      FILE_MILLISECONDS,
      page.evaluate(run, { path, names: fixtureNames() }),
    );
    return { outcomes, problems };
  } finally {
    await page.close();
  }
}

/** Runs in the page. */
async function run(
  { path, names }: { path: string; names: readonly string[] },
): Promise<Outcome[]> {
  const address = "/harness.js";
  const harness: typeof import("./harness.ts") = await import(address);
  const runFile = await harness.prepareTestsInPage(names);
  return await runFile(path);
}

async function within<T>(milliseconds: number, promise: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`The page has not ended within ${milliseconds} ms`)),
      milliseconds,
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
