import { judge } from "../../../gpu/tuning/measure.ts";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("judge()", () => {
  it("takes the fastest, the first of several", () => {
    assertEquals(judge([1, 2]), { winner: 0, reason: "fastest of 2" });
    assertEquals(judge([3, 1.5, 2, 1.5]), {
      winner: 1,
      reason: "fastest of 4, 2.00 times as fast as the default",
    });
  });

  it("keeps the default unless another is faster by more than 3 %", () => {
    const kept = { winner: 0, reason: "the default, hardly slower than the fastest" };
    assertEquals(judge([1, 0.971]), kept);
    assertEquals(judge([1, 0.99, 0.98]), kept);
    assertEquals(judge([1, 0.969]).winner, 1);
    assertEquals(judge([1, 0.975, 0.96]).winner, 2);
  });

  it("leaves out those without a time, the default as well", () => {
    assertEquals(judge([2, Infinity, 3]), { winner: 0, reason: "fastest of 2" });
    assertEquals(judge([Infinity, 3, Infinity, 2]), {
      winner: 3,
      reason: "fastest of 2; the default has no time",
    });
  });
});
