import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { UsageError } from "../../notebooks/command_line.ts";
import { outputPath, parseOptions, slugOf, USAGE } from "./options.ts";

describe("parseOptions() of the benchmark", () => {
  it("measures this package alone, and all of it, by default", () => {
    const flags = { quick: false, peers: false, list: false, help: false };
    assertEquals(parseOptions([]), { ...flags, only: "", out: undefined });
  });

  it("takes every flag that the usage names", () => {
    const flags = [...USAGE.matchAll(/^ {2}--(\w+)/gm)].map(([, name]) => name);
    assertEquals(flags, ["quick", "peers", "only", "out", "list", "help"]);
    assertEquals(
      parseOptions(["--quick", "--peers", "--only", "vision", "--out=a.json", "--list", "-h"]),
      { quick: true, peers: true, only: "vision", out: "a.json", list: true, help: true },
    );
  });

  it("throws on what cannot be, with flag and value", () => {
    for (
      const [args, message] of [
        [["--out="], '--out is "", expected the path of a file'],
        [["--bogus"], "--bogus"],
        [["more"], "more"],
      ] as const
    ) {
      const error = assertThrows(() => parseOptions(args), UsageError, message);
      assert(!error.message.includes("\n"), error.message);
    }
  });
});

describe("outputPath()", () => {
  it("is the committed place for complete runs with peers alone, unless told otherwise", () => {
    const path = (...args: string[]) => outputPath(parseOptions(args), "NVIDIA H100 80GB (HBM3)");
    assertEquals(slugOf("NVIDIA H100 80GB (HBM3)"), "nvidia-h100-80gb-hbm3");
    assertEquals(path("--peers"), "tests/bench/results/nvidia-h100-80gb-hbm3.json");
    for (const args of [[], ["--peers", "--quick"], ["--peers", "--only", "must"]]) {
      assertEquals(path(...args), ".cache/bench/nvidia-h100-80gb-hbm3.json");
    }
    assertEquals(path("--peers", "--out", "a.json"), "a.json");
  });
});
