import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { beforeAll, describe, it } from "@std/testing/bdd";
import { UsageError } from "../../../notebooks/command_line.ts";
import { ROOT } from "../../../notebooks/jupyter/paths.ts";
import { openCommand } from "../../../notebooks/web/open_in_browser.ts";
import { parseServeOptions, SERVE_USAGE } from "../../../notebooks/web/serve_options.ts";
import { makeSite, type SiteFile, siteHandler, writeSite } from "../../../notebooks/web/site.ts";

/** A start bundles, which takes a second; this is for machines that do much else. */
const START_MILLISECONDS = 60_000;

describe("parseServeOptions()", () => {
  it("serves on port 8000 by default", () => {
    const defaults = { port: 8000, noBrowser: false, out: undefined, help: false };
    assertEquals(parseServeOptions([]), defaults);
  });

  it("takes every flag that the usage names", () => {
    const flags = [...SERVE_USAGE.matchAll(/^ {2}--([\w-]+)/gm)].map(([, name]) => name);
    assertEquals(flags, ["port", "no-browser", "out", "help"]);
    assertEquals(parseServeOptions(["--port=0", "--no-browser", "--out", "site", "-h"]), {
      port: 0,
      noBrowser: true,
      out: "site",
      help: true,
    });
  });

  it("refuses what it does not know", () => {
    const cases: [args: string[], message: string][] = [
      [["--port", "65536"], '--port is "65536", expected a whole number from 0 to 65535'],
      [["--port="], '--port is "", expected a whole number'],
      [["--port", "1e3"], '--port is "1e3", expected'],
      [["--out="], '--out is "", expected a folder'],
      [["--host", "0.0.0.0"], "Unknown option '--host'"],
      [["site"], "Unexpected argument 'site'"],
    ];
    for (const [args, message] of cases) {
      assertThrows(() => parseServeOptions(args), UsageError, message);
    }
  });
});

describe("openCommand()", () => {
  it("is the system's own way", () => {
    const url = "http://127.0.0.1:8000/";
    assertEquals(openCommand("darwin", url), ["open", url]);
    assertEquals(openCommand("windows", url), ["rundll32", "url.dll,FileProtocolHandler", url]);
    assertEquals(openCommand("linux", url), ["xdg-open", url]);
  });
});

describe("the page's files", () => {
  let files: SiteFile[];

  beforeAll(async () => {
    files = await makeSite();
  });

  const textOf = (name: string) => files.find((file) => file.name === name)!.text;

  it("are all that the page names", () => {
    const named = [...textOf("index.html").matchAll(/(?:src|href)="([^"]+)"/g)]
      .map(([, name]) => name!).filter((name) => !name.startsWith("data:"));
    assertEquals(named.toSorted(), ["main.js", "plotly.min.js", "style.css"]);
    assertEquals(files.map(({ name }) => name).toSorted(), ["index.html", ...named.toSorted()]);
  });

  it("hold the library, which needs nothing from elsewhere", () => {
    const program = textOf("main.js");
    assertStringIncludes(program, "maxStorageBufferBindingSize");
    assertEquals(/(?:^|[;}\n])import\b|\bimport\(/.test(program), false);
    for (const name of ["index.html", "style.css"]) {
      assertEquals(textOf(name).includes("//"), false, name);
    }
  });

  it("have every element that the program asks for", async () => {
    const ids = new Set([...textOf("index.html").matchAll(/\bid="([^"]+)"/g)].map(([, id]) => id));
    const view = await Deno.readTextFile(`${ROOT}notebooks/web/view.ts`);
    const asked = [...view.matchAll(/element\("([^"]+)"\)/g)].map(([, id]) => id);
    assert(asked.length > 10);
    for (const id of asked) assert(ids.has(id), id);
  });

  it("are served with their types, and nothing else is", async () => {
    const handler = siteHandler(files);
    const get = (path: string, method = "GET") =>
      handler(new Request(`http://127.0.0.1${path}`, { method }));
    const types = {
      "/": "text/html",
      "/index.html": "text/html",
      "/style.css": "text/css",
      "/main.js": "text/javascript",
      "/plotly.min.js?v=1": "text/javascript",
    };
    for (const [path, type] of Object.entries(types)) {
      const response = get(path);
      assertEquals(response.status, 200, path);
      assertEquals(response.headers.get("content-type"), `${type}; charset=utf-8`);
      assertEquals(response.headers.get("x-content-type-options"), "nosniff");
    }
    assertEquals(await get("/").text(), textOf("index.html"));
    const elsewhere = [
      "/serve.ts",
      "/../serve.ts",
      "/..%2fserve.ts",
      "/%2e%2e/%2e%2e/deno.json",
      "/..\\..\\deno.json",
      "//etc/passwd",
      "/main.js/",
      "/__proto__",
      "/constructor",
    ];
    for (const path of elsewhere) assertEquals(get(path).status, 404, path);
    assertEquals(get("/", "POST").status, 405);
    assertEquals(await get("/", "HEAD").text(), "");
  });

  it("can be written for another server", async () => {
    const folder = await Deno.makeTempDir();
    try {
      await writeSite(files, `${folder}/a/b`);
      for (const { name, text } of files) {
        assertEquals(await Deno.readTextFile(`${folder}/a/b/${name}`), text);
      }
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  });
});

describe("the program that serves the page", () => {
  it("takes another port where its own is taken, and ends by a signal", async () => {
    const other = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const server = new Deno.Command(Deno.execPath(), {
      args: [
        ...["run", "-A", `${ROOT}notebooks/web/serve.ts`, "--no-browser"],
        ...["--port", String(other.addr.port)],
      ],
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const deadline = setTimeout(() => server.kill("SIGKILL"), START_MILLISECONDS);
    try {
      let said = "";
      const decoder = new TextDecoder();
      let url: string | undefined;
      for await (const chunk of server.stdout.values({ preventCancel: true })) {
        said += decoder.decode(chunk, { stream: true });
        url = /http:\S+/.exec(said)?.[0];
        if (url && said.includes("Ctrl-C")) break;
      }
      assertMatch(url!, /^http:\/\/127\.0\.0\.1:\d+\/$/);
      assert(!url!.includes(`:${other.addr.port}/`));
      const response = await fetch(url!);
      assertStringIncludes(await response.text(), "<h1>");
    } finally {
      clearTimeout(deadline);
      server.kill("SIGTERM");
      await server.stdout.cancel();
      other.close();
    }
    // Windows ends a process at once.
    if (Deno.build.os !== "windows") assertEquals((await server.status).code, 0);
    else await server.status;
  });
});
