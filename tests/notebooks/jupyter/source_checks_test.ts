import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { Notebook } from "../../../notebooks/jupyter/notebook_file.ts";
import {
  formatViolations,
  importViolations,
  lintViolations,
  sourceViolations,
} from "../../../notebooks/jupyter/source_checks.ts";

const IMPORT = 'import { table } from "@denoformers/attention/notebook";';

function notebook(...sources: string[]): Notebook {
  const text = { cell_type: "markdown", source: "# Title" };
  const code = sources.map((source) => ({ cell_type: "code", source }));
  return { nbformat: 4, cells: [text, ...code] };
}

describe("sourceViolations()", () => {
  it("finds nothing in a notebook as it should be", async () => {
    const sound = notebook(IMPORT, "await table([{ a: 1 }]);\nconsole.log(2);");
    assertEquals(await sourceViolations(sound), []);
  });

  it("finds what the formatter and the linter find, each by its place", async () => {
    const unsound = notebook(IMPORT, "await table([]);\nlet a = 1", "a;");
    assertEquals(await sourceViolations(unsound), [
      "cell 3, line 2: `let a = 1`, but deno fmt gives `let a = 1;`",
      "cell 3, line 2: `a` is never reassigned (deno lint: prefer-const)",
    ]);
  });

  it("leaves what cannot be parsed to the check of types", async () => {
    assertEquals(await sourceViolations(notebook(IMPORT, "const = 1;")), []);
  });
});

describe("importViolations()", () => {
  const REMEDY = 'import "@denoformers/attention/notebook" once, in the first code cell';

  it("accepts one import of the notebooks' module in the first code cell", () => {
    assertEquals(importViolations(notebook(`${IMPORT}\nimport x from "npm:x@1";`, "x;")), []);
  });

  it("finds other modules of the library, other cells, a second import, and none", () => {
    const other = 'await import("@denoformers/attention/gpu")';
    const found = [notebook(other), notebook("1;", IMPORT), notebook(IMPORT, other), notebook("1;")]
      .map(importViolations);
    assertEquals(found, [
      [`imports "@denoformers/attention/gpu" in cell 2; ${REMEDY}`],
      [`imports "@denoformers/attention/notebook" in cell 3; ${REMEDY}`],
      [
        'imports "@denoformers/attention/notebook" in cell 2, "@denoformers/attention/gpu" in ' +
        `cell 3; ${REMEDY}`,
      ],
      [`imports nothing of this library; ${REMEDY}`],
    ]);
  });
});

describe("formatViolations()", () => {
  it("names the first line that differs", () => {
    const module = "// Cell 1\na;\n\n// Cell 4\nb\n";
    assertEquals(formatViolations(module, module), []);
    assertEquals(formatViolations(module, module.replace("b\n", "b;\n")), [
      "cell 4, line 1: `b`, but deno fmt gives `b;`",
    ]);
  });
});

describe("lintViolations()", () => {
  it("gives a line for each finding", () => {
    const finding = { code: "c", message: "m", range: { start: { line: 2 } } };
    assertEquals(lintViolations("// Cell 3\na;\n", { diagnostics: [finding] }), [
      "cell 3, line 1: m (deno lint: c)",
    ]);
  });
});
