import {
  type DenoInfo,
  graphOf,
  type Import,
  logicIn,
  type ModuleGraph,
  violationsOf,
} from "./check_dependencies.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** A graph from lists of imports; `type:` before one makes it type-only. */
function graph(modules: Record<string, string[]>): ModuleGraph {
  return new Map(
    Object.entries(modules).map(([path, imports]): [string, Import[]] => [
      path,
      imports.map((to) =>
        to.startsWith("type:")
          ? { to: to.slice("type:".length), typeOnly: true }
          : { to, typeOnly: false }
      ),
    ]),
  );
}

describe("violationsOf()", () => {
  it("accepts imports down the layers and within one", () => {
    assertEquals(
      violationsOf(graph({
        "mod.ts": ["attention/mod.ts", "gpu/mod.ts"],
        "attention/mod.ts": ["attention/a.ts", "gpu/mod.ts"],
        "attention/a.ts": ["type:gpu/tensor.ts"],
        "gpu/mod.ts": ["gpu/tensor.ts"],
        "gpu/tensor.ts": [],
        "notebooks/plot.ts": ["mod.ts", "npm:plotly"],
      })),
      [],
    );
  });

  it("reports imports up the layers, of values and of types", () => {
    assertEquals(
      violationsOf(graph({
        "gpu/a.ts": ["attention/b.ts", "type:attention/b.ts"],
        "attention/b.ts": ["mod.ts", "tests/_device.ts", "type:notebooks/plot.ts"],
      })),
      [
        "gpu/a.ts imports attention/b.ts: gpu/ lies below attention/ and must not know of it",
        "gpu/a.ts imports types from attention/b.ts: " +
        "gpu/ lies below attention/ and must not know of it",
        "attention/b.ts imports mod.ts: attention/ lies below mod.ts and must not know of it",
        "attention/b.ts imports tests/_device.ts: " +
        "attention/ lies below tests/ and must not know of it",
        "attention/b.ts imports types from notebooks/plot.ts: " +
        "attention/ lies below notebooks/ and must not know of it",
      ],
    );
  });

  it("reports imports from outside the package", () => {
    for (
      const to of ["node:fs", "npm:x@1", "jsr:@a/b", "https://example.com/x.ts", "type:npm:x@1"]
    ) {
      assertEquals(violationsOf(graph({ "gpu/a.ts": [to] })).length, 1, to);
      assertEquals(violationsOf(graph({ "mod.ts": [to] })).length, 1, to);
    }
  });

  it("reports a cycle with its chain", () => {
    assertEquals(
      violationsOf(graph({
        "mod.ts": ["gpu/a.ts"],
        "gpu/a.ts": ["gpu/b.ts"],
        "gpu/b.ts": ["gpu/c.ts"],
        "gpu/c.ts": ["gpu/a.ts"],
        "gpu/self.ts": ["gpu/self.ts"],
      })),
      [
        "import cycle: gpu/a.ts -> gpu/b.ts -> gpu/c.ts -> gpu/a.ts",
        "import cycle: gpu/self.ts -> gpu/self.ts",
      ],
    );
  });

  it("accepts a diamond, and a cycle closed by types within a layer", () => {
    assertEquals(
      violationsOf(graph({
        "gpu/a.ts": ["gpu/b.ts", "gpu/c.ts"],
        "gpu/b.ts": ["gpu/d.ts"],
        "gpu/c.ts": ["gpu/d.ts", "type:gpu/a.ts"],
        "gpu/d.ts": ["type:gpu/a.ts"],
      })),
      [],
    );
  });
});

describe("graphOf()", () => {
  it("tells imports of types from imports of values", () => {
    const root = "file:///package/";
    const info: DenoInfo = {
      modules: [
        {
          specifier: "file:///package/mod.ts",
          dependencies: [
            { code: { specifier: "file:///package/gpu/a.ts" } },
            { type: { specifier: "file:///package/gpu/b.ts" } },
            {
              code: { specifier: "file:///package/gpu/c.ts" },
              type: { specifier: "file:///package/gpu/c.ts" },
            },
            { code: { specifier: "jsr:@a/b@1" } },
          ],
        },
        { specifier: "file:///package/gpu/a.ts" },
        { specifier: "https://example.com/b.ts" },
      ],
      redirects: { "jsr:@a/b@1": "https://example.com/b.ts" },
    };
    assertEquals(
      graphOf(info, root),
      new Map([
        ["mod.ts", [
          { to: "gpu/a.ts", typeOnly: false },
          { to: "gpu/b.ts", typeOnly: true },
          { to: "gpu/c.ts", typeOnly: false },
          { to: "https://example.com/b.ts", typeOnly: false },
        ]],
        ["gpu/a.ts", []],
      ]),
    );
  });

  it("throws on modules that cannot be found", () => {
    const missing = { specifier: "file:///package/gpu/a.ts", error: "Module not found" };
    assertThrows(
      () => graphOf({ modules: [missing] }, "file:///package/"),
      Error,
      "Cannot read module graph: Module not found",
    );
  });
});

describe("logicIn()", () => {
  it("accepts re-exports and comments", () => {
    const source = [
      "/** Text; with https://example.com and code: `const a = 1;` */",
      'export * from "./gpu/mod.ts";',
      'export * as gpu from "./gpu/mod.ts"; // const b = 2;',
      "export {",
      "  a,",
      "  type B, // const c = 3;",
      '} from "./gpu/a.ts";',
      'export type { C } from "./gpu/c.ts";',
    ].join("\n");
    assertEquals(logicIn(source), []);
  });

  it("finds every other statement", () => {
    for (
      const statement of [
        "const a = 1",
        "export const a = 1",
        "export { a }",
        'import { a } from "./a.ts"',
        'import "./a.ts"',
        "run()",
      ]
    ) {
      const source = `export * from "./b.ts";\n${statement};\nexport { c } from "./c.ts";\n`;
      assertEquals(logicIn(source), [statement]);
    }
  });
});
