/** What the library and its programs may be denied, and what they need. */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runWith } from "./_run.ts";
import { inFolder } from "../_folder.ts";

const RIGHT = { gradient: true, stepped: true, loaded: 3 };
const EVERYTHING_DENIED = ["read", "write", "env", "net", "run", "ffi", "sys"]
  .map((name) => `--deny-${name}`);

describe("the library", () => {
  for (const permissions of [[], EVERYTHING_DENIED]) {
    const how = permissions.length === 0 ? "without a permission" : "with all permissions denied";
    it(`computes, trains, tunes and reads back ${how}, and asks for none`, async () => {
      const { code, stdout, stderr } = await runWith("tests/permissions/_library.ts", permissions);
      assertEquals([code, stderr], [0, ""]);
      const { sources, ...result } = JSON.parse(stdout);
      assertEquals(result, RIGHT);
      assert(!sources.includes("cache"), `choices came from ${sources}`);
    });
  }
});

describe("the demo", () => {
  it("needs no permission", async () => {
    const sizes = ["--tokens", "16", "--dim", "16", "--heads", "2", "--batch", "1"];
    const { code, stdout } = await runWith("notebooks/demo.ts", [], sizes);
    assertEquals(code, 0);
    assertStringIncludes(stdout, "largest difference of the results");
  });
});

describe("the training program", () => {
  const SIZES = ["--limit", "100", "--epochs", "1"];

  it("needs to read and write the checkpoint's folder, and nothing else", () =>
    inFolder(async (folder) => {
      const checkpoint = `${folder}/new/digits.safetensors`;
      const permissions = [`--allow-read=${folder}/new`, `--allow-write=${folder}/new`];
      const args = [...SIZES, "--checkpoint", checkpoint];
      const { code, stdout } = await runWith("notebooks/train.ts", permissions, args);
      assertEquals(code, 0);
      assertStringIncludes(stdout, `written to   ${checkpoint}`);
      assertEquals([...Deno.readDirSync(`${folder}/new`)].length, 1);
      const resumed = await runWith("notebooks/train.ts", permissions, ["--resume", checkpoint]);
      assertEquals(resumed.code, 0);
    }));

  it("says what it is denied before it trains, and which flag grants it", () =>
    inFolder(async (folder) => {
      const args = [...SIZES, "--checkpoint", `${folder}/new/digits.safetensors`];
      const denied: [permissions: string[], says: string][] = [
        [[], "--allow-write"],
        [[`--allow-read=${folder}`], "--allow-write"],
        [[`--allow-write=${folder}`], "--allow-read"],
      ];
      for (const [permissions, flag] of denied) {
        const { code, stdout, stderr } = await runWith("notebooks/train.ts", permissions, args);
        assertEquals([code, stdout], [1, ""]);
        assertStringIncludes(stderr, `Cannot write to ${folder}/new/digits.safetensors: Requires`);
        assertStringIncludes(stderr, flag);
        assert(!stderr.includes("    at "), stderr);
      }
      const resume = await runWith("notebooks/train.ts", [], ["--resume", `${folder}/a`]);
      assertEquals(resume.code, 1);
      assertStringIncludes(resume.stderr, `Cannot read the checkpoint ${folder}/a: Requires read`);
    }));
});
