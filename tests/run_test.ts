import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parsePlan, passedIn } from "./run.ts";

const THERE = ["tests/gpu", "README.md"];
const parse = (...args: string[]) => parsePlan(args, (path) => THERE.includes(path));

describe("parsePlan()", () => {
  it("takes the core or all, with samples unless told otherwise", () => {
    const everything = { core: false, samples: true, paths: [], flags: [] };
    assertEquals(parse("all"), everything);
    assertEquals(parse("core"), { ...everything, core: true });
    assertEquals(parse("all", "--no-samples"), { ...everything, samples: false });
  });

  it("takes what is there for paths, and hands on the rest", () => {
    const { paths, flags } = parse("core", "tests/gpu", "--filter", "rows", "README.md");
    assertEquals(paths, THERE);
    assertEquals(flags, ["--filter", "rows"]);
  });

  it("throws without an extent", () => {
    assertThrows(() => parse(), TypeError, 'expected core or all, got "undefined"');
    assertThrows(() => parse("tests/gpu"), TypeError, 'got "tests/gpu"');
  });
});

describe("passedIn()", () => {
  it("counts tests and steps", () => {
    assertEquals(passedIn("ok | 3 passed (24 steps) | 0 failed (1m45s)\n"), 27);
    assertEquals(passedIn("FAILED | 1 passed (1 step) | 1 failed (1 step) | 2 ignored (3ms)"), 2);
    assertEquals(passedIn("ok | 2 passed | 0 failed (95ms)"), 2);
    assertEquals(passedIn(""), 0);
  });
});
