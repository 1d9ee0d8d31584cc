/** Masks that are made of masks keep the rule of both: every class and method, by formulas that are this file's own. */
import * as attention from "@denoformers/attention";
import {
  AttentionBias,
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionMask,
  BlockDiagonalCausalLocalAttentionPaddedKeysMask,
  BlockDiagonalCausalMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalLocalAttentionPaddedKeysMask,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularFromBottomRightMask,
} from "@denoformers/attention";
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { rowsOf } from "./_golden.ts";

/** Whether query `i` of a block sees key `j`, where `d` is the block's keys less its queries. */
type Rule = (i: number, j: number, d: number) => boolean;

const everything: Rule = () => true;
const causal: Rule = (i, j) => j <= i;
const fromEnd: Rule = (i, j, d) => j <= i + d;
const local = (w: number): Rule => (i, j) => i - w < j && j <= i;
const localFromEnd = (w: number): Rule => (i, j, d) => i + d - w < j && j <= i + d;
const around = (l: number, r: number): Rule => (i, j, d) => i + d - l <= j && j <= i + d + r;

interface Blocks {
  readonly qSeqlen: readonly number[];
  readonly kvSeqlen: readonly number[];
  /** Where each block's keys begin, of `total` in all. */
  readonly begins: readonly number[];
  readonly total: number;
}

/** The rows of a mask that sees what all of the rules let through. */
function drawn(rules: readonly Rule[], { qSeqlen, kvSeqlen, begins, total }: Blocks): string[] {
  return qSeqlen.flatMap((queries, b) =>
    Array.from({ length: queries }, (_, i) =>
      Array.from({ length: total }, (_, row) => {
        const [j, keys] = [row - begins[b]!, kvSeqlen[b]!];
        const isSeen = j >= 0 && j < keys && rules.every((rule) => rule(i, j, keys - queries));
        return isSeen ? "1" : "0";
      }).join(""))
  );
}

type Corner = "top-left" | "bottom-right";
const SIZES = [1, 3, Infinity];

describe("packed sequences", () => {
  const square = { qSeqlen: [3, 4], kvSeqlen: [3, 4] };
  const oblong = { qSeqlen: [2, 3, 4], kvSeqlen: [5, 3, 2] };
  const places = new Map([
    [square, { ...square, begins: [0, 3], total: 7 }],
    [oblong, { ...oblong, begins: [0, 5, 8], total: 10 }],
  ]);
  type Sequences = typeof square;
  const masks: readonly [(of: Sequences) => BlockDiagonalMask, Rule, Corner?][] = [
    [(of) => new BlockDiagonalMask(of), everything],
    [(of) => new BlockDiagonalCausalMask(of), causal, "top-left"],
    [(of) => new BlockDiagonalCausalFromBottomRightMask(of), fromEnd, "bottom-right"],
    [(of) => new BlockDiagonalCausalLocalAttentionMask(of, 2), local(2), "top-left"],
    [
      (of) => new BlockDiagonalCausalLocalAttentionFromBottomRightMask(of, 2),
      localFromEnd(2),
      "bottom-right",
    ],
  ];
  interface Method {
    readonly name: string;
    readonly make: (mask: BlockDiagonalMask) => BlockDiagonalMask;
    /** What it asks for, of a mask that counts from a corner. */
    readonly rule: (corner?: Corner) => Rule;
    /** The corner that it counts from, if not the mask's own. */
    readonly corner?: Corner;
  }
  const methods: readonly Method[] = [
    { name: "makeCausal()", make: (m) => m.makeCausal(), rule: () => causal, corner: "top-left" },
    {
      name: "makeCausalFromBottomRight()",
      make: (m) => m.makeCausalFromBottomRight(),
      rule: () => fromEnd,
      corner: "bottom-right",
    },
    ...SIZES.flatMap((w): Method[] => [
      {
        name: `makeLocalAttention(${w})`,
        make: (m) => m.makeLocalAttention(w),
        rule: (corner) => corner === "bottom-right" ? localFromEnd(w) : local(w),
      },
      {
        name: `makeLocalAttentionFromBottomRight(${w})`,
        make: (m) => m.makeLocalAttentionFromBottomRight(w),
        rule: () => localFromEnd(w),
        corner: "bottom-right",
      },
    ]),
  ];

  for (const [mask, own, corner] of masks) {
    it(`${mask(square).constructor.name} hides what it and its make*() hide`, () => {
      for (const { name, make, rule, corner: wanted } of methods) {
        for (const [sequences, blocks] of places) {
          const from = mask(sequences);
          if (sequences === oblong && corner && wanted && corner !== wanted) {
            assertThrows(() => make(from), TypeError, "block 0 has 2 queries and 5 keys", name);
            continue;
          }
          const expected = drawn([own, rule(corner)], blocks);
          assertEquals(rowsOf(make(from), [expected.length, blocks.total]), expected, name);
        }
      }
    });
  }

  it("by hand: the last 3 of 5 keys, counted from the end", () => {
    const mask = BlockDiagonalMask.fromSeqlens([2], [5]).makeCausalFromBottomRight();
    assertEquals(rowsOf(mask.makeLocalAttention(3), [2, 5]), ["01110", "00111"]);
    assertInstanceOf(
      mask.makeLocalAttention(3),
      BlockDiagonalCausalLocalAttentionFromBottomRightMask,
    );
  });

  it("a window stays when a mask is made causal, with its class", () => {
    const mask = new BlockDiagonalCausalLocalAttentionMask(square, 2);
    assertInstanceOf(mask.makeCausal(), BlockDiagonalCausalLocalAttentionMask);
  });
});

