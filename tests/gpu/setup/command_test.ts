import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runCommand } from "../../../gpu/setup/command.ts";

function runScript(script: string, timeout?: number) {
  const command = [Deno.execPath(), "eval", "--quiet", script];
  return runCommand(command, timeout === undefined ? {} : { timeout });
}

describe("runCommand()", () => {
  it("gives the output of a command that succeeds", async () => {
    const result = await runScript("console.log('out'); console.error('err')");
    assertEquals(result, {
      ok: true,
      stdout: "out\n",
      stderr: "err\n",
      ending: "ended with exit code 0",
    });
  });

  it("gives the exit code of a command that fails", async () => {
    const { ok, ending } = await runScript("Deno.exit(3)");
    assertEquals([ok, ending], [false, "ended with exit code 3"]);
  });

  it("gives a result for a program that does not exist", async () => {
    const { ok, ending } = await runCommand(["no-such-program-here"]);
    assertEquals([ok, ending], [false, "could not be started"]);
  });

  it("ends a command that takes too long", async () => {
    const { ok, ending } = await runScript("setInterval(() => {}, 1000)", 0.5);
    assert(!ok);
    assertEquals(ending, "did not end within 0.5 seconds");
  });
});
