import { progress } from "../../../notebooks/display/progress.ts";
import { displaysOf, staticDisplaysOf } from "./_displays.ts";
import {
  assert,
  assertEquals,
  assertLessOrEqual,
  assertMatch,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("progress()", () => {
  it("updates one display, a few times only, and at last always", async () => {
    const start = performance.now();
    const displays = await displaysOf(async () => {
      const bar = progress(10_000, "work");
      for (let n = 1; n <= 10_000; n++) await bar.update(n, `step ${n}`);
    });
    // One at the start, one each 100 ms, one at the end.
    assertLessOrEqual(displays.length, 2 + (performance.now() - start) / 100);
    assertEquals(
      displays.map(({ type }) => type),
      ["display_data", ...Array(displays.length - 1).fill("update_display_data")],
    );
    const ids = new Set(displays.map(({ content }) => content.transient.display_id));
    assertEquals(ids.size, 1);
    assertMatch(
      displays.at(-1)!.data["text/plain"]!,
      /^work \[█+\] 10000\/10000 100 % .* step 10000$/,
    );
    assertMatch(displays.at(-1)!.data["text/html"]!, /<progress value="10000" max="10000"/);
  });

  it("is text alone where output is committed", async () => {
    const [message] = await staticDisplaysOf(() => progress(1).update(1));
    assertEquals(Object.keys(message!.data), ["text/plain"]);
  });

  it("is complete at once if there is nothing to do", async () => {
    const [message] = await displaysOf(() => progress(0).update(0));
    assertMatch(message!.data["text/plain"]!, /^\[█+\] 0\/0 100 %/);
    assertMatch(message!.data["text/html"]!, /<progress value="1" max="1"/);
  });

  it("throws at its start on what cannot be", () => {
    for (const total of [-1, NaN, Infinity]) {
      assertThrows(
        () => progress(total),
        RangeError,
        `total is ${total}, expected a number from 0`,
      );
    }
    const bad = (...parameters: unknown[]) => progress(...parameters as [number, string]);
    assertThrows(() => bad("3"), TypeError, 'total is "3", expected a number');
    assertThrows(() => bad(3n), TypeError, "total is 3n, expected a number");
    assertThrows(() => bad(3, 5), TypeError, "label is 5, expected a string");
  });

  const cases: [what: string, total: number, updates: unknown[], shown: string][] = [
    ["beyond the total", 3, [4], "3/3 100 %"],
    ["far beyond it", 3, [Infinity], "3/3 100 %"],
    ["a sum of fractions", 0.3, [0.1 + 0.1 + 0.1], "0.3/0.3 100 %"],
    ["a part of them", 3, [0.1 + 0.2], "0.3/3 10 %"],
    ["less than nothing", 3, [-1], "0/3 0 %"],
    ["no number", 4, [NaN], "0/4 0 %"],
    ["nothing of nothing", 0, [5], "0/0 100 %"],
    ["a BigInt", 4, [1n], "1/4 25 %"],
    ["what is no number at all", 4, ["2"], "0/4 0 %"],
    ["nothing said", 4, [undefined], "0/4 0 %"],
    ["no number behind the end", 3, [3, NaN], "3/3 100 %"],
    ["an end that comes again", 3, [3, 2, 3], "3/3 100 %"],
  ];
  for (const [what, total, updates, shown] of cases) {
    it(`shows what it can, and throws nothing: ${what}`, async () => {
      const displays = await displaysOf(() => {
        const bar = progress(total);
        // Nobody waits for them.
        for (const done of updates) bar.update(done as number);
      });
      assertStringIncludes(displays.at(-1)!.data["text/plain"]!, `] ${shown} |`);
    });
  }

  it("shows the end once where it goes on behind it", async () => {
    const displays = await displaysOf(async () => {
      const bar = progress(3);
      for (let n = 3; n < 1000; n++) await bar.update(n, null as never);
    });
    assertLessOrEqual(displays.length, 20);
  });

  it("writes lines to standard error outside of a notebook", async () => {
    const module = new URL("../../../notebooks/display/progress.ts", import.meta.url);
    const script = `const { progress } = await import("${module}");
      const bar = progress(3, "work");
      for (let n = 1; n <= 3; n++) await bar.update(n);`;
    const { success, stderr, stdout } = await new Deno.Command(Deno.execPath(), {
      args: ["eval", "--no-lock", script],
      cwd: new URL("../../..", import.meta.url),
    }).output();
    assert(success);
    assertEquals(stdout.length, 0);
    const lines = new TextDecoder().decode(stderr).trim().split("\n")
      .filter((line) => line.startsWith("work"));
    assertEquals(lines.map((line) => / (\d)\/3 /.exec(line)?.[1]), ["1", "3"]);
  });
});
