// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Serves the page that measures attention in the browser: the task `web`.
 *
 *     deno run -A notebooks/web/serve.ts [--help]
 */
import { hasDisplay } from "../jupyter/lab_options.ts";
import { runProgram } from "../jupyter/program.ts";
import { openInBrowser } from "./open_in_browser.ts";
import { parseServeOptions, SERVE_USAGE } from "./serve_options.ts";
import { makeSite, siteHandler, writeSite } from "./site.ts";

async function main(args: readonly string[]): Promise<number> {
  const { port, noBrowser, out, help } = parseServeOptions(args);
  if (help) {
    console.log(SERVE_USAGE.trimEnd());
    return 0;
  }
  const files = await makeSite();
  if (out !== undefined) {
    await writeSite(files, out);
    console.log(`Wrote ${files.map(({ name }) => name).join(", ")} to ${out}`);
    return 0;
  }
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    // Windows has no such signal to listen to.
    if (signal === "SIGTERM" && Deno.build.os === "windows") continue;
    Deno.addSignalListener(signal, () => stop.abort());
  }
  const server = serve(siteHandler(files), port, stop.signal);
  const url = `http://127.0.0.1:${server.addr.port}/`;
  const opens = !noBrowser && hasDisplay(Deno.build.os, Deno.env.toObject()) &&
    openInBrowser(url);
  console.log(`The page is at${opens ? "" : " this address; open it in a browser"}:

    ${url}

Ctrl-C stops the server.`);
  await server.finished;
  return 0;
}

/** Listens to this computer alone. */
function serve(
  handler: (request: Request) => Response,
  port: number,
  signal: AbortSignal,
): Deno.HttpServer<Deno.NetAddr> {
  const listen = (port: number) =>
    Deno.serve({ hostname: "127.0.0.1", port, signal, onListen: () => {} }, handler);
  try {
    return listen(port);
  } catch (error) {
    if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    return listen(0);
  }
}

if (import.meta.main) await runProgram(main);
