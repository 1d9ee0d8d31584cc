/**
 * A notebook outside of this repository works with one line changed: the import then names the published
 * package. Here a server on this computer stands in for JSR.
 *
 *     deno test -A tests/jupyter/outside.ts
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { afterEach, beforeEach, describe, it } from "@std/testing/bdd";
import { runCommand } from "../../gpu/setup/command.ts";
import { ensureJupyter } from "../../notebooks/jupyter/ensure_jupyter.ts";
import { executeNotebook } from "../../notebooks/jupyter/execute.ts";
import { joined, type Notebook, readNotebook } from "../../notebooks/jupyter/notebook_file.ts";
import { NOTEBOOKS } from "../../notebooks/jupyter/paths.ts";
import { type PackageServer, servePackage } from "./_package_server.ts";
import { outputStructure } from "./_structure.ts";

const SPECIFIER = '"@denoformers/attention/notebook"';
const NOTEBOOK_SECONDS = 300;

const jupyter = await ensureJupyter();

describe("a notebook in a folder of its own", () => {
  let folder: string;
  let server: PackageServer;

  beforeEach(() => {
    folder = Deno.makeTempDirSync();
    server = servePackage();
  });

  afterEach(async () => {
    await server.stop();
    Deno.removeSync(folder, { recursive: true });
    await forget(server.url);
  });

  /** Runs a notebook whose import is changed to name the server. */
  async function run(notebook: Notebook): Promise<Notebook> {
    const parts = JSON.stringify(notebook.cells.map(({ source, ...cell }) => ({
      ...cell,
      source: joined(source),
    }))).split(JSON.stringify(SPECIFIER).slice(1, -1));
    assertEquals(parts.length, 2, "The specifier is not in one place alone");
    const url = JSON.stringify(`"${server.url}notebooks/display/mod.ts"`).slice(1, -1);
    const path = `${folder}/notebook.ipynb`;
    Deno.writeTextFileSync(
      path,
      JSON.stringify({ ...notebook, cells: JSON.parse(parts.join(url)) }),
    );
    const { ok, messages } = await executeNotebook(jupyter, {
      notebook: path,
      out: path,
      seconds: NOTEBOOK_SECONDS,
      env: { DENOFORMERS_NOTEBOOK_SIZE: "small" },
      quiet: true,
    });
    assert(ok, messages);
    return readNotebook(path);
  }

  it("runs to its end, and shows what it shows in the repository", async () => {
    // The one that imports otherwise than all others.
    const notebook = readNotebook(`${NOTEBOOKS}01_installation_check.ipynb`);
    assertEquals(outputStructure(await run(notebook)), outputStructure(notebook));
  });

  it("draws figures", async () => {
    const source = `import { plot } from ${SPECIFIER};
await plot({ data: [{ type: "heatmap", z: [[1, 2], [3, 4]] }] });`;
    const cell = { cell_type: "code", id: "cell-0", metadata: {}, source, outputs: [] };
    const kernelspec = { display_name: "Deno", language: "typescript", name: "deno" };
    const { cells } = await run({
      nbformat: 4,
      nbformat_minor: 5,
      metadata: { kernelspec },
      cells: [{ ...cell, execution_count: null }],
    });
    const picture = cells[0]?.outputs?.[0]?.data?.["image/png"];
    assertGreater(atob(joined(picture as string)).length, 1000);
  });
});

/** Removes from Deno's cache what it holds of a server that nobody will ask again. */
async function forget(url: string): Promise<void> {
  const { stdout } = await runCommand([Deno.execPath(), "info", "--json"]);
  const { hostname, port } = new URL(url);
  const cache = `${JSON.parse(stdout).denoDir}/remote/http/${hostname}_PORT${port}`;
  // Where a test failed before the kernel asked for anything there is none.
  await Deno.remove(cache, { recursive: true }).catch(() => {});
}
