/** Masks over packed sequences: xformers' values, packing and splitting, wrong lengths. */
import {
  BlockDiagonalCausalFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionFromBottomRightMask,
  BlockDiagonalCausalLocalAttentionMask,
  BlockDiagonalCausalMask,
  BlockDiagonalMask,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { assertMatchesGolden, rowsOf } from "./_golden.ts";

const device = await sharedDevice();

for (
  const { name } of [
    BlockDiagonalMask,
    BlockDiagonalCausalMask,
    BlockDiagonalCausalFromBottomRightMask,
    BlockDiagonalCausalLocalAttentionMask,
    BlockDiagonalCausalLocalAttentionFromBottomRightMask,
  ]
) {
  it(`${name} allows what xformers' allows`, () => assertMatchesGolden(name));
}

describe("BlockDiagonalMask.fromSeqlens()", () => {
  it("makes the class that it is called on", () => {
    assertInstanceOf(BlockDiagonalCausalMask.fromSeqlens([1, 2]), BlockDiagonalCausalMask);
    assertInstanceOf(BlockDiagonalCausalMask.fromSeqlens([1, 2]), BlockDiagonalMask);
  });

  it("takes typed arrays, and keeps copies", () => {
    const lengths = Int32Array.of(1, 2);
    const mask = BlockDiagonalMask.fromSeqlens(lengths, Uint32Array.of(3, 0));
    lengths[0] = 9;
    assertEquals(mask.qSeqlen, [1, 2]);
    assertEquals(rowsOf(mask, [3, 3]), ["111", "000", "000"]);
  });

  it("takes no sequence at all", () => {
    assertEquals(BlockDiagonalMask.fromSeqlens([]).mismatch(1, 0, 0), undefined);
  });

  it("refuses lengths that are no whole numbers", () => {
    const refuse = (lengths: readonly number[], message: string) =>
      assertThrows(() => BlockDiagonalMask.fromSeqlens(lengths), RangeError, message);
    refuse(
      [2, -1],
      "Cannot make a BlockDiagonalMask: qSeqlen[1] is -1, expected a whole number >= 0",
    );
    refuse([2.5], "qSeqlen[0] is 2.5");
    refuse([1, NaN], "qSeqlen[1] is NaN");
    assertThrows(
      () => BlockDiagonalMask.fromSeqlens([1, 2], [3]),
      RangeError,
      "kvSeqlen has 1 entries, expected 2, as many as qSeqlen",
    );
    assertThrows(
      () => BlockDiagonalMask.fromSeqlens(3 as unknown as number[]),
      TypeError,
      "qSeqlen is 3, expected an array",
    );
  });
});

it("BlockDiagonalCausalLocalAttentionMask.fromSeqlens() is refused for want of a window", () => {
  assertThrows(
    // @ts-expect-error The constructor wants a window.
    () => BlockDiagonalCausalLocalAttentionMask.fromSeqlens([2]),
    RangeError,
    "windowSize is undefined",
  );
});

describe("BlockDiagonalMask.make*()", () => {
  const mask = BlockDiagonalMask.fromSeqlens([3, 1], [1, 2]);

  it("allows queries without keys, unlike xformers", () => {
    assertEquals(rowsOf(mask.makeCausalFromBottomRight(), [4, 3]), ["000", "000", "100", "011"]);
    assertEquals(rowsOf(mask.makeLocalAttention(1), [4, 3]), ["100", "000", "000", "010"]);
    assertEquals(
      rowsOf(mask.makeLocalAttentionFromBottomRight(1), [4, 3]),
      ["000", "000", "100", "001"],
    );
  });

  it("takes windows of Infinity, and refuses those below 1", () => {
    assertEquals(
      rowsOf(mask.makeLocalAttention(Infinity), [4, 3]),
      rowsOf(mask.makeCausal(), [4, 3]),
    );
    for (const windowSize of [0, -1, 1.5]) {
      assertThrows(() => mask.makeLocalAttention(windowSize), RangeError, `is ${windowSize}`);
      assertThrows(
        () => mask.makeLocalAttentionFromBottomRight(windowSize),
        RangeError,
        `windowSize is ${windowSize}, expected a whole number >= 1 or Infinity`,
      );
    }
  });
});

it("BlockDiagonalMask.mismatch() wants B = 1 and the totals", () => {
  const mask = BlockDiagonalMask.fromSeqlens([1, 2], [3, 4]);
  assertEquals(mask.mismatch(1, 3, 7), undefined);
  assertEquals(
    mask.mismatch(2, 3, 7),
    "expected B = 1 for packed sequences, put them one after the other along M",
  );
  assertEquals(mask.mismatch(1, 2, 7), "expected Mq = 3, the sum of qSeqlen");
  assertEquals(mask.mismatch(1, 3, 8), "expected Mkv = 7, the sum of kvSeqlen");
});

/** Tensors whose elements are numbered through. */
function numbered(shapes: readonly (readonly number[])[]): Tensor[] {
  let next = 0;
  return shapes.map((shape) => {
    const count = shape.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: count }, () => next++);
    return device.tensor(data, { shape });
  });
}

async function assertSame(parts: readonly Tensor[], expected: readonly Tensor[]): Promise<void> {
  assertEquals(parts.map(({ shape }) => shape), expected.map(({ shape }) => shape));
  for (const [i, part] of parts.entries()) {
    assertEquals(await part.data(), await expected[i]!.data());
  }
}

