import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("assertAllClose()", () => {
  it("accepts equal values of every kind of list", () => {
    assertAllClose([1, 2], [1, 2]);
    assertAllClose(new Float32Array([1, 2]), [1, 2]);
    assertAllClose(new Int32Array([1, 2]), new Float64Array([1, 2]));
    assertAllClose({ shape: [2, 1], data: [1, 2] }, {
      shape: [2, 1],
      data: new Uint8Array([1, 2]),
    });
    assertAllClose({ shape: [2, 1], data: [1, 2] }, [1, 2]);
    assertAllClose([], []);
    assertAllClose({ shape: [0, 3], data: [] }, { shape: [0, 3], data: [] });
    assertAllClose({ shape: [], data: [7] }, { shape: [], data: [7] });
  });

  it("allows 1e-5 + 1.3e-6 * |expected| by default", () => {
    assertAllClose([0.99e-5], [0]);
    assertAllClose([1000 + 0.00130 + 0.00000999], [1000]);
    assertAllClose([-1000 - 0.00130 - 0.00000999], [-1000]);
    assertThrows(() => assertAllClose([1.01e-5], [0]), Error, "1 of 1 elements differ");
    assertThrows(() => assertAllClose([1000.00132], [1000]), Error, "1 of 1 elements differ");
  });

  it("takes the relative tolerance from the expected value", () => {
    assertAllClose([90], [100], { atol: 0, rtol: 0.1 });
    assertThrows(() => assertAllClose([100], [90], { atol: 0, rtol: 0.1 }), Error, "differ");
  });

  it("obeys the tolerances given", () => {
    assertAllClose([1.5], [1], { atol: 0.5, rtol: 0 });
    assertThrows(() => assertAllClose([1.51], [1], { atol: 0.5, rtol: 0 }), Error, "differ");
    assertThrows(() => assertAllClose([1 + 1e-15], [1], { atol: 0, rtol: 0 }), Error, "differ");
  });

  it("throws TypeError on one tolerance without the other", () => {
    assertThrows(
      () => assertAllClose([1], [1], { atol: 1 }),
      TypeError,
      "Cannot compare tensors: atol is given without rtol; give both or neither",
    );
    assertThrows(
      () => assertAllClose([1], [1], { rtol: 1 }),
      TypeError,
      "Cannot compare tensors: rtol is given without atol; give both or neither",
    );
  });

  it("throws RangeError on a tolerance below 0 or NaN", () => {
    assertThrows(() => assertAllClose([1], [1], { atol: -1, rtol: 0 }), RangeError, "atol is -1");
    assertThrows(() => assertAllClose([1], [1], { atol: 0, rtol: NaN }), RangeError, "rtol is NaN");
  });

  it("fails on NaN unless equalNan is set", () => {
    assertThrows(() => assertAllClose([NaN], [NaN]), Error, "1 of 1 elements differ");
    assertAllClose([NaN, 1], [NaN, 1], { equalNan: true });
    assertThrows(() => assertAllClose([NaN], [1], { equalNan: true }), Error, "differ");
    assertThrows(() => assertAllClose([1], [NaN], { equalNan: true }), Error, "differ");
    assertThrows(() => assertAllClose([NaN], [Infinity], { equalNan: true }), Error, "differ");
  });

  it("wants infinities to be equal", () => {
    assertAllClose([Infinity, -Infinity], [Infinity, -Infinity]);
    for (const [a, e] of [[Infinity, -Infinity], [1, Infinity], [-Infinity, 1], [NaN, Infinity]]) {
      assertThrows(() => assertAllClose([a!], [e!]), Error, "1 of 1 elements differ");
      assertThrows(() => assertAllClose([a!], [e!], { atol: 1e9, rtol: 1e9 }), Error, "differ");
    }
  });

  it("fails on shapes and lengths that differ", () => {
    assertThrows(
      () =>
        assertAllClose(
          { shape: [2, 3], data: new Float32Array(6) },
          { shape: [3, 2], data: new Float32Array(6) },
        ),
      Error,
      "Cannot compare tensors: shape [2, 3] differs from expected [3, 2]",
    );
    assertThrows(
      () => assertAllClose([1, 2, 3], [1, 2]),
      Error,
      "Cannot compare tensors: shape [3] differs from expected [2]",
    );
    assertThrows(
      () => assertAllClose({ shape: [1, 2], data: [1, 2] }, [1, 2, 3]),
      Error,
      "Cannot compare tensors: shape [1, 2] differs from expected [3]",
    );
    assertThrows(
      () => assertAllClose({ shape: [2, 2], data: [1] }, [1]),
      RangeError,
      "Cannot compare tensors: actual has 1 elements, expected 4 for shape [2, 2]",
    );
  });

  it("reports count, percentage, the greatest differences and the first five", () => {
    const expected = { shape: [2, 4], data: [1, 2, 3, 4, 5, 6, 0.5, 8] };
    const actual = { shape: [2, 4], data: [2, 3, 3, 5, 7.5, 7, 1.5, 8] };
    const error = assertThrows(() => assertAllClose(actual, expected), Error);
    assertEquals(
      error.message,
      [
        "Expected tensors to be close: 6 of 8 elements differ (75.0%)",
        "  greatest absolute difference: 2.5 at [1, 0] (up to 0.00001 allowed)",
        "  greatest relative difference: 2 at [1, 2] (up to 0.0000013 allowed)",
        "  at [0, 0]: 2, expected 1",
        "  at [0, 1]: 3, expected 2",
        "  at [0, 3]: 5, expected 4",
        "  at [1, 0]: 7.5, expected 5",
        "  at [1, 1]: 7, expected 6",
        "  and 1 more",
      ].join("\n"),
    );
  });

  it("shows NaN as the greatest difference, and Infinity for a relative one from 0", () => {
    const error = assertThrows(() => assertAllClose([5, NaN, 1], [1, 1, 0]), Error);
    assertStringIncludes(error.message, "greatest absolute difference: NaN at [1]");
    const another = assertThrows(() => assertAllClose([9, 1], [1, 0]), Error);
    assertStringIncludes(another.message, "greatest relative difference: Infinity at [1]");
  });

  it("puts the message first", () => {
    assertThrows(
      () => assertAllClose([1], [2], { message: "dQuery" }),
      Error,
      "dQuery: Expected tensors to be close",
    );
  });
});
