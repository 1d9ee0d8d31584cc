import { moduleOf, type Notebook } from "./notebook_to_module.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

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

  it("throws on another version of the format", () => {
    assertThrows(
      () => moduleOf({ nbformat: 3, cells: [] }),
      TypeError,
      "Cannot read notebook: its format is version 3, expected 4",
    );
  });
});
