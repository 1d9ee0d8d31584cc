import { alibiSlopes } from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { it } from "@std/testing/bdd";

it("alibiSlopes() halves from head to head for 8 heads, as in the paper", () => {
  assertEquals(alibiSlopes(8), [1, 2, 3, 4, 5, 6, 7, 8].map((i) => 2 ** -i));
  assertEquals(alibiSlopes(16), Array.from({ length: 16 }, (_, i) => 2 ** (-(i + 1) / 2)));
  assertEquals(alibiSlopes(1), [2 ** -8]);
});

it("alibiSlopes() fills up from twice the next lower power of two for other numbers", () => {
  assertEquals(alibiSlopes(3), [2 ** -4, 2 ** -8, 2 ** -2]);
  assertEquals(alibiSlopes(12), [...alibiSlopes(8), 2 ** -0.5, 2 ** -1.5, 2 ** -2.5, 2 ** -3.5]);
  for (let heads = 1; heads <= 40; heads++) {
    assertEquals(new Set(alibiSlopes(heads)).size, heads);
  }
});

it("alibiSlopes() wants a whole number of heads", () => {
  for (const heads of [0, -1, 2.5, NaN]) {
    assertThrows(() => alibiSlopes(heads), RangeError, `numHeads is ${heads}`);
  }
});
