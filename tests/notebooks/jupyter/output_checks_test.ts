import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Cell, Notebook, Output } from "../../../notebooks/jupyter/notebook_file.ts";
import { outputViolations, sizeViolations } from "../../../notebooks/jupyter/output_checks.ts";

const HASH = "abc";
const RUN = "run `deno task notebook:run`";
const PNG = { "image/png": "iVBORw==", "text/plain": "a figure" };

function cell(count: number, ...outputs: Output[]): Cell {
  const id = `cell-0${count}`;
  return { cell_type: "code", id, source: "f();", execution_count: count, outputs };
}

function display(data: Output["data"]): Output {
  return { output_type: "display_data", data: data! };
}

/** A notebook as it should be, but for the changes. */
function notebook(changes: Partial<Notebook> = {}): Notebook {
  return {
    nbformat: 4,
    nbformat_minor: 5,
    metadata: {
      kernelspec: { display_name: "Deno", language: "typescript", name: "deno" },
      denoformers: { codeHash: HASH },
    },
    cells: [
      { cell_type: "markdown", id: "title", source: "# Title" },
      cell(1, { output_type: "stream", name: "stdout", text: ["a\n"] }),
      cell(2, display({ ...PNG, "application/vnd.plotly.v1+json": { data: [] } })),
    ],
    ...changes,
  };
}

function found(changes: Partial<Notebook>): string[] {
  return outputViolations(notebook(changes), HASH);
}

/** What is found where the second code cell has these outputs. */
function foundIn(...outputs: Output[]): string[] {
  return found({ cells: [cell(1), cell(2, ...outputs)] });
}

describe("outputViolations() on the form", () => {
  it("finds nothing in a notebook as it should be", () => {
    assertEquals(found({}), []);
  });

  it("finds another version of the format", () => {
    const lines = ["the format is 4.4, expected 4.5: save it in JupyterLab"];
    assertEquals(found({ nbformat_minor: 4 }), lines);
  });

  it("finds another kernel", () => {
    const { denoformers } = notebook().metadata!;
    const kernelspec = { display_name: "Python 3", language: "python", name: "python3" };
    const [line, ...others] = found({ metadata: { kernelspec, denoformers: denoformers! } });
    assertEquals(line?.slice(0, 43), 'metadata.kernelspec is {"display_name":"Pyt');
    assertEquals(others, []);
  });

  it("finds cells without an id, and with one that is taken", () => {
    const { id: _, ...nameless } = cell(1);
    assertEquals(found({ cells: [nameless, cell(2), { ...cell(3), id: "cell-02" }] }), [
      'cell 1 has the id "", expected letters and digits',
      'cell 3 has the id "cell-02" of a cell before it',
    ]);
  });
});

describe("outputViolations() on the run", () => {
  it("finds outputs that are older than the code, and says no more of them", () => {
    const stale = outputViolations(notebook({ cells: [cell(7)] }), "other");
    assertEquals(stale, [`the code has changed since the outputs were made: ${RUN}`]);
  });

  it("finds outputs that no run of the whole notebook made", () => {
    const { kernelspec } = notebook().metadata!;
    assertEquals(found({ metadata: { kernelspec: kernelspec! } }), [
      `the outputs are not of a run of the whole notebook: ${RUN}`,
    ]);
  });

  it("finds cells that were not run, or in another order", () => {
    const fresh = { ...cell(2), execution_count: null };
    assertEquals(found({ cells: [cell(1), fresh] }), [`cell 2 has not been run: ${RUN}`]);
    assertEquals(found({ cells: [cell(2), cell(1)] }), [
      `cell 1 was run as number 2, expected 1: ${RUN}`,
      `cell 2 was run as number 1, expected 2: ${RUN}`,
    ]);
  });

  it("finds empty cells, which are never run", () => {
    const empty = { ...cell(9), source: " \n", execution_count: null };
    assertEquals(found({ cells: [cell(1), empty, cell(2)] }), ["cell 2 is empty: remove it"]);
  });
});

describe("outputViolations() on outputs", () => {
  it("finds errors", () => {
    assertEquals(foundIn({ output_type: "error", evalue: "a\nb" }), [
      `cell 2 ended with an error: a; mend it, and ${RUN}`,
    ]);
  });

  it("finds what was written to the error stream", () => {
    assertEquals(foundIn({ output_type: "stream", name: "stderr", text: ["w\n", "x\n"] }), [
      `cell 2 wrote "w" to its error stream: mend what it warns of, and ${RUN}`,
    ]);
  });

  it("finds scripts in HTML, and accepts HTML without", () => {
    assertEquals(foundIn(display({ "text/html": ["<p>\n", "<SCRIPT src=x>"] })), [
      `cell 2 shows HTML with a script, which GitHub leaves out: ${RUN}`,
    ]);
    assertEquals(foundIn(display({ "text/html": "<table></table>" })), []);
  });

  it("finds SVG", () => {
    assertEquals(foundIn(display({ "image/svg+xml": "<svg/>" })), [
      "cell 2 shows image/svg+xml, which GitHub leaves out: show image/png instead",
    ]);
  });

  it("finds figures without a picture", () => {
    assertEquals(foundIn(display({ "application/vnd.plotly.v1+json": { data: [] } })), [
      `cell 2 shows a figure without a picture for GitHub: ${RUN}`,
    ]);
  });
});

describe("sizeViolations()", () => {
  it("finds 3 MB", () => {
    assertEquals(sizeViolations([1_500_000, 1_499_999]), []);
    assertEquals(sizeViolations([1_500_000, 1_500_000]).length, 1);
  });
});
