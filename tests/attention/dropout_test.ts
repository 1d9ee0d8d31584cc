/** Dropout of weights: which are dropped, that all ops drop the same, and as often as they should. */
import {
  type AttentionForwardOp,
  BlockDiagonalMask,
  type Device,
  FlashForwardOp,
  MathForwardOp,
  memoryEfficientAttention,
  memoryEfficientAttentionForwardRequiresGrad,
  requestDevice,
  SplitKForwardOp,
  tidy,
} from "@denoformers/attention";
import { assert, assertEquals, assertLess, assertNotEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { isCore } from "../_extent.ts";
import { forwardOpsOn } from "./_ops.ts";
import { assertMatchesReference, bmhk, randomValues } from "./_compare.ts";
import { MASK_FAMILIES, SHORT_BLOCKS } from "./_mask_cases.ts";
import { keptFactor } from "./_places.ts";

const device = await sharedDevice();

/** Keys, and Kv, of the mask's queries below. */
const KEYS = 16;

interface MaskCall {
  readonly B: number;
  readonly Mq: number;
  readonly H: number;
  readonly p: number;
  readonly seed?: number;
  readonly attnBias?: BlockDiagonalMask;
}

/**
 * Which weights an op keeps, as 0 and 1 in the order [B, Mq, H, KEYS]: with equal weights and the identity
 * as values, element j of an output row is the weight of key j.
 */
async function keptBy(
  on: Device,
  op: AttentionForwardOp,
  { B, Mq, H, p, seed, attnBias }: MaskCall,
): Promise<number[]> {
  using out = tidy(() => {
    const rows = (attnBias ? 2 : 1) * KEYS; // Each of two blocks has keys of its own.
    const eye = Float32Array.from({ length: rows * KEYS }, (_, at) => {
      return Math.floor(at / KEYS) % KEYS === at % KEYS ? 1 : 0;
    });
    const v = on.tensor(eye, { shape: [1, rows, 1, KEYS] }).expand([B, rows, H, KEYS]);
    const q = on.zeros([B, Mq, H, KEYS]);
    const k = on.zeros([B, rows, H, KEYS]);
    return memoryEfficientAttention(q, k, v, { op, p, seed, attnBias });
  });
  return Array.from(await out.data(), (x) => x === 0 ? 0 : 1);
}

/** The same by the host's Philox. */
function keptByHost({ B, Mq, H, p, seed = 0 }: MaskCall): number[] {
  return Array.from({ length: B * Mq * H * KEYS }, (_, at) => {
    const key = at % KEYS;
    const head = Math.floor(at / KEYS) % H;
    const row = Math.floor(at / KEYS / H) % Mq;
    const block = Math.floor(at / KEYS / H / Mq);
    return keptFactor(p, seed, head, { block, row, key, queries: Mq, keys: KEYS }) > 0 ? 1 : 0;
  });
}

for (const op of forwardOpsOn(device)) {
  describe(`${op.name} dropout`, () => {
    it("equals the reference, at upstream's lengths", async () => {
      for (const Mq of [2, 33]) {
        for (const Mkv of [3, 15, 32, 33, 65]) {
          for (const p of [1e-6, 0.3, 0.7]) {
            const rest = { op, p, seed: 2 ** 40 + 5, padded: false };
            await assertMatchesReference(device, bmhk([2, Mq, Mkv, 2, 8, 8], rest));
          }
        }
      }
    });

    it("equals the reference under every family of masks", async () => {
      for (const { mask, B, Mq, Mkv } of [...MASK_FAMILIES, ...SHORT_BLOCKS]) {
        const rest = { op, mask, p: 0.4, padded: false };
        await assertMatchesReference(device, bmhk([B, Mq, Mkv, 2, 8, 8], rest));
      }
    });

    it("of p = 0 gives the same bits as none, and of p = 1 exact zeros and the same lse", async () => {
      const shape = [2, 33, 2, 8];
      using x = device.tensor(randomValues(2 * 33 * 2 * 8, 1), { shape });
      using nan = device.full(shape, NaN);
      const run = (value = x, p?: number) =>
        memoryEfficientAttentionForwardRequiresGrad(x, x, value, { op, p, seed: 1 });
      const [none, zero, one] = [run(), run(x, 0), run(nan, 1)];
      assertEquals(await zero.out.data(), await none.out.data());
      assertEquals(await zero.lse.data(), await none.lse.data());
      assertEquals(new Set(await one.out.data()), new Set([0]), "even if values are NaN");
      assertEquals(await one.lse.data(), await none.lse.data());
      for (const { out, lse } of [none, zero, one]) {
        out.dispose();
        lse.dispose();
      }
    });

    it("drops what the host's Philox says, by seed, batch, head and places alone", async () => {
      const call = { B: 2, Mq: 5, H: 3, p: 0.5, seed: 11 };
      const kept = await keptBy(device, op, call);
      assertEquals(kept, keptByHost(call));
      assertEquals(await keptBy(device, op, call), kept, "the same seed");
      const other = { ...call, seed: 12 };
      assertEquals(await keptBy(device, op, other), keptByHost(other));
      assertNotEquals(await keptBy(device, op, other), kept);
    });

    it("of block b of a packed call equals that of sequence b of a batch", async () => {
      const [H, p, seed] = [3, 0.5, 11];
      const attnBias = BlockDiagonalMask.fromSeqlens([3, 5], [KEYS, KEYS]);
      const packed = await keptBy(device, op, { B: 1, Mq: 8, H, p, seed, attnBias });
      const batched = await keptBy(device, op, { B: 2, Mq: 5, H, p, seed });
      const row = H * KEYS;
      assertEquals(packed, [...batched.slice(0, 3 * row), ...batched.slice(5 * row)]);
    });
  });
}

describe("dropout", () => {
  it("is the same without subgroups, in tiles of other sizes", { ignore: isCore }, async () => {
    using plain = await requestDevice({ tune: false, subgroups: false });
    assertEquals(plain.info.subgroupSize, 0);
    const call = { B: 2, Mq: 2, H: 3, p: 0.5, seed: 11 };
    for (const op of [FlashForwardOp, SplitKForwardOp]) {
      assertEquals(await keptBy(plain, op, call), keptByHost(call), op.name);
    }
  });

  it("takes a new seed every time where none is given", async () => {
    const call = { B: 1, Mq: 5, H: 2, p: 0.5 };
    const first = await keptBy(device, MathForwardOp, call);
    assertNotEquals(await keptBy(device, MathForwardOp, call), first);
  });

  for (const p of [0.3, 0.7]) {
    it(`keeps ${1 - p} of the weights: all together and each of them, over 200 seeds`, async () => {
      const [seeds, Mq, H] = [200, 4, 2];
      const masks = await Promise.all(Array.from(
        { length: seeds },
        (_, seed) => keptBy(device, FlashForwardOp, { B: 1, Mq, H, p, seed }),
      ));
      const counts = masks[0]!.map((_, at) => masks.reduce((sum, mask) => sum + mask[at]!, 0));
      // By the normal approximation to the binomial distribution, good at n p (1 - p) = 42, |z| < 4.9 is a
      // p-value above 1e-6. Seeds are fixed, so a pass stays one.
      const score = (kept: number, n: number) =>
        Math.abs(kept - n * (1 - p)) / Math.sqrt(n * p * (1 - p));
      for (const kept of counts) assertLess(score(kept, seeds), 4.9);
      const total = counts.reduce((sum, kept) => sum + kept, 0);
      assertLess(score(total, seeds * counts.length), 4.9);
      assert(
        new Set(masks.map((mask) => mask.join(""))).size === seeds,
        "each seed has its own mask",
      );
    });
  }
});
