import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { AptPlan, AptStep } from "../../../gpu/setup/apt.ts";
import { explain, install, SetupError } from "../../../gpu/setup/install.ts";

function shell(script: string, optional = false): AptStep {
  return { command: ["sh", "-c", script], optional };
}

function plan(steps: AptStep[], changes: Partial<AptPlan> = {}): AptPlan {
  return { summary: "nothing, for a test", files: [], folders: [], steps, cleanUp: [], ...changes };
}

// Plans are made of commands that only Linux has.
describe({ name: "install()", ignore: Deno.build.os !== "linux" }, () => {
  it("says why there is no plan", async () => {
    const error = await assertRejects(() => install(() => ({ impossible: "a reason" })));
    assertEquals(`${error}`, "SetupError: Nothing was installed: a reason.");
  });

  it("makes folders and files first, and removes its own folder at the end", async () => {
    let own = "";
    await install(({ folder }) => {
      own = folder;
      const [path, text] = [`${folder}/a/b`, "text"];
      const steps = [shell(`[ "$(cat ${path})" = text ]`)];
      return plan(steps, { folders: [`${folder}/a`], files: [{ path, text }] });
    });
    await assertRejects(() => Deno.stat(own), Deno.errors.NotFound);
  });

  it("goes on where an optional step fails, and tells of it where a later one does", async () => {
    await install(() => plan([shell("exit 3", true), shell("true")]));
    const steps = [shell("echo first >&2; exit 3", true), shell("echo second; exit 4")];
    const error = await assertRejects(() => install(() => plan(steps)), SetupError);
    for (const text of ["exit code 3:\n  first", "exit code 4:\n  second"]) {
      assertStringIncludes(error.message, text);
    }
  });

  it("cleans up after a failure as well", async () => {
    const path = Deno.makeTempFileSync();
    const cleanUp = [shell(`rm ${path}`)];
    await assertRejects(() => install(() => plan([shell("false")], { cleanUp })), SetupError);
    await assertRejects(() => Deno.stat(path), Deno.errors.NotFound);
  });
});

describe("explain()", () => {
  it("adds the last lines of what was written", () => {
    const result = { ok: false, stdout: "", stderr: "", ending: "" };
    assertEquals(explain("reason", result), "reason");
    const stderr = Array.from({ length: 20 }, (_, n) => `${n}\n`).join("");
    const lines = explain("reason", { ...result, stdout: "out\n", stderr }).split("\n");
    assertEquals([lines[0], lines[1], lines.at(-1)], ["reason:", "  5", "  19"]);
  });
});
