import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { moduleOf, placeOf } from "../../../notebooks/jupyter/module_of.ts";
import type { Notebook } from "../../../notebooks/jupyter/notebook_file.ts";

function notebook(...cells: Notebook["cells"]): Notebook {
  return { nbformat: 4, cells };
}

describe("moduleOf()", () => {
  it("keeps the code cells in order and leaves out the others", () => {
    assertEquals(
      moduleOf(notebook(
        { cell_type: "markdown", source: "# Title" },
        { cell_type: "code", source: ["const a = 1;\n", "const b = 2;\n"] },
        { cell_type: "raw", source: "text" },
        { cell_type: "code", source: "a + b" },
      )),
      "// Cell 2\nconst a = 1;\nconst b = 2;\n\n// Cell 4\na + b\n\nexport {};\n",
    );
  });

  it("gives an empty module for a notebook without code", () => {
    assertEquals(moduleOf(notebook()), "export {};\n");
  });

  it("accepts bare specifiers", () => {
    const source = 'import { a } from "@scope/a";\nconst b = await import("npm:b@1");';
    assertEquals(
      moduleOf(notebook({ cell_type: "code", source })),
      `// Cell 1\n${source}\n\nexport {};\n`,
    );
  });

  it("throws on imports by path", () => {
    for (
      const [source, specifier] of [
        ['import { a } from "../a.ts";', '"../a.ts"'],
        ["import './a.ts';", "'./a.ts'"],
        ['const a = await import("./a.ts");', '"./a.ts"'],
        ['export * from "/a.ts";', '"/a.ts"'],
      ] as const
    ) {
      assertThrows(
        () => moduleOf(notebook({ cell_type: "code", source })),
        Error,
        `Cannot read notebook: cell 1 imports ${specifier}; use a bare specifier`,
      );
    }
  });
});

describe("placeOf()", () => {
  const module = moduleOf(notebook(
    { cell_type: "code", source: "a;\nb;" },
    { cell_type: "markdown", source: "text" },
    { cell_type: "code", source: "c;" },
  ));

  it("gives the cell and the line in it", () => {
    const lines = module.split("\n");
    const place = (line: string) => placeOf(module, lines.indexOf(line) + 1);
    assertEquals(["a;", "b;", "c;"].map(place), [
      "cell 1, line 1",
      "cell 1, line 2",
      "cell 3, line 1",
    ]);
  });

  it("gives the line alone where it is in no cell", () => {
    assertEquals(placeOf("x\n", 1), "line 1");
  });
});
