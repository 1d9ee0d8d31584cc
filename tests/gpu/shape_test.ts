import {
  assertShape,
  broadcastShapes,
  ceilDiv,
  contiguousStrides,
  formatShape,
  normalizeAxes,
  normalizeAxis,
  numel,
  roundUp,
  sameShape,
  splitGrid,
} from "../../gpu/shape.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";

describe("numel() and contiguousStrides()", () => {
  it("treat a scalar as one element", () => {
    assertEquals(numel([]), 1);
    assertEquals(contiguousStrides([]), []);
  });

  it("count rows from the last axis", () => {
    assertEquals(numel([2, 3, 4]), 24);
    assertEquals(contiguousStrides([2, 3, 4]), [12, 4, 1]);
    assertEquals(numel([2, 0, 4]), 0);
  });
});

describe("ceilDiv() and roundUp()", () => {
  it("round up, and leave multiples alone", () => {
    assertEquals([ceilDiv(0, 4), ceilDiv(1, 4), ceilDiv(4, 4), ceilDiv(5, 4)], [0, 1, 1, 2]);
    assertEquals([roundUp(0, 16), roundUp(1, 16), roundUp(16, 16), roundUp(17, 16)], [
      0,
      16,
      16,
      32,
    ]);
  });
});

describe("assertShape()", () => {
  it("takes zeros, scalars and eight axes", () => {
    for (const shape of [[], [0], [3, 0], [1, 1, 1, 1, 1, 1, 1, 1]]) assertShape(shape, "test");
  });

  it("throws RangeError for what is no size", () => {
    for (const size of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
      assertThrows(
        () => assertShape([2, size], "make it"),
        RangeError,
        `Cannot make it: shape [2, ${size}] has size ${size}, expected whole numbers >= 0`,
      );
    }
  });

  it("throws RangeError for nine axes", () => {
    assertThrows(
      () => assertShape(new Array(9).fill(1), "make it"),
      RangeError,
      "has 9 axes, at most 8 are supported",
    );
  });
});

describe("normalizeAxis()", () => {
  it("counts negative axes from the end", () => {
    assertEquals([-3, -1, 0, 2].map((axis) => normalizeAxis(axis, 3, "test")), [0, 2, 0, 2]);
  });

  it("throws RangeError out of range, naming the range", () => {
    for (const axis of [3, -4, 0.5, NaN]) {
      assertThrows(
        () => normalizeAxis(axis, 3, "sum"),
        RangeError,
        `Cannot sum: axis ${axis} is out of range for a tensor of 3 axes, expected -3 to 2`,
      );
    }
    assertThrows(
      () => normalizeAxis(0, 0, "sum"),
      RangeError,
      "Cannot sum: axis 0 is out of range for a tensor of 0 axes",
    );
  });
});

describe("normalizeAxes()", () => {
  it("takes none for all, one, or several in any order", () => {
    assertEquals(normalizeAxes(undefined, 3, "test"), [0, 1, 2]);
    assertEquals(normalizeAxes(-1, 3, "test"), [2]);
    assertEquals(normalizeAxes([-1, 0], 3, "test"), [0, 2]);
    assertEquals(normalizeAxes([], 3, "test"), []);
  });

  it("throws RangeError for an axis named twice", () => {
    assertThrows(() => normalizeAxes([1, -2], 3, "sum"), RangeError, "name one axis twice");
  });
});

describe("broadcastShapes()", () => {
  it("aligns at the end", () => {
    assertEquals(broadcastShapes([], [], "add"), []);
    assertEquals(broadcastShapes([2, 1, 4], [3, 1], "add"), [2, 3, 4]);
    assertEquals(broadcastShapes([], [2, 3], "add"), [2, 3]);
    assertEquals(broadcastShapes([1, 3], [0, 1], "add"), [0, 3]);
  });

  it("throws RangeError with both shapes and the axis", () => {
    assertThrows(
      () => broadcastShapes([2, 3], [4, 3], "add"),
      RangeError,
      "Cannot add: shapes [2, 3] and [4, 3] do not broadcast, axis -2 has 2 and 4",
    );
    assertThrows(() => broadcastShapes([0], [3], "add"), RangeError, "axis -1 has 0 and 3");
  });

  it("does not depend on the order of the operands", () => {
    const shape = fc.array(fc.constantFrom(0, 1, 2), { maxLength: 4 });
    fc.assert(fc.property(shape, shape, (a, b) => {
      const result = (x: number[], y: number[]): number[] | undefined => {
        try {
          return broadcastShapes(x, y, "add");
        } catch {
          return undefined;
        }
      };
      assertEquals(result(a, b), result(b, a));
    }));
  });
});

describe("sameShape() and formatShape()", () => {
  it("look at rank and sizes", () => {
    assert(sameShape([], []));
    assert(sameShape([2, 3], [2, 3]));
    assert(!sameShape([2, 3], [2, 3, 1]));
    assert(!sameShape([2, 3], [3, 2]));
    assertEquals(formatShape([]), "[]");
    assertEquals(formatShape([2, 3]), "[2, 3]");
  });
});

describe("splitGrid()", () => {
  it("keeps small counts in one dimension", () => {
    assertEquals(splitGrid(1, 65_535), [1, 1, 1]);
    assertEquals(splitGrid(65_535, 65_535), [65_535, 1, 1]);
  });

  it("covers every count within the limit of each dimension, with less than a row to spare", () => {
    const limits = fc.constantFrom(2, 3, 7, 10);
    fc.assert(fc.property(limits, fc.nat({ max: 999 }), (limit, n) => {
      const count = 1 + n % limit ** 3;
      const grid = splitGrid(count, limit);
      assert(grid.every((size) => size >= 1 && size <= limit), `${grid}`);
      assert(numel(grid) >= count, `${grid} covers ${count}`);
      // A whole plane of workgroups that do nothing would be a waste.
      assert(numel(grid) - count < limit * limit, `${grid} for ${count}`);
    }));
    assertEquals(splitGrid(65_536, 65_535), [32_768, 2, 1]);
    assertEquals(splitGrid(65_535 ** 2 + 1, 65_535), [65_535, 65_535, 2]);
  });

  it("throws RangeError beyond three full dimensions", () => {
    assertEquals(splitGrid(8, 2), [2, 2, 2]);
    assertThrows(() => splitGrid(9, 2), RangeError, "Cannot dispatch 9 workgroups");
  });
});
