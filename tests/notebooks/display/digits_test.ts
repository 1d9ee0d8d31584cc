import { distancesOf, lastPlace, round, roundApart } from "../../../notebooks/display/digits.ts";
import { assertAlmostEquals, assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("distancesOf()", () => {
  const cases: [what: string, values: number[], gap: number, spread: number][] = [
    ["those of neighbours", [0, 1, 2, 4, 3], 1, 4],
    ["wherever they lie", [1e9 + 0.25, 1e9], 0.25, 0.25],
    ["not what is far away", [1e9, 1e9 + 1, 0, 1e9 + 2], 1, 3],
    ["not what is between clusters", [0, 2, 4, 6, 1e6, 1e6 + 2, 1e6 + 4], 2, 12],
    ["not those of twins", [1, 1.001, 2, 2.001, 3], 0.999, 3.996],
    ["not what is not finite", [NaN, 5, Infinity, 6, -Infinity], 1, 1],
    ["not how often a number comes", [7, 7, 7, 7, 7, 8], 1, 1],
    ["none where all are the same", [7, 7, NaN], Infinity, Infinity],
    ["none where there is nothing", [], Infinity, Infinity],
    ["none that is too large", [-1.7e308, 1.7e308], Infinity, Infinity],
  ];
  for (const [what, values, gap, spread] of cases) {
    it(`tells ${what}`, () => {
      const found = distancesOf(values);
      assertAlmostEquals(found.gap, gap, 1e-9);
      assertAlmostEquals(found.spread, spread, 1e-9);
    });
  }
});

describe("lastPlace()", () => {
  it("is that of the last of some digits", () => {
    assertEquals([345, 0.25, 1, Infinity].map((distance) => lastPlace(distance, 3)), [
      ...[0, -3, -2],
      Infinity,
    ]);
  });
});

describe("round()", () => {
  it("keeps digits at the least, and those up to a place", () => {
    assertEquals(round(123.456789, 4, Infinity), 123.5);
    assertEquals(round(123.456789, 4, -2), 123.46);
    assertEquals(round(0.000123456789, 4, -2), 0.0001235);
    assertEquals(round(1758512345.256, 4, -2), 1758512345.26);
    assertEquals(round(-123.456789, 4, -4), -123.4568);
  });

  it("leaves integers, what is not finite, and what has no digits to spare", () => {
    for (const value of [123456789, -0, NaN, Infinity, 0.1 + 0.2]) {
      assertEquals(round(value, 2, -17), value);
    }
    assertEquals(round(123456789, 2, Infinity), 123456789);
  });
});

describe("roundApart()", () => {
  it("tells each from its nearest neighbour, in the digits that this takes", () => {
    const cases: [values: number[], expected: number[]][] = [
      [[3.14159, 12.5, 1024.77], [3.142, 12.5, 1025]],
      [[100000.25, 100000.5, 100000.75], [100000.25, 100000.5, 100000.75]],
      [[0, 100000.251, 100000.503], [0, 100000.25, 100000.5]],
      [[2.30258512, 2.30258509, NaN, 5.55555], [2.30258512, 2.30258509, NaN, 5.556]],
      [[1 / 3, 1 / 3], [0.3333, 0.3333]],
      [[], []],
    ];
    for (const [values, expected] of cases) assertEquals(roundApart(values, 4), expected);
  });

  it("keeps any two numbers apart, and in order", () => {
    let value = 1e6;
    const values = Array.from({ length: 200 }, (_, n) => value += Math.PI * 10 ** -(n % 8));
    const rounded = roundApart(values, 4);
    for (let n = 1; n < rounded.length; n++) assertLess(rounded[n - 1]!, rounded[n]!);
  });
});
