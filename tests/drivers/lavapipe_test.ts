import { assertEquals, assertThrows } from "@std/assert";
import { afterEach, beforeEach, describe, it } from "@std/testing/bdd";
import { findLavapipe } from "./lavapipe.ts";

const VARIABLE = "DENOFORMERS_LAVAPIPE_ICD";

describe("findLavapipe()", () => {
  let folder: string;
  let chosen: string | undefined;

  beforeEach(() => {
    folder = Deno.makeTempDirSync();
    chosen = Deno.env.get(VARIABLE);
    Deno.env.delete(VARIABLE);
  });

  afterEach(() => {
    Deno.removeSync(folder, { recursive: true });
    if (chosen !== undefined) Deno.env.set(VARIABLE, chosen);
  });

  it("finds Mesa's file by any of its names", () => {
    for (const name of ["lvp_icd.x86_64.json", "lvp_icd.aarch64.json", "lvp_icd.json"]) {
      Deno.writeTextFileSync(`${folder}/${name}`, "{}");
      assertEquals(findLavapipe(["/no/such/folder", folder]), `${folder}/${name}`);
      Deno.removeSync(`${folder}/${name}`);
    }
  });

  it("skips other drivers, and that of 32-bit programs", () => {
    Deno.writeTextFileSync(`${folder}/intel_icd.x86_64.json`, "{}");
    Deno.writeTextFileSync(`${folder}/lvp_icd.i686.json`, "{}");
    assertThrows(() => findLavapipe([folder]), Error, `no lvp_icd*.json in ${folder}`);
  });

  it("gives the file that the environment names", () => {
    Deno.env.set(VARIABLE, "/some/file.json");
    try {
      assertEquals(findLavapipe([folder]), "/some/file.json");
    } finally {
      Deno.env.delete(VARIABLE);
    }
  });
});
