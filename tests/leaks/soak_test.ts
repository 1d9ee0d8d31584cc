import { assertAlmostEquals, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { UsageError } from "../../notebooks/command_line.ts";
import { parseOptions, USAGE } from "./soak_options.ts";
import { formatSummary, type Sample, slopeOf, summarize } from "./soak_summary.ts";

const MIB = 2 ** 20;
const RUN = { adapter: "an adapter", seed: 3, problems: [] };

/** A sample every so many minutes of a process of this size. */
function samplesOf(sizes: readonly number[], { every = 4, allocated = 0 } = {}): Sample[] {
  return sizes.map((rss, i) => ({
    minutes: every * i,
    calls: 100 * i,
    faults: 7 * i,
    devices: i,
    allocatedBytes: i === sizes.length - 1 ? allocated : 0,
    reservedBytes: 0,
    rss,
  }));
}

describe("parseOptions() of the soak", () => {
  it("soaks for 30 minutes by default", () => {
    assertEquals(parseOptions([]), { minutes: 30, seed: 1, json: undefined, help: false });
  });

  it("takes every flag that the usage names", () => {
    const flags = [...USAGE.matchAll(/^ {2}--(\w+)/gm)].map(([, name]) => name);
    assertEquals(flags, ["minutes", "seed", "json", "help"]);
    assertEquals(
      parseOptions(["--minutes", "0.5", "--seed", "9", "--json=a.json", "-h"]),
      { minutes: 0.5, seed: 9, json: "a.json", help: true },
    );
  });

  it("throws on what cannot be, with flag and value", () => {
    for (
      const [args, message] of [
        [["--minutes", "0"], '--minutes is "0", expected a number above 0'],
        [["--minutes=-1"], '--minutes is "-1"'],
        [["--seed", "1.5"], '--seed is "1.5", expected a whole number below 2^31'],
        [["--json="], '--json is "", expected the path of a file'],
        [["--bogus"], "--bogus"],
      ] as const
    ) {
      assertThrows(() => parseOptions(args), UsageError, message);
    }
  });
});

describe("slopeOf()", () => {
  it("is the slope of the line that fits best", () => {
    assertAlmostEquals(slopeOf([3, 5, 7].map((rss, minutes) => ({ minutes, rss }))), 2);
    assertAlmostEquals(slopeOf([4, 1, 4].map((rss, minutes) => ({ minutes, rss }))), 0);
  });
});

describe("summarize()", () => {
  it("finds nothing wrong where live bytes and the process are what they were", () => {
    // The first half may grow: kernels are compiled.
    const summary = summarize(
      RUN,
      samplesOf([100, 300, 500, 500, 500, 501, 502].map((x) => x * MIB)),
    );
    assertEquals(summary.problems, []);
    assertEquals([summary.calls, summary.faults, summary.devices], [600, 42, 6]);
    assertAlmostEquals(summary.rssSlope! / MIB, 0.175);
    assertStringIncludes(formatSummary(summary), "Nothing is wrong");
  });

  it("tells of bytes that are alive at the end", () => {
    const summary = summarize(RUN, samplesOf([1, 1], { allocated: 48 }));
    assertEquals(summary.leakedBytes, 48);
    assertEquals(summary.problems, ["48 bytes leaked"]);
  });

  it("tells of a process that keeps growing", () => {
    const { problems } = summarize(RUN, samplesOf([1, 2, 3, 4, 5, 6].map((x) => 80 * x * MIB)));
    assertEquals(problems, ["the process grew by 20.0 MiB a minute, expected at most 16"]);
  });

  it("does not judge growth over less than ten minutes", () => {
    const summary = summarize(RUN, samplesOf([0, 100, 200].map((x) => x * MIB), { every: 9 }));
    assertEquals([summary.rssSlope, summary.problems.length], [undefined, 0]);
    assertStringIncludes(formatSummary(summary), "too short to tell");
  });

  it("keeps what went wrong on the way", () => {
    const summary = summarize({ ...RUN, problems: ["it broke"] }, samplesOf([1, 1]));
    assertStringIncludes(formatSummary(summary), "WRONG: it broke");
  });
});
