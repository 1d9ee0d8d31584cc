import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const BDD_URL = new URL("./bdd.ts", import.meta.url).href;

/** Runs a test file with the text given, which sees the adapter's exports and a `log` array. */
async function runTests(body: string): Promise<{ code: number; output: string }> {
  const path = await Deno.makeTempFile({ suffix: "_test.ts" });
  try {
    await Deno.writeTextFile(
      path,
      `import { afterAll, afterEach, beforeAll, beforeEach, describe, it } from "${BDD_URL}";
       const log: string[] = [];
       globalThis.addEventListener("unload", () => console.log(log.join(" ")));
       ${body}`,
    );
    const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-check", "--no-config", path],
      env: { NO_COLOR: "1" },
    }).output();
    const decoder = new TextDecoder();
    return { code, output: decoder.decode(stdout) + decoder.decode(stderr) };
  } finally {
    await Deno.remove(path);
  }
}

describe("@std/testing/bdd adapter", () => {
  it("passes and shows the names of nested tests", async () => {
    const { code, output } = await runTests(`
      describe("outer", () => { describe("inner", () => { it("holds", () => {}); }); });
      it("alone", () => {});
    `);
    assertEquals(code, 0);
    for (const name of ["outer", "inner", "holds", "alone"]) {
      assertStringIncludes(output, `${name} ... ok`);
    }
    assertStringIncludes(output, "2 passed (2 steps)");
  });

  it("fails the run on a failing nested test and still runs the others", async () => {
    const { code, output } = await runTests(`
      describe("outer", () => {
        describe("inner", () => {
          it("breaks", () => { throw new Error("on purpose"); });
          it("breaks later", async () => { await 0; throw new Error("on purpose too"); });
        });
        it("holds", () => {});
      });
    `);
    assertEquals(code, 1);
    assertStringIncludes(output, "breaks ... FAILED");
    assertStringIncludes(output, "breaks later ... FAILED");
    assertStringIncludes(output, "holds ... ok");
    assertStringIncludes(output, "on purpose too");
  });

  it("fails the run on a failing top-level test", async () => {
    const { code } = await runTests(`it("breaks", () => { throw new Error("on purpose"); });`);
    assertEquals(code, 1);
  });

  for (const hook of ["beforeAll", "beforeEach", "afterEach", "afterAll"]) {
    it(`fails the run on an error in ${hook}`, async () => {
      const { code, output } = await runTests(`
        describe("suite", () => {
          ${hook}(async () => { await 0; throw new Error("from the hook"); });
          it("holds", () => {});
        });
      `);
      assertEquals(code, 1);
      assertStringIncludes(output, "from the hook");
    });
  }

  it("runs the hooks of outer suites round those of inner ones, also on failure", async () => {
    const { code, output } = await runTests(`
      describe("outer", () => {
        beforeAll(() => { log.push("BA1"); });
        afterAll(() => { log.push("AA1"); });
        beforeEach(() => { log.push("BE1"); });
        afterEach(() => { log.push("AE1"); });
        it("x", () => { log.push("x"); });
        describe("inner", () => {
          beforeAll(() => { log.push("BA2"); });
          afterAll(() => { log.push("AA2"); });
          beforeEach(() => { log.push("BE2"); });
          afterEach(() => { log.push("AE2"); });
          it("y", () => { log.push("y"); throw new Error("on purpose"); });
        });
      });
    `);
    assertEquals(code, 1);
    assertStringIncludes(output, "BA1 BE1 x AE1 BA2 BE1 BE2 y AE2 AE1 AA2 AA1");
  });

  it("leaves out what is ignored, in every form", async () => {
    const { code, output } = await runTests(`
      const breaks = () => { throw new Error("must not run"); };
      describe("suite", () => {
        it.ignore("a", breaks);
        it.skip("b", breaks);
        it({ name: "c", ignore: true, fn: breaks });
        it("d", { ignore: true }, breaks);
        it({ name: "e", ignore: true }, breaks);
        it({ name: "f", ignore: false, fn() {} });
        describe.ignore("g", breaks);
      });
      describe.skip("h", () => { it("i", breaks); });
      describe({ name: "j", ignore: true, fn: breaks });
    `);
    assertEquals(code, 0, output);
    for (const name of ["a", "b", "c", "d", "e", "g", "h", "j"]) {
      assertStringIncludes(output, `${name} ... ignored`);
    }
    assertStringIncludes(output, "f ... ok");
  });

  it("refuses an asynchronous describe, a hook outside one and a late test", async () => {
    for (
      const [body, message] of [
        [`describe("a", async () => {});`, /returned a promise/],
        [`beforeEach(() => {});`, /outside describe/],
        [`it("a", () => { it("b", () => {}); });`, /already running/],
      ] as const
    ) {
      const { code, output } = await runTests(body);
      assertEquals(code, 1);
      assertMatch(output, message);
    }
  });
});
