/** The shapes of xformers' own forward tests, thinned, and the sizes at which its kernels gave up. */
import {
  type AttentionForwardOp,
  FlashForwardOp,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  MathForwardOp,
  SplitKForwardOp,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { beyondCore, isCore } from "../_extent.ts";
import { assertMatchesReference, bmhk, type Case } from "./_compare.ts";

type Sizes = readonly [B: number, Mq: number, Mkv: number, H: number, K: number, Kv: number];

const device = await sharedDevice();
const causal = new LowerTriangularMask();

async function check(sizes: Sizes, rest: Partial<Case> = {}): Promise<void> {
  await assertMatchesReference(device, bmhk(sizes, { padded: false, ...rest }));
}

describe("attention on upstream's shapes", () => {
  it("takes odd lengths of queries and of keys", async () => {
    for (const length of [2, 3, 15, 31, 32, 34, 68, 72, 90, 132, 136]) {
      for (const op of [FlashForwardOp, MathForwardOp]) {
        await check([1, length, 128, 1, 8, 8], { op });
        await check([1, 64, length, 1, 8, 8], { op, mask: causal });
      }
    }
  });

  // flash_forward_test.ts has the others of the list: 1, 3, 40, 64, 80, 128, 160 and 256.
  for (const K of [31, ...beyondCore(2, 34, 36, 38)]) {
    it(`takes K = Kv = ${K}`, () => check([1, 65, 33, 2, K, K], { mask: causal }));
  }

  // The largest takes some 20 s to compile on lavapipe, so the rest of the list is left to the formula.
  it("takes K = Kv = 512 without the scores in memory", { ignore: isCore }, async () => {
    const op = FlashForwardOp;
    await check([1, 70, 33, 2, 512, 512], { mask: causal, op, padded: false });
  });

  for (const [K, Kv] of [[258, 258], [264, 264], [32, 264], [264, 32]] as const) {
    it(`takes K = ${K}, Kv = ${Kv} by the formula`, async () => {
      await check([1, 33, 17, 2, K, Kv], { mask: causal, op: MathForwardOp });
    });
  }

  for (const [K, Kv] of [[520, 520], [32, 520], [520, 32]] as const) {
    it(`takes K = ${K}, Kv = ${Kv} by the formula alone`, async () => {
      await check([1, 33, 17, 2, K, Kv], { mask: causal });
      using q = device.zeros([1, 3, 1, K]);
      using k = device.zeros([1, 5, 1, K]);
      using v = device.zeros([1, 5, 1, Kv]);
      assertEquals(supporting([FlashForwardOp, SplitKForwardOp, MathForwardOp], q, k, v), [
        "mathF",
      ]);
    });
  }

  for (const [K, Kv] of [[32, 36], [36, 32]] as const) {
    it(`takes K = ${K}, Kv = ${Kv}`, () => check([2, 33, 65, 1, K, Kv]));
  }

  it("takes few queries on many keys and many on few", async () => {
    for (const mask of [undefined, causal]) {
      const rest = mask ? { mask } : {};
      await check([1, 16, 1024, 3, 8, 8], rest);
      await check([1, 1024, 16, 3, 8, 8], rest);
    }
  });

  it("takes 3, 5 and 12 heads", async () => {
    for (const H of [3, 5, 12]) await check([Math.floor(36 / H), 32, 33, H, 8, 8]);
  });

  // Upstream's, with lengths of 128 and head dims of 128 scaled down in the first.
  const singled: readonly Sizes[] = [
    [1, 16, 16, 300, 8, 8],
    [13, 1, 67, 200, 8, 8],
    [1, 65537, 4, 1, 8, 8],
    [1, 4, 65537, 1, 8, 8],
  ];
  for (const sizes of singled) {
    it(`takes (B, Mq, Mkv, H, K, Kv) = (${sizes.join(", ")})`, () => check(sizes));
  }
});

function supporting(
  ops: readonly AttentionForwardOp[],
  ...inputs: Parameters<AttentionForwardOp["notSupportedReasons"]>
): string[] {
  return ops.flatMap((op) => op.notSupportedReasons(...inputs).length === 0 ? [op.name] : []);
}

describe("attention beyond 65,535, where upstream fails", () => {
  // One dimension of a dispatch takes 65,535 workgroups; CPU drivers need seconds for as many.
  it("takes 65,600 sequences, by flashF", () =>
    check([65600, 1, 2, 1, 8, 8], { op: FlashForwardOp }));

  it("takes 65,600 heads, by splitKF", () =>
    check([1, 1, 2, 65600, 8, 8], { op: SplitKForwardOp }));
});

it("attention on 40 random shapes", async () => {
  let state = 20240701;
  const below = (count: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor(state / 2 ** 32 * count);
  };
  const masks = [
    undefined,
    causal,
    new LowerTriangularFromBottomRightMask(),
    new LocalAttentionFromBottomRightMask(20, 5),
  ];
  for (let turn = 0; turn < 40; turn++) {
    const [B, Mq, Mkv, H] = [1 + below(3), 1 + below(150), 1 + below(150), 1 + below(5)];
    const [K, Kv] = [8 + 8 * below(2), 8 + 8 * below(2)];
    const mask = masks[below(masks.length)];
    await check([B, Mq, Mkv, H, K, Kv], mask ? { mask } : {});
  }
});
