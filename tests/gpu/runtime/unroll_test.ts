import { unroll } from "../../../gpu/runtime/unroll.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("unroll()", () => {
  it("leaves unmarked loops and other text alone", () => {
    const source = "for (var i = 0u; i < 4u; i++) { sum += a[i]; } // unroll\n/* unrolled */";
    assertEquals(unroll(source, {}), source);
  });

  it("gives every turn a block with the variable as a constant", () => {
    assertEquals(
      unroll("x; /* unroll */ for (var i = 0u; i < 2; i++) { sum += a[i]; } y;", {}),
      "x; { const i = 0u; sum += a[i]; }\n{ const i = 1u; sum += a[i]; } y;",
    );
  });

  it("takes limits from the constants", () => {
    assertEquals(
      unroll("/* unroll */ for (var i = 0u; i < SIZE; i++) {f(i);}", { SIZE: 3 }),
      "{ const i = 0u;f(i);}\n{ const i = 1u;f(i);}\n{ const i = 2u;f(i);}",
    );
    assertEquals(
      unroll("a/* unroll */ for (var i = 0u; i < SIZE; i++) {f(i);}b", { SIZE: 0 }),
      "ab",
    );
  });

  it("unrolls loops within loops and keeps inner braces", () => {
    const unrolled = unroll(
      "/* unroll */ for (var i = 0u; i < 2; i++) {" +
        " if (c) { f(i); } /* unroll */ for (var j = 0u; j < N; j++) { g(i, j); } }",
      { N: 3 },
    );
    assert(!unrolled.includes("for ("), unrolled);
    assertEquals(unrolled.match(/if \(c\) \{ f\(i\); \}/g)?.length, 2);
    assertEquals(unrolled.match(/g\(i, j\);/g)?.length, 6);
    assertEquals(unrolled.match(/const j = 2u;/g)?.length, 2);
    assertEquals(unrolled.match(/\{/g)?.length, unrolled.match(/\}/g)?.length);
  });

  it("throws for an unknown limit and an open block", () => {
    assertThrows(
      () => unroll("/* unroll */ for (var i = 0u; i < SIZE; i++) {}", {}),
      Error,
      "its limit SIZE is not a known constant",
    );
    assertThrows(
      () => unroll("/* unroll */ for (var i = 0u; i < 2; i++) { {}", {}),
      Error,
      "its block is not closed",
    );
  });
});
