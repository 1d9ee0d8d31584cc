import { blocks, FLAT_STEP, flatRanges, type Placed, windowOf } from "../../../gpu/ops/ranges.ts";
import { contiguousLayout, expandLayout, type Layout, permuteLayout } from "../../../gpu/layout.ts";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { indices, numel } from "../_values.ts";

/** Positions of the elements in row-major order. */
function positions({ shape, strides, offset }: Layout): number[] {
  return indices(shape).map((index) =>
    index.reduce((at, i, axis) => at + i * strides[axis]!, offset)
  );
}

const LAYOUTS: readonly Layout[] = [
  contiguousLayout([7, 301]),
  { shape: [7, 301], strides: [400, 1], offset: 333 },
  { shape: [7, 301], strides: [1, 9], offset: 5 },
  { shape: [7, 301], strides: [0, 1], offset: 77 },
  { shape: [7, 301], strides: [1, 0], offset: 3 },
  { shape: [3, 1, 5, 40], strides: [4000, 7, 90, 2], offset: 1001 },
  { shape: [2, 3, 200], strides: [200, 0, 1], offset: 0 },
];

describe("windowOf()", () => {
  it("covers the elements from a multiple of 256, in whole words, and no more", () => {
    for (const layout of LAYOUTS) {
      for (const bytes of [1, 2, 4]) {
        const { offset, size, layout: relative } = windowOf({ layout, bytes });
        const places = positions(layout);
        const [low, high] = [Math.min(...places) * bytes, (Math.max(...places) + 1) * bytes];
        assertEquals(offset, low - low % 256);
        assertEquals(size, Math.ceil(high / 4) * 4 - offset);
        assertEquals(positions(relative), places.map((place) => place - offset / bytes));
      }
    }
    const none = windowOf({ layout: { shape: [0], strides: [1], offset: 900 }, bytes: 4 });
    assertEquals([none.offset, none.size, none.layout.offset], [0, 4, 0]);
  });
});

describe("flatRanges()", () => {
  it("covers the output in order, each part and each window within the limit", () => {
    for (const layout of LAYOUTS) {
      for (const bytes of [1, 2, 4]) {
        for (const limit of [1024, 2000, 4096, 1 << 20]) {
          const operand: Placed = { layout, bytes };
          const ranges = flatRanges(layout.shape, 4, [operand, operand], limit);
          if (!ranges) continue;
          const places = positions(layout);
          let next = 0;
          for (const { start, count, windows } of ranges) {
            assertEquals([start, start % FLAT_STEP], [next, 0]);
            assert(4 * count <= limit, `${count} elements`);
            const [{ offset, size, layout: relative }] = windows as [typeof windows[0]];
            assert(size <= limit, `${size} bytes`);
            const [from, to] = [offset / bytes, (offset + size) / bytes];
            const seen = places.slice(start, start + count);
            assert(seen.every((place) => place >= from && place < to), "all elements are seen");
            assertEquals(relative.offset + from, layout.offset);
            next = start + count;
          }
          assertEquals(next, numel(layout.shape));
        }
      }
    }
  });

  it("finds ranges wherever elements advance with the output", () => {
    const [dense, padded, , row, column] = LAYOUTS as Layout[];
    for (const layout of [dense!, padded!, column!]) {
      assert(flatRanges(layout.shape, 4, [{ layout, bytes: 4 }], 2048), `${layout.strides}`);
    }
    // The row of 301 floats is seen whole where a range passes from one row to the next.
    assert(flatRanges(row!.shape, 4, [{ layout: row!, bytes: 4 }], 2048));
    assertEquals(flatRanges(row!.shape, 4, [{ layout: row!, bytes: 4 }], 1024), undefined);
  });

  it("finds none for a transposed matrix beyond the limit", () => {
    const layout = permuteLayout(contiguousLayout([300, 300]), [1, 0]);
    assertEquals(flatRanges([300, 300], 4, [{ layout, bytes: 4 }], 65_536), undefined);
  });

  it("takes a dense output in as few ranges as the limit allows", () => {
    const layout = contiguousLayout([100_000]);
    const ranges = flatRanges([100_000], 4, [{ layout, bytes: 4 }], 65_536)!;
    assertEquals(ranges.map(({ count }) => count), [...new Array(6).fill(16_384), 1696]);
  });
});

describe("blocks()", () => {
  it("cut all arrays alike into windows within the limit, each element once", () => {
    for (const layout of [...LAYOUTS, expandLayout(contiguousLayout([1, 50]), [60, 50])]) {
      const target = contiguousLayout(layout.shape);
      for (const limit of [256, 1000, 4096]) {
        const pairs: [number, number][] = [];
        for (
          const [source, out] of blocks([{ layout, bytes: 2 }, { layout: target, bytes: 4 }], limit)
        ) {
          assert(source!.size <= limit && out!.size <= limit);
          const from = positions(source!.layout).map((place) => place + source!.offset / 2);
          const to = positions(out!.layout).map((place) => place + out!.offset / 4);
          from.forEach((place, i) => pairs.push([to[i]!, place]));
        }
        pairs.sort(([a], [b]) => a - b);
        assertEquals(pairs, positions(layout).map((place, i) => [i, place]));
      }
    }
  });
});
