/** Query heads that share key heads: by index, never by a copy; few queries go to the op for them. */
import {
  FlashForwardOp,
  memoryEfficientAttention,
  SplitKForwardOp,
  type Tensor,
} from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { forwardOpsOn, usualKernelOn } from "./_ops.ts";
import { assertMatchesReference } from "./_compare.ts";
import { MASK_FAMILIES, SHORT_BLOCKS } from "./_mask_cases.ts";

const device = await sharedDevice();
const K = 8;

/** Heads of query and key, by rank: grouped, and all heads with one. */
const SHARED = [
  { query: [6], key: [2] },
  { query: [3], key: [1] },
  { query: [2, 3], key: [2, 1] },
  { query: [1, 3], key: [1, 1] },
] as const;

for (const op of forwardOpsOn(device)) {
  describe(`${op.name} with shared key heads`, () => {
    for (const heads of SHARED) {
      const name = `[${heads.query}] query heads on [${heads.key}] key heads`;
      it(`takes ${name}, with every family of masks`, async () => {
        for (const { mask, B, Mq, Mkv } of [...MASK_FAMILIES, ...SHORT_BLOCKS]) {
          const key = [B, Mkv, ...heads.key, K];
          const query = [B, Mq, ...heads.query, K];
          const rest = { mask, op, padded: false };
          await assertMatchesReference(device, { query, key, value: key, ...rest });
        }
      });
    }

    it("gives each head its own bias, slope and dropout", async () => {
      const [query, key] = [[2, 5, 6, K], [2, 300, 2, K]];
      const shapes = { query, key, value: key, op, padded: false };
      const alibi = [0.5, 0.25, 0.1, 0.05, 0.02, 0.01];
      await assertMatchesReference(device, { ...shapes, bias: [2, 6, 5, 300], alibi });
      await assertMatchesReference(device, { ...shapes, p: 0.3 });
    });

    it("takes one key head that is repeated by a stride of 0, as PyTorch's users write it", async () => {
      using q = device.randn([2, 3, 4, K], { seed: 1 });
      using k = device.randn([2, 300, 1, K], { seed: 2 });
      using repeated = k.expand([2, 300, 4, K]);
      using out = memoryEfficientAttention(q, repeated, repeated, { op });
      using expected = memoryEfficientAttention(q, k, k, { op });
      assertEquals(await out.data(), await expected.data());
    });
  });
}

describe("memoryEfficientAttention() with shared key heads", () => {
  it("copies no key head: the peak is the result, and splitKF's parts", async () => {
    const [B, M, H] = [2, 512, 8];
    using k = device.zeros([B, M, 1, K]);
    const peakOf = (queries: number, op = FlashForwardOp) => {
      using q = device.zeros([B, queries, H, K]);
      device.resetPeakMemory();
      const before = device.memory().allocatedBytes;
      memoryEfficientAttention(q, k, k, { op }).dispose();
      return device.memory().peakBytes - before;
    };
    const bytes = (queries: number) => 4 * B * queries * H * K;
    assertEquals(peakOf(16), bytes(16));
    // 512 keys make at most two parts, each an output and two words of a log-sum-exp.
    const part = bytes(1) + 8 * B * H;
    assertEquals(peakOf(1, SplitKForwardOp) <= bytes(1) + 2 * part, true);
    await device.sync();
  });

  it("goes to splitKF by itself for up to 16 rows that share a key head", async () => {
    const chosen = async (queries: number, heads: number, keyHeads: number) => {
      using q = device.zeros([1, queries, heads, K]);
      using k = device.zeros([1, 600, keyHeads, K]);
      const { kernels } = await device.profile(() => memoryEfficientAttention(q, k, k).dispose());
      return kernels.map(({ kernel }) => kernel).filter((name) => name !== "merge_attentions");
    };
    const whole = usualKernelOn(device);
    assertEquals(await chosen(1, 8, 1), ["split_forward"]);
    assertEquals(await chosen(1, 16, 1), ["split_forward"]);
    assertEquals(await chosen(1, 17, 1), [whole]);
    assertEquals(await chosen(5, 9, 3), ["split_forward"]);
    assertEquals(await chosen(5, 4, 1), [whole]);
    assertEquals(await chosen(5, 4, 4), ["split_forward"]);
  });

  it("refuses heads that do not go together", () => {
    const attempt = (query: number[], key: number[], value = key) => () => {
      const tensors = [query, key, value].map((heads) => device.zeros([1, 3, ...heads, 4])) as [
        Tensor,
        Tensor,
        Tensor,
      ];
      memoryEfficientAttention(...tensors);
    };
    assertThrows(attempt([6], [4]), RangeError, "query has 6 heads and key 4");
    assertThrows(attempt([2], [4]), RangeError, "query has 2 heads and key 4");
    assertThrows(attempt([2], [0]), RangeError, "query has 2 heads and key 0");
    assertThrows(attempt([4], [2], [1]), RangeError, "H differs between key and value");
    assertThrows(attempt([2, 3], [1, 3]), RangeError, "G differs between query and key");
    assertThrows(attempt([2, 3], [2, 3], [1, 3]), RangeError, "G differs between key and value");
    assertThrows(attempt([2, 4], [2, 2]), RangeError, "H differs between query and key");
    assertThrows(attempt([2, 4], [2, 1], [2, 2]), RangeError, "H differs between query and value");
  });
});