describe("BlockDiagonalMask.fromTensorList()", () => {
  const shapes = [[2, 3, 2, 4], [1, 5, 2, 4], [2, 0, 2, 4], [3, 1, 2, 4]];

  it("packs rows one after the other, and split() takes them apart again", async () => {
    const tensors = numbered(shapes);
    const [mask, packed] = BlockDiagonalMask.fromTensorList(tensors);
    assertEquals(packed.shape, [1, 14, 2, 4]);
    assertEquals([...await packed.data()], Array.from({ length: 14 * 8 }, (_, i) => i));
    assertEquals(mask.qSeqlen, [3, 3, 5, 0, 0, 1, 1, 1]);
    await assertSame(mask.split(packed), tensors);
  });

  it("takes strided tensors", async () => {
    const strided = numbered([[2, 2, 3], [2, 1, 4]]).map((tensor) => tensor.transpose(1, 2));
    const [mask, packed] = BlockDiagonalMask.fromTensorList(strided.map((t) => t.slice(2, 0, 1)));
    assertEquals(packed.shape, [1, 14, 1]);
    await assertSame(mask.split(packed), strided.map((t) => t.slice(2, 0, 1)));
  });

  it("splits a part of a packed qkv tensor in views", async () => {
    const [qkv] = numbered([[1, 5, 3, 2]]);
    const mask = BlockDiagonalMask.fromSeqlens([2, 3]);
    const key = qkv!.select(2, 1);
    const parts = mask.split(key);
    await assertSame(parts, [key.slice(1, 0, 2), key.slice(1, 2, 5)]);
    assertEquals(parts[0]!.strides.at(-1), key.strides.at(-1));
  });

  it("keeps the batch sizes when the rule changes", async () => {
    const tensors = numbered(shapes);
    const [mask, packed] = BlockDiagonalMask.fromTensorList(tensors);
    for (
      const other of [
        mask.makeCausal(),
        mask.makeCausalFromBottomRight(),
        mask.makeLocalAttention(2),
        mask.makeCausal().makeLocalAttentionFromBottomRight(2),
      ]
    ) {
      await assertSame(other.split(packed), tensors);
    }
  });

  it("leaves nothing behind but its results", async () => {
    const tensors = numbered(shapes);
    await assertNoLeak(device, () => {
      const [mask, packed] = BlockDiagonalMask.fromTensorList(tensors);
      for (const part of mask.split(packed)) part.dispose();
      packed.dispose();
    });
  });

  it("refuses an empty list and tensors without M", () => {
    assertThrows(() => BlockDiagonalMask.fromTensorList([]), RangeError, "at least one is needed");
    using vector = device.zeros([3]);
    assertThrows(
      () => BlockDiagonalMask.fromTensorList([vector]),
      TypeError,
      "tensors[0] has shape [3], expected [B, M, ...]",
    );
  });
});

describe("BlockDiagonalMask.fromTensorListsQkv()", () => {
  it("packs all three, and splits queries and keys each by their own lengths", async () => {
    const queries = numbered([[2, 3, 4], [1, 1, 4]]);
    const keys = numbered([[2, 5, 4], [1, 2, 4]]);
    const values = numbered([[2, 5, 7], [1, 2, 7]]);
    const { mask, query, key, value } = BlockDiagonalMask.fromTensorListsQkv(queries, keys, values);
    assertEquals([query.shape, key.shape, value.shape], [[1, 7, 4], [1, 12, 4], [1, 12, 7]]);
    await assertSame(mask.splitQueries(query), queries);
    await assertSame(mask.splitKv(key), keys);
    await assertSame(mask.splitKv(value), values);
    assertThrows(() => mask.split(query), RangeError, "use splitQueries() or splitKv()");
  });

  it("leaves the value out where there is none", () => {
    const [x] = numbered([[2, 3, 4]]);
    assertEquals(BlockDiagonalMask.fromTensorListsQkv([x!], [x!]).value, undefined);
  });

  it("refuses lists that do not go together, and leaves nothing behind", async () => {
    const [a, b, c] = numbered([[2, 3, 4], [1, 3, 4], [2, 5, 4]]) as [Tensor, Tensor, Tensor];
    await assertNoLeak(device, () => {
      assertThrows(
        () => BlockDiagonalMask.fromTensorListsQkv([a, b], [a]),
        RangeError,
        "there are 2 queries and 1 keys, expected as many",
      );
      assertThrows(
        () => BlockDiagonalMask.fromTensorListsQkv([a], [b]),
        RangeError,
        "queries[0] has shape [2, 3, 4] and keys[0] [1, 3, 4], expected the same B",
      );
      assertThrows(
        () => BlockDiagonalMask.fromTensorListsQkv([a], [a], [c]),
        RangeError,
        "keys[0] has shape [2, 3, 4] and values[0] [2, 5, 4], expected the same B and M",
      );
    });
  });
});

it("BlockDiagonalMask.split() refuses another total or batch", () => {
  const mask = BlockDiagonalMask.fromSeqlens([2, 3]);
  tidy(() => {
    assertThrows(
      () => mask.split(device.zeros([1, 6, 4])),
      RangeError,
      "Cannot split a tensor of shape [1, 6, 4]: expected [1, 5, ...], the sum of the mask's lengths",
    );
    assertThrows(() => mask.split(device.zeros([2, 5, 4])), RangeError, "expected [1, 5, ...]");
  });
});

it("BlockDiagonalMask refuses batch sizes that do not add up", () => {
  assertThrows(
    () => new BlockDiagonalMask({ qSeqlen: [2, 3], batchSizes: [3] }),
    RangeError,
    "batchSizes has sum 3, expected 2, the number of sequences",
  );
});
