import { normal, quantileTable, upperQuantile } from "../../../gpu/random/normal.ts";
import { philox } from "../../../gpu/random/philox.ts";
import { assert, assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

/** The bound that the module states: interpolation, fixed point and the cut to 24 bits together. */
const MAX_ERROR = 6e-7;

function hostNormals(count: number, seed: number): Float64Array {
  const table = quantileTable();
  const values = new Float64Array(count);
  for (let block = 0; 4 * block < count; block++) {
    const words = philox([block, 0, 0, 0], [seed, 0]);
    words.forEach((word, i) => values[4 * block + i] = normal(word, table));
  }
  return values;
}

/** P(X <= x) by Simpson's rule over the density: no table and no code of the module. */
function normalDistribution(x: number): number {
  const steps = 200;
  const width = Math.abs(x) / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    const weight = i === 0 || i === steps ? 1 : i % 2 === 1 ? 4 : 2;
    sum += weight * Math.exp(-((i * width) ** 2) / 2);
  }
  return 0.5 + Math.sign(x) * sum * width / 3 / Math.sqrt(2 * Math.PI);
}

describe("upperQuantile()", () => {
  it("agrees with published quantiles", () => {
    assertEquals(upperQuantile(0.5), 0);
    assertAlmostEquals(upperQuantile(0.25), 0.6744897501960817, 1e-14);
    assertAlmostEquals(upperQuantile(0.025), 1.959963984540054, 1e-13);
    assertAlmostEquals(upperQuantile(0.001), 3.090232306167813, 1e-12);
    assertAlmostEquals(upperQuantile(1e-9), 5.997807015007682, 1e-11);
  });

  it("inverts the distribution, integrated on its own", () => {
    for (const x of [0.01, 0.5, 1, 1.9, 2, 2.1, 3, 4]) {
      assertAlmostEquals(upperQuantile(1 - normalDistribution(x)), x, 1e-6);
    }
  });
});

describe("normal()", () => {
  it("is the quantile of its word's probability, sign by the lowest bit", () => {
    const table = quantileTable();
    const words = [0, 1, 2, 3, 0x7fffffff, 0x80000000, 0x80000001, 0xfffffffe, 0xffffffff];
    for (let octave = 0; octave < 32; octave++) {
      for (let i = 0; i < 200; i++) words.push((2 ** octave * (1 + i / 200)) >>> 0);
    }
    for (const word of words) {
      const probability = ((word | 1) >>> 0) / 2 ** 33;
      const expected = (word & 1 ? -1 : 1) * upperQuantile(probability);
      const actual = normal(word, table);
      assertAlmostEquals(actual, expected, MAX_ERROR, `word ${word}`);
      assertEquals(actual, Math.fround(actual), "a float holds it exactly");
    }
  });

  it("falls with the word", () => {
    const table = quantileTable();
    let last = Infinity;
    for (let n = 0; n < 2 ** 32; n += 1_000_003) {
      const x = normal((n & ~1) >>> 0, table);
      assert(x <= last + MAX_ERROR, `at ${n}: ${x} after ${last}`);
      last = x;
    }
  });

  it("has the moments of a normal distribution", () => {
    const count = 200_000;
    const values = hostNormals(count, 42);
    const moment = (k: number) => values.reduce((sum, x) => sum + x ** k, 0) / count;
    // Five standard errors of each: the k-th sample moment's variance is (E x^2k - (E x^k)^2) / n.
    for (const [k, mean, variance] of [[1, 0, 1], [2, 1, 2], [3, 0, 15], [4, 3, 96]] as const) {
      assertAlmostEquals(moment(k), mean, 5 * Math.sqrt(variance / count), `moment ${k}`);
    }
  });

  it("passes a Kolmogorov-Smirnov test", () => {
    const count = 50_000;
    const sorted = hostNormals(count, 7).sort();
    let distance = 0;
    sorted.forEach((x, i) => {
      if (i % 10 !== 0) return; // The distance moves by 1 / count between neighbours.
      const cumulative = normalDistribution(x);
      distance = Math.max(distance, cumulative - i / count, (i + 1) / count - cumulative);
    });
    // P(D > 1.95 / sqrt(n)) is 0.001 for a sample of the right distribution, and the seed is fixed.
    assertLess(distance, 1.95 / Math.sqrt(count));
  });
});
