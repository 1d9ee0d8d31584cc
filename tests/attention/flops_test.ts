import {
  type AttentionBias,
  attentionFlops,
  BlockDiagonalMask,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { it } from "@std/testing/bdd";

/** Pairs that a mask leaves of a matrix, by counting what it materializes. */
function pairs(mask: AttentionBias, Mq: number, Mkv: number): number {
  return mask.materialize([Mq, Mkv]).filter((bias) => bias === 0).length;
}

it("attentionFlops() counts two products forward and five backward, over all heads and sequences", () => {
  const [query, key, value] = [[2, 7, 3, 8], [2, 9, 3, 8], [2, 9, 3, 5]].map((shape) => ({
    shape,
  }));
  const cells = 2 * 3 * 7 * 9;
  assertEquals(attentionFlops(query!, key!, value!), {
    cells,
    forward: 2 * (8 + 5) * cells,
    backward: 2 * (3 * 8 + 2 * 5) * cells,
  });
  const flat = { shape: [2, 7, 8] };
  const grouped = { shape: [2, 7, 2, 3, 8] };
  assertEquals(attentionFlops(flat, flat, flat).cells, 2 * 49);
  assertEquals(attentionFlops(grouped, grouped, grouped).cells, 2 * 6 * 49);
});

it("attentionFlops() counts what a mask leaves", () => {
  for (const [Mq, Mkv] of [[6, 6], [4, 9], [9, 4]] as const) {
    const query = { shape: [1, Mq, 2, 8] };
    const key = { shape: [1, Mkv, 2, 8] };
    const masks = [
      new LowerTriangularMask(),
      new LowerTriangularFromBottomRightMask(),
      new LocalAttentionFromBottomRightMask(1, 2),
      BlockDiagonalMask.fromSeqlens([1, Mq - 1], [3, Mkv - 3]).makeCausal(),
    ];
    for (const attnBias of masks) {
      const { cells } = attentionFlops(query, key, key, { attnBias });
      assertEquals(cells, 2 * pairs(attnBias, Mq, Mkv), attnBias.constructor.name);
    }
  }
});
