/**
 * Every notebook runs from top to bottom in a real Jupyter, and shows there what is committed.
 *
 *     deno test -A tests/jupyter/execution.ts
 */
import { assert, assertEquals, assertGreater } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { ensureJupyter } from "../../notebooks/jupyter/ensure_jupyter.ts";
import { executeNotebook } from "../../notebooks/jupyter/execute.ts";
import { fileName, notebooksIn, readNotebook } from "../../notebooks/jupyter/notebook_file.ts";
import { NOTEBOOKS, ROOT } from "../../notebooks/jupyter/paths.ts";
import { outputStructure } from "./_structure.ts";

/** On two cores a notebook takes less than one minute, on SwiftShader three. */
const NOTEBOOK_SECONDS = 300;
const CELL_SECONDS = 150;
/** Ignored by git, and kept: outputs in full for whoever wants to know what was shown. */
const EXECUTED = `${ROOT}.cache/notebooks/executed/`;

const jupyter = await ensureJupyter();
Deno.mkdirSync(EXECUTED, { recursive: true });

describe("the notebooks", () => {
  const notebooks = notebooksIn(NOTEBOOKS);

  it("are there", () => assertGreater(notebooks.length, 0));

  for (const notebook of notebooks) {
    const name = fileName(notebook);
    it(`run to the end and show what is committed: ${name}`, async () => {
      const out = EXECUTED + name;
      const { ok, messages } = await executeNotebook(jupyter, {
        notebook,
        out,
        cellSeconds: CELL_SECONDS,
        seconds: NOTEBOOK_SECONDS,
        env: { DENOFORMERS_NOTEBOOK_SIZE: "small" },
        quiet: true,
      });
      assert(ok, messages);
      assertEquals(
        outputStructure(readNotebook(out)),
        outputStructure(readNotebook(notebook)),
        `${name} shows other kinds of output than are committed: run \`deno task notebook:run\``,
      );
    });
  }
});
