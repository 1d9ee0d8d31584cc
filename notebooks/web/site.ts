/** The page's files: what a browser is given, whether by our server or by any other. */
import { SetupError } from "../../gpu/setup/install.ts";
import { plotlySource } from "../display/static/plotly.ts";
import { NOTEBOOKS, ROOT } from "../jupyter/paths.ts";

/** A file as a server sends it. */
export interface SiteFile {
  /** Its name, without a folder. */
  readonly name: string;
  /** Its MIME type. */
  readonly type: string;
  /** Its text. */
  readonly text: string;
}

const FOLDER = `${NOTEBOOKS}web/`;

/**
 * Makes all files of the page: the program and the library are bundled into one, plotly.js comes from npm.
 *
 * @returns The files; `index.html` is the page.
 * @throws {SetupError} If the program cannot be bundled; the text has what the bundler says.
 */
export async function makeSite(): Promise<SiteFile[]> {
  const script = "text/javascript; charset=utf-8";
  const [html, css, program, plotly] = await Promise.all([
    Deno.readTextFile(`${FOLDER}index.html`),
    Deno.readTextFile(`${FOLDER}style.css`),
    bundle(`${FOLDER}main.ts`),
    plotlySource(),
  ]);
  return [
    { name: "index.html", type: "text/html; charset=utf-8", text: html },
    { name: "style.css", type: "text/css; charset=utf-8", text: css },
    { name: "main.js", type: script, text: program },
    { name: "plotly.min.js", type: script, text: plotly },
  ];
}

/**
 * A server's answers. Nothing but the given files can be reached, whatever the path looks like.
 *
 * @param files The files; `index.html` stands for the root as well.
 * @returns The handler.
 */
export function siteHandler(files: readonly SiteFile[]): (request: Request) => Response {
  const byPath = new Map(files.map((file) => [`/${file.name}`, file]));
  return ({ method, url }) => {
    if (method !== "GET" && method !== "HEAD") {
      return new Response("Only GET and HEAD are answered here\n", {
        status: 405,
        headers: { allow: "GET, HEAD" },
      });
    }
    const { pathname } = new URL(url);
    const file = byPath.get(pathname === "/" ? "/index.html" : pathname);
    if (!file) return new Response("There is no such file here\n", { status: 404 });
    return new Response(method === "HEAD" ? null : file.text, {
      headers: {
        "content-type": file.type,
        "x-content-type-options": "nosniff",
        // The next start of the server may bring another version.
        "cache-control": "no-store",
      },
    });
  };
}

/**
 * Writes the files, for any server of static files.
 *
 * @param files The files.
 * @param folder Where to; made if it is missing.
 */
export async function writeSite(files: readonly SiteFile[], folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  for (const { name, text } of files) await Deno.writeTextFile(`${folder}/${name}`, text);
}

async function bundle(entryPoint: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    // Errors name the classes of masks.
    args: [
      ...["bundle", "--quiet", "--platform", "browser", "--minify", "--keep-names"],
      entryPoint,
    ],
    // deno.json, which maps the package's name to its sources, is found from here.
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  if (success) return decoder.decode(stdout);
  throw new SetupError(`Cannot bundle ${entryPoint}:\n${decoder.decode(stderr).trim()}`);
}
