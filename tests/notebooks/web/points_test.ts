import { assertAlmostEquals, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { exponentsOf, measuredOf, ownBytes, predict } from "../../../notebooks/web/points.ts";
import { measuredPoint, SETTINGS } from "./_points.ts";

describe("ownBytes()", () => {
  it("counts query, key, value and result, and in training their gradients", () => {
    assertEquals(ownBytes(SETTINGS, 10), 4 * 10 * 2 * 64 * 4);
    assertEquals(ownBytes({ ...SETTINGS, dtype: "bf16" }, 10), 4 * 10 * 2 * 64 * 2);
    assertEquals(ownBytes({ ...SETTINGS, isTraining: true }, 10), 8 * 10 * 2 * 64 * 4);
  });
});

describe("predict()", () => {
  it("follows the laws of memory", () => {
    for (const way of ["memory-efficient", "formula"] as const) {
      const predicted = predict(measuredPoint(way, 512), 4096, "peakBytes", SETTINGS);
      assertEquals(predicted, measuredPoint(way, 4096).peakBytes);
    }
  });

  it("follows the pairs that a mask leaves for the one way, all of them for the other", () => {
    const ratio = (way: "memory-efficient" | "formula", mask: typeof SETTINGS.mask) => {
      const settings = { ...SETTINGS, mask };
      const last = measuredPoint(way, 4096, settings);
      return predict(last, 8192, "milliseconds", settings) / last.milliseconds;
    };
    assertEquals(ratio("memory-efficient", "none"), 4);
    assertAlmostEquals(ratio("memory-efficient", "causal"), 4, 0.01);
    assertAlmostEquals(ratio("memory-efficient", "window"), 2, 0.02);
    assertEquals(ratio("memory-efficient", "packed"), 2);
    for (const mask of ["none", "causal", "window", "packed"] as const) {
      assertEquals(ratio("formula", mask), 4);
    }
  });
});

describe("exponentsOf()", () => {
  it("finds the laws' exponents at the three longest lengths", () => {
    // The first does not fit in: it is none of the three.
    const odd = { ...measuredPoint("formula", 128), peakBytes: 1e9, milliseconds: 1e9 };
    const lengths = [256, 512, 1000] as const;
    const points = lengths.flatMap((tokens) => [
      measuredPoint("memory-efficient", tokens),
      measuredPoint("formula", tokens),
    ]);
    // 1e-9: rounding of float64.
    const ours = exponentsOf(points, "memory-efficient", SETTINGS)!;
    assertAlmostEquals(ours.peakBytes, 1, 1e-9);
    assertAlmostEquals(ours.milliseconds, 2, 1e-9);
    const formula = exponentsOf([odd, ...points], "formula", SETTINGS)!;
    assertAlmostEquals(formula.peakBytes, 2, 1e-9);
    assertAlmostEquals(formula.milliseconds, 2, 1e-9);
  });

  it("finds none where there are two", () => {
    const points = [measuredPoint("formula", 256), measuredPoint("formula", 512)];
    assertEquals(exponentsOf(points, "formula", SETTINGS), undefined);
  });
});

describe("measuredOf()", () => {
  it("leaves out the other way, and what was not run", () => {
    const [ours, theirs] = [
      measuredPoint("memory-efficient", 256),
      measuredPoint("formula", 256),
    ];
    const skipped = { kind: "skipped", way: "formula", tokens: 512, note: "" } as const;
    assertEquals(measuredOf([ours, theirs, skipped], "formula"), [theirs]);
  });
});
