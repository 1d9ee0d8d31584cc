import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { chartViolations } from "../../../notebooks/jupyter/charts.ts";
import type { Notebook } from "../../../notebooks/jupyter/notebook_file.ts";

const NAME = "03_memory_sweep.ipynb";
const [MEMORY, TIME] = [Uint8Array.of(1, 2, 3), Uint8Array.of(4)];

function notebookWith(figures: Readonly<Record<string, Uint8Array>>): Notebook {
  const outputs = Object.entries(figures).map(([title, png]) => ({
    output_type: "display_data",
    data: { "image/png": png.toBase64(), "text/plain": [`[plot: ${title}] scatter (3 points)`] },
  }));
  return { nbformat: 4, cells: [{ cell_type: "code", source: "", outputs }] };
}

const COMPLETE = notebookWith({
  "Peak memory of attention, forward and backward": TIME,
  "Peak memory of attention, forward": MEMORY,
  "Time of attention, forward": TIME,
});

describe("chartViolations()", () => {
  it("finds nothing where the files are the figures", () => {
    const read = (file: string) => file === "memory" ? MEMORY : TIME;
    assertEquals(chartViolations(NAME, COMPLETE, read), []);
    assertEquals(chartViolations("04_training.ipynb", notebookWith({}), read), []);
  });

  it("finds a file that is missing or another picture", () => {
    const found = chartViolations(NAME, COMPLETE, (file) => file === "memory" ? TIME : undefined);
    const remedy = "run `deno task notebook:run`";
    assertEquals(found, [
      `charts/memory.png is not the figure "Peak memory of attention, forward": ${remedy}`,
      `charts/time.png is not the figure "Time of attention, forward": ${remedy}`,
    ]);
  });

  it("finds a figure that the notebook has no more", () => {
    const notebook = notebookWith({ "Time of attention, forward": TIME });
    assertEquals(chartViolations(NAME, notebook, () => TIME), [
      'has no figure "Peak memory of attention, forward", which README shows',
    ]);
  });
});
