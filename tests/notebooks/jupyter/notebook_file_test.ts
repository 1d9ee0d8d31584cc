import { assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  codeHash,
  fileName,
  joined,
  type Notebook,
  notebooksIn,
  readNotebook,
} from "../../../notebooks/jupyter/notebook_file.ts";

function notebook(...cells: Notebook["cells"]): Notebook {
  return { nbformat: 4, cells };
}

describe("codeHash()", () => {
  const code = { cell_type: "code", source: "a;\nb;" };

  it("depends on the code and on how it is cut into cells", async () => {
    const hash = await codeHash(notebook(code));
    assertEquals(hash.length, 64);
    assertNotEquals(await codeHash(notebook({ ...code, source: "a;\nc;" })), hash);
    const cut = [{ ...code, source: "a;" }, { ...code, source: "b;" }];
    assertNotEquals(await codeHash(notebook(...cut)), hash);
  });

  it("does not depend on prose, outputs, or on how lines are kept", async () => {
    const hash = await codeHash(notebook(code));
    const same = { ...code, source: ["a;\n", "b;"], execution_count: 3, outputs: [] };
    assertEquals(await codeHash(notebook({ cell_type: "markdown", source: "x" }, same)), hash);
  });
});

describe("notebook files", () => {
  it("are found by name, in order, and not in folders below", () => {
    const folder = Deno.makeTempDirSync();
    try {
      Deno.mkdirSync(`${folder}/03.ipynb`);
      for (const name of ["02 b.ipynb", "01.ipynb", "a.ts", "03.ipynb/04.ipynb"]) {
        Deno.writeTextFileSync(`${folder}/${name}`, "{}");
      }
      const found = notebooksIn(`${folder}/`);
      assertEquals(found, [`${folder}/01.ipynb`, `${folder}/02 b.ipynb`]);
      assertEquals(found.map(fileName), ["01.ipynb", "02 b.ipynb"]);
    } finally {
      Deno.removeSync(folder, { recursive: true });
    }
  });

  it("throws on another version of the format", () => {
    const path = Deno.makeTempFileSync({ suffix: ".ipynb" });
    try {
      Deno.writeTextFileSync(path, '{"nbformat": 3, "cells": []}');
      assertThrows(
        () => readNotebook(path),
        TypeError,
        `Cannot read notebook: nbformat of ${path} is 3, expected 4`,
      );
      Deno.writeTextFileSync(path, '{"nbformat": 4, "cells": []}');
      assertEquals(readNotebook(path).cells, []);
    } finally {
      Deno.removeSync(path);
    }
  });
});

describe("joined()", () => {
  it("takes a text in one piece or in lines", () => {
    assertEquals(joined("a\nb"), "a\nb");
    assertEquals(joined(["a\n", "b"]), "a\nb");
  });
});
