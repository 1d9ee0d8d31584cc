/** A comparison that nobody waited for must not pass. */
import { assertMatch, assertNotEquals } from "@std/assert";
import { it } from "@std/testing/bdd";
import { fileURLToPath } from "node:url";

it("assertAllClose() of tensors that differ fails a run whose last test does not await it", async () => {
  const root = fileURLToPath(new URL("../../", import.meta.url));
  const program = `${root}tests/faults/programs/forgotten_await.ts`;
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--no-check", program],
    cwd: root,
    env: { NO_COLOR: "1" },
  }).output();
  const text = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  assertNotEquals(code, 0, text);
  // Whichever comes first: the difference, or the end of the tests.
  assertMatch(text, /1 of 2 elements differ|the tests ended before an assertAllClose\(\) did/);
});
