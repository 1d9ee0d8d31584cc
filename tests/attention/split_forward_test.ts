/** The op for few queries: lengths, windows, caches, when it is chosen, and that its parts do not show. */
import {
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalPaddedKeysMask,
  type Device,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightMask,
  memoryEfficientAttention,
  memoryEfficientAttentionForwardRequiresGrad,
  type MemoryEfficientAttentionOptions,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  requestDevice,
  SplitKForwardOp,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { usualKernelOn } from "./_ops.ts";
import { assertMatchesReference, bmhk, randomValues, TIGHT } from "./_compare.ts";

const device = await sharedDevice();
const op = SplitKForwardOp;
const K = 8;

/** Labels of the kernels that a call runs. */
async function kernelsOf(
  on: Device,
  [B, Mq, Mkv, H]: readonly [number, number, number, number],
  options: MemoryEfficientAttentionOptions = {},
): Promise<string[]> {
  using q = on.zeros([B, Mq, H, K]);
  using k = on.zeros([B, Mkv, H, K]);
  const { kernels } = await on.profile(() => memoryEfficientAttention(q, k, k, options).dispose());
  return kernels.map(({ kernel }) => kernel).sort();
}

describe("splitKF", () => {
  for (const Mkv of [63, 73, 257, 1025, 4096]) {
    it(`takes 1 to 16 queries on ${Mkv} keys`, async () => {
      for (const Mq of [1, 3, 4, 7, 8, 15, 16]) {
        await assertMatchesReference(device, bmhk([1, Mq, Mkv, 2, K, K], { op, padded: false }));
      }
    });
  }

  it("takes 65,536 keys", async () => {
    for (const Mq of [1, 16]) {
      await assertMatchesReference(device, bmhk([1, Mq, 65536, 1, K, K], { op, padded: false }));
    }
  });

  it("takes inputs between NaN, and head dims that differ", async () => {
    await assertMatchesReference(device, bmhk([2, 1, 1025, 2, 8, 8], { op }));
    await assertMatchesReference(device, bmhk([2, 2, 600, 2, 5, 18], { op }));
  });

  it("takes windows, of which whole parts may see nothing", async () => {
    const masks = [
      new LowerTriangularFromBottomRightMask(),
      new LowerTriangularFromBottomRightMask().makeLocalAttention(1),
      new LowerTriangularFromBottomRightMask().makeLocalAttention(300),
      new LocalAttentionFromBottomRightMask(700, 2),
      new LocalAttentionFromBottomRightMask(0, Infinity),
    ];
    for (const mask of masks) {
      for (const Mq of [1, 7, 16]) {
        await assertMatchesReference(
          device,
          bmhk([1, Mq, 1500, 2, K, K], { op, mask, padded: false }),
        );
      }
      // More queries than keys.
      await assertMatchesReference(
        device,
        bmhk([1, 400, 300, 1, K, K], { op, mask, padded: false }),
      );
    }
  });

  it("adds biases and slopes, and drops, over several parts", async () => {
    const rest = { op, padded: false };
    const sizes = [1, 7, 1100, 2, K, K] as const;
    await assertMatchesReference(
      device,
      bmhk(sizes, { ...rest, bias: [2, 7, 1100], alibi: [0.1, 0.01] }),
    );
    await assertMatchesReference(device, bmhk(sizes, { ...rest, p: 0.3 }));
  });
});

describe("splitKF on caches", () => {
  const lengths = [0, 1, 300, 1024, 0, 257];
  const queries = [1, 2, 5, 1, 3, 7];
  const Mq = 19;

  it("takes slots of very different lengths", async () => {
    for (
      const mask of [
        BlockDiagonalPaddedKeysMask.fromSeqlens(queries, 1024, lengths),
        BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(queries, 1024, lengths),
        BlockDiagonalPaddedKeysMask.fromSeqlens(queries, 1024, lengths).makeLocalAttention(270, 0),
      ]
    ) {
      await assertMatchesReference(
        device,
        bmhk([1, Mq, 6 * 1024, 2, K, K], { op, mask, padded: false }),
      );
    }
  });

  it("takes pages in any order, and gives what slots give", async () => {
    const size = 64;
    // Sequence b's pages, from the last of the pool down; a slot has 16.
    const tables = lengths.map((length, b) =>
      Array.from({ length: Math.ceil(length / size) }, (_, page) => 6 * 16 - 1 - (16 * b + page))
    );
    const paged = PagedBlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(
      queries,
      lengths,
      tables,
      size,
    );
    const sizes = [1, Mq, 6 * 1024, 2, K, K] as const;
    await assertMatchesReference(device, bmhk(sizes, { op, mask: paged, padded: false }));

    const padded = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(queries, 1024, lengths);
    const count = 6 * 1024 * 2 * K;
    using q = device.tensor(randomValues(Mq * 2 * K, 1), { shape: [1, Mq, 2, K] });
    using slots = device.tensor(randomValues(count, 2), { shape: [1, 6 * 16, size, 2 * K] });
    const backwards = Array.from({ length: 6 * 16 }, (_, page) => 6 * 16 - 1 - page);
    const rows = await slots.data();
    const pageOf = (page: number) => rows.slice(page * size * 2 * K, (page + 1) * size * 2 * K);
    const moved = new Float32Array(backwards.flatMap((page) => [...pageOf(page)]));
    using kSlots = device.tensor(rows, { shape: [1, 6 * 1024, 2, K] });
    using kPages = device.tensor(moved, { shape: [1, 6 * 1024, 2, K] });
    const run = (k: typeof kSlots, attnBias: typeof padded | typeof paged) =>
      memoryEfficientAttentionForwardRequiresGrad(q, k, k, { attnBias, op });
    const [fromSlots, fromPages] = [run(kSlots, padded), run(kPages, paged)];
    assertEquals(await fromPages.out.data(), await fromSlots.out.data());
    assertEquals(await fromPages.lse.data(), await fromSlots.lse.data());
  });
});

describe("splitKF is chosen", () => {
  const isSplit = async (...args: Parameters<typeof kernelsOf>) =>
    (await kernelsOf(...args)).includes("split_forward");

  it("for up to 16 queries on 256 keys or more, with a kernel of its own", async () => {
    assertEquals(await isSplit(device, [1, 16, 256, 2]), true);
    assertEquals(await isSplit(device, [3, 1, 4096, 2]), true);
    assertEquals(await isSplit(device, [1, 17, 256, 2]), false);
    assertEquals(await isSplit(device, [1, 16, 255, 2]), false);
    assertEquals(await isSplit(device, [1, 1, 63, 2]), false);
  });

  it("for one block of rows on many keys, with the usual kernel on each part", async () => {
    const whole = usualKernelOn(device);
    assertEquals(await kernelsOf(device, [1, 17, 600, 1]), [whole, "merge_attentions"].sort());
    // More rows than any block, and keys that are too few for two parts.
    assertEquals(await kernelsOf(device, [1, 300, 600, 1]), [whole]);
    assertEquals(await kernelsOf(device, [1, 17, 500, 1]), [whole]);
    await assertMatchesReference(device, bmhk([1, 17, 600, 1, K, K], { padded: false }));
  });

  it("by the longest block of packed sequences", async () => {
    const masked = (queries: number[], kv: number[]) => ({
      attnBias: BlockDiagonalPaddedKeysMask.fromSeqlens(queries, 300, kv),
    });
    assertEquals(await isSplit(device, [1, 20, 600, 2], masked([16, 4], [256, 0])), true);
    assertEquals(await isSplit(device, [1, 20, 600, 2], masked([17, 3], [256, 0])), false);
    assertEquals(await isSplit(device, [1, 20, 600, 2], masked([16, 4], [255, 255])), false);
  });

  it("not for head dims above 512, which it refuses", () => {
    using q = device.zeros([1, 1, 1, 520]);
    using k = device.zeros([1, 300, 1, 520]);
    assertEquals(op.notSupportedReasons(q, k, k), [
      "head dim K = 520 > 512",
      "head dim Kv = 520 > 512",
    ]);
    assertThrows(() => memoryEfficientAttention(q, k, k, { op }), RangeError, "head dim K = 520");
  });
});

it("splitKF gives the same whatever the number of parts, up to rounding", async () => {
  const M = 1024;
  // 1,100 sequences alike keep any device busy without cutting keys; one does not.
  assertEquals((await kernelsOf(device, [1, 1, M, 1], { op })).includes("merge_attentions"), true);
  assertEquals(await kernelsOf(device, [1100, 1, M, 1], { op }), ["split_forward"]);
  using q = device.tensor(randomValues(K, 1), { shape: [1, 1, 1, K] });
  using k = device.tensor(randomValues(M * K, 2), { shape: [1, M, 1, K] });
  using v = device.tensor(randomValues(M * K, 3), { shape: [1, M, 1, K] });
  const cut = memoryEfficientAttentionForwardRequiresGrad(q, k, v, { op });
  const [many, keys, values] = [q, k, v].map((x) => x.expand([1100, ...x.shape.slice(1)]));
  const whole = memoryEfficientAttentionForwardRequiresGrad(many!, keys!, values!, { op });
  for (const name of ["out", "lse"] as const) {
    const all = await whole[name].data();
    const one = await cut[name].data();
    for (const sequence of [0, 1099]) {
      const own = all.slice(sequence * one.length, (sequence + 1) * one.length);
      assertAllClose(own, one, TIGHT);
    }
  }
});

it("splitKF does without subgroups", async () => {
  using plain = await requestDevice({ tune: false, subgroups: false });
  assertEquals(plain.info.subgroupSize, 0);
  await assertMatchesReference(plain, bmhk([1, 2, 600, 2, K, K], { op, padded: false }));
});
