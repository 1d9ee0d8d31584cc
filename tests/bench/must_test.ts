import { assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { chooseCases } from "./case_choice.ts";
import { figureOf } from "./chart.ts";
import { verdicts } from "./must.ts";
import { OURS } from "./ours.ts";
import { formatCeilings, formatRow, formatVerdicts } from "./report.ts";
import type { Outcome, Results, Row } from "./results.ts";

const GPU = { name: "NVIDIA H100", vendor: "NVIDIA", cpu: false };
const CPU = { name: "llvmpipe (LLVM 15.0.6, 256 bits)", vendor: "Mesa", cpu: true };
const ceilings = {
  f32: { rate: 0.1, form: "8 x f32" },
  f16: null,
  copy: { rate: 10, form: "1 x vec4<f32>" },
};

function ours(wallMs: number, rest: Partial<Outcome> = {}): Outcome {
  return { contender: OURS, status: "right", wallMs, gpuMs: wallMs, peakBytes: 2 ** 20, ...rest };
}

function peer(contender: string, wallMs: number, peakBytes = 2 ** 20): Outcome {
  return { contender, status: "right", wallMs, tflops: 0.01, peakBytes };
}

/** Rows of all cases that wanted figures are about, each with the outcomes that are given for its name. */
function results(
  adapter: Results["adapter"],
  outcomes: Readonly<Record<string, readonly Outcome[]>>,
): Results {
  const cases = chooseCases({ quick: false, only: "must", cpu: adapter.cpu });
  const rows: Row[] = cases.map((found) => ({
    case: found,
    flops: 1e9,
    inputBytes: 2 ** 20,
    outcomes: outcomes[found.name] ?? [],
  }));
  return { date: "2026-01-01T00:00:00.000Z", adapter, versions: {}, ceilings, rows };
}

const reached = results(CPU, {
  "must [1, 256, 8, 64] f32, forward": [ours(8), peer("jax-js", 41), peer("tfjs", 60)],
  "must [1, 2048, 8, 64] f32, forward": [ours(500, { tflops: 0.041 }), peer("jax-js", 1499)],
  "must [1, 4096, 8, 64] f32, forward": [
    ours(2000),
    peer("jax-js", 9000, 40 * 2 ** 20),
    { contender: "tfjs", status: "wrong", peakBytes: 30 * 2 ** 20 },
  ],
  "must [1, 4096, 8, 64] f32 causal, forward": [ours(1100)],
});

describe("verdicts()", () => {
  it("holds what was reached against what is wanted on the adapter", () => {
    const found = verdicts(reached).map(({ what, measured, verdict }) => [what, measured, verdict]);
    const wall = ", wall, against the best peer";
    assertEquals(found, [
      [`N 256 forward${wall}`, 41 / 8, "ok"],
      [`N 2048 forward${wall}`, 1499 / 500, "missed"],
      [`N 2048 training${wall}`, null, "not measured"],
      ["N 2048 forward, of the FMA ceiling", 100 * 0.041 / 0.1, "ok"],
      ["N 4096 forward, peak memory, of jax-js's", 2.5, "ok"],
      // What a peer held counts whether or not its result was right.
      ["N 4096 forward, peak memory, of tfjs's", 100 / 30, "missed"],
      ["H8 N 4096 forward, causal time over full time", 0.55, "ok"],
    ]);
  });

  it("wants rates of NVIDIA's, and compares with peers that were right alone", () => {
    const found = verdicts(results(GPU, {
      "must [1, 4096, 16, 64] f32, forward": [ours(2, { tflops: 38 })],
      "must [1, 4096, 16, 64] f16, forward": [ours(2, { tflops: 44.9 })],
      "must [1, 4096, 8, 64] f32, forward": [
        ours(2),
        { contender: "jax-js", status: "wrong", peakBytes: 2 ** 30 },
        peer("tfjs", 57),
      ],
    }));
    const verdictOf = (what: string) => found.find((verdict) => verdict.what.startsWith(what));
    assertEquals(verdictOf("H16 N4096 K64 f32 forward")?.verdict, "ok");
    assertEquals(verdictOf("H16 N4096 K64 f16 forward")?.verdict, "missed");
    assertEquals(verdictOf("H16 N4096 K128 f32 forward")?.verdict, "not measured");
    assertEquals(verdictOf("N 4096 forward, wall")?.measured, 28.5);
    assertEquals(verdictOf("N 4096 forward, wall")?.limit, 20);
  });
});

describe("the report", () => {
  it("has a line for each contender, with the reason of those that were not timed", () => {
    const row = reached.rows.find(({ case: { name } }) =>
      name === "must [1, 4096, 8, 64] f32, forward"
    )!;
    const [failed, right, wrong] = formatRow({
      ...row,
      outcomes: [
        { contender: OURS, status: "failed", reason: "Cannot compile" },
        row.outcomes[1]!,
        { ...row.outcomes[2]!, reason: "exceeds the limit" },
      ],
    }, ceilings).split("\n");
    assertEquals(
      failed!.replaceAll(/ +/g, " "),
      `${row.case.name} denoformers failed: Cannot compile`,
    );
    assertEquals(right!.trim().replaceAll(/ +/g, " "), "jax-js 9000 0.0100 40.0");
    assertStringIncludes(wrong!, "tfjs");
    assertStringIncludes(wrong!, "wrong (peak 30.0 MiB): exceeds the limit");
  });

  it("says how many times faster than each peer, and which share of the ceiling", () => {
    const row = reached.rows.find(({ case: { name } }) =>
      name === "must [1, 2048, 8, 64] f32, forward"
    )!;
    const [own, other] = formatRow(row, ceilings).split("\n");
    assertStringIncludes(own!, "41 %");
    assertStringIncludes(other!, "3.00 x");
  });

  it("writes wanted figures with their units, and ceilings with the form that reached them", () => {
    const lines = formatVerdicts(verdicts(reached)).split("\n").map((line) =>
      line.replaceAll(/ +/g, " ")
    );
    assertEquals(lines[0], "N 256 forward, wall, against the best peer 5.13x at least 5x ok");
    assertEquals(
      lines[2],
      "N 2048 training, wall, against the best peer - at least 2x not measured",
    );
    assertEquals(lines[3], "N 2048 forward, of the FMA ceiling 41.0 % at least 40 % ok");
    assertStringIncludes(formatCeilings(ceilings), "0.100 TFLOP/s (8 x f32)");
    assertStringIncludes(formatCeilings(null), "no timestamps");
  });
});

describe("figureOf()", () => {
  it("has a line a contender for time and for memory, and bars of this package's rates", () => {
    const { data } = figureOf(reached);
    const lines = data.filter(({ type }) => type === "scatter");
    assertEquals(lines.map(({ name }) => name), [OURS, OURS, "jax-js", "jax-js", "tfjs", "tfjs"]);
    assertEquals(lines[0]!.x, [256, 2048, 4096]);
    assertEquals(lines[0]!.y, [8, 500, 2000]);
    // Wrong results have no time, but memory.
    assertEquals([lines[4]!.x, lines[5]!.y], [[256], [1, 30]]);
    const bars = data.filter(({ type }) => type === "bar");
    assertEquals(bars[0]!.y, [0.041]);
  });
});