describe("padded keys", () => {
  const of = { qSeqlen: [2, 3], kvPadding: 6, kvSeqlen: [6, 4] };
  const blocks = { ...of, begins: [0, 6], total: 12 };
  const masks: readonly [BlockDiagonalPaddedKeysMask, Rule][] = [
    [new BlockDiagonalPaddedKeysMask(of), everything],
    [new BlockDiagonalCausalWithOffsetPaddedKeysMask(of), fromEnd],
    [new BlockDiagonalLocalAttentionPaddedKeysMask(of, 2, 1), around(2, 1)],
    [new BlockDiagonalCausalLocalAttentionPaddedKeysMask(of, 3), localFromEnd(3)],
  ];
  for (const [mask, own] of masks) {
    it(`${mask.constructor.name} hides what it and makeLocalAttention() hide`, () => {
      for (const left of [0, 1, 3, Infinity]) {
        for (const right of [0, 1, 2, Infinity]) {
          const made = mask.makeLocalAttention(left, right);
          const expected = drawn([own, around(left, right)], blocks);
          assertEquals(rowsOf(made, [5, blocks.total]), expected, `${left}, ${right}`);
        }
      }
    });
  }

  it("by hand: causal, 2 keys to the left", () => {
    const mask = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([2], 6, [5]);
    assertEquals(rowsOf(mask.makeLocalAttention(1, 3), [2, 6]), ["001100", "000110"]);
  });
});

it("dense windows take the smaller of two", () => {
  const sequence = { qSeqlen: [3], kvSeqlen: [5], begins: [0], total: 5 };
  for (const w of SIZES) {
    for (
      const [mask, own] of [
        [new LowerTriangularFromBottomRightMask(), fromEnd],
        [new LowerTriangularFromBottomRightLocalAttentionMask(2), localFromEnd(2)],
      ] as const
    ) {
      const expected = drawn([own, localFromEnd(w)], sequence);
      assertEquals(rowsOf(mask.makeLocalAttention(w), [3, 5]), expected);
    }
  }
});

it("every make*() of every mask is in this file or paged_test.ts", () => {
  const masks = Object.values(attention).filter((value) =>
    typeof value === "function" && value.prototype instanceof AttentionBias
  ) as readonly { readonly prototype: object }[];
  const names = new Set(masks.flatMap(({ prototype }) => Object.getOwnPropertyNames(prototype)));
  assertEquals(
    [...names].filter((name) => name.startsWith("make") || name.startsWith("to")).sort(),
    [
      "makeCausal",
      "makeCausalFromBottomRight",
      "makeLocalAttention",
      "makeLocalAttentionFromBottomRight",
      "makePaged",
    ],
  );
});
