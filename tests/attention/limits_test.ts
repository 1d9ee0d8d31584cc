/** Tensors larger than a kernel may see of a buffer, on a device whose limits are lowered to show it. */
import {
  BlockDiagonalMask,
  type Device,
  FlashForwardOp,
  LocalAttentionFromBottomRightMask,
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionForwardRequiresGrad,
  PagedBlockDiagonalPaddedKeysMask,
  requestDevice,
  SplitKForwardOp,
} from "@denoformers/attention";
import { assertEquals, assertGreater, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak } from "../_device.ts";
import { assertMatchesReference, bmhk, type Case } from "./_compare.ts";

/** A block of rows may take half of it. */
const LIMIT = 64 * 1024;
const small: Device = await requestDevice({
  tune: false,
  limits: { maxStorageBufferBindingSize: LIMIT },
});

/** Number of launches that a call takes, and that of merges. */
async function launchesOf(run: () => unknown): Promise<{ launches: number; merges: number }> {
  const { kernels } = await small.profile(run);
  const calls = (name: string) => kernels.find(({ kernel }) => kernel === name)?.calls ?? 0;
  const launches = calls("flash_forward") + calls("shuffle_forward");
  return { launches, merges: calls("merge_attentions") };
}

describe("attention over maxStorageBufferBindingSize", () => {
  // Bytes of a tensor [1, M, 2, 16]: 128 M; the limit holds 512 rows, less what alignment takes.
  const cases: [string, Case][] = [
    ["query", bmhk([1, 1100, 20, 2, 16, 16])],
    ["key and value", bmhk([1, 20, 2100, 2, 16, 16])],
    ["value alone", bmhk([1, 20, 400, 2, 16, 64])],
    ["everything", bmhk([1, 600, 1300, 2, 16, 16])],
    ["strided views", bmhk([1, 200, 1900, 2, 8, 8], { padded: true })],
    ["a batch whose sequences fit one by one", bmhk([5, 290, 300, 2, 16, 16])],
    ["a batch whose sequences do not", bmhk([2, 600, 600, 2, 16, 16])],
    ["a causal mask", bmhk([1, 600, 600, 2, 16, 16], { mask: new LowerTriangularMask() })],
    [
      "a window",
      bmhk([1, 600, 610, 2, 16, 16], { mask: new LocalAttentionFromBottomRightMask(40, 7) }),
    ],
    ["a bias", bmhk([1, 100, 120, 3, 16, 16], { bias: [3, 100, 120] })],
    ["a bool bias", bmhk([1, 300, 250, 3, 16, 16], { bias: [3, 300, 250], boolean: true })],
    ["a broadcast bias", bmhk([2, 300, 100, 3, 16, 16], { bias: [1, 1, 300, 100] })],
    ["a bias and keys that are not", bmhk([1, 9, 1200, 2, 16, 16], { bias: [9, 1200] })],
    ["grouped heads", {
      query: [1, 200, 2, 16],
      key: [1, 1100, 1, 16],
      value: [1, 1100, 1, 16],
    }],
    ["dropout", bmhk([1, 100, 600, 2, 16, 16], { p: 0.3 })],
    ["ALiBi", bmhk([1, 100, 600, 2, 16, 16], { alibi: [0.5, 0.25] })],
    ["f16", bmhk([1, 600, 1300, 2, 16, 16], { dtype: "f16" })],
    ["bf16 rows that end within a word", bmhk([1, 600, 1300, 2, 16, 5], { dtype: "bf16" })],
    ["packed sequences", {
      query: [1, 600, 2, 16],
      key: [1, 640, 2, 16],
      value: [1, 640, 2, 16],
      mask: BlockDiagonalMask.fromSeqlens([200, 0, 350, 50], [20, 130, 460, 30]),
    }],
    ["packed causal sequences", {
      query: [1, 600, 2, 16],
      key: [1, 640, 2, 16],
      value: [1, 640, 2, 16],
      mask: BlockDiagonalMask.fromSeqlens([200, 350, 50], [140, 450, 50]).makeCausal(),
    }],
  ];
  for (const [name, testCase] of cases) {
    it(`is right for ${name}`, async () => {
      const { launches } = await launchesOf(() =>
        assertMatchesReference(small, { padded: false, ...testCase })
      );
      if (small.info.timestamps) {
        assertGreater(launches, 1, "the case is not larger than the limit");
      }
    });
  }

  it("cuts rows and heads without merges, and merges chunks of keys", async () => {
    const tensor = (M: number) => small.tensor(new Float32Array(M * 32), { shape: [1, M, 2, 16] });
    using short = tensor(20);
    using long = tensor(1300);
    const rows = await launchesOf(() => memoryEfficientAttention(long, short, short).dispose());
    assertEquals(rows.merges, 0);
    assertGreater(rows.launches, 2); // 1300 rows, at most 510 at a time.
    const keys = await launchesOf(() =>
      memoryEfficientAttention(short, long, long, { op: FlashForwardOp }).dispose()
    );
    assertEquals(keys.merges, 1);
    assertGreater(keys.launches, 2);
  });

  it("leaves nothing behind but results", async () => {
    using q = small.tensor(new Float32Array(600 * 32), { shape: [1, 600, 2, 16] });
    await assertNoLeak(small, () => {
      const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, q, q);
      out.dispose();
      lse.dispose();
    });
  });

  it("takes a view of a large buffer as what it is", async () => {
    const data = Float32Array.from({ length: 2000 * 32 }, (_, i) => Math.sin(i));
    using all = small.tensor(data, { shape: [1, 2000, 2, 16] });
    using view = all.slice(1, 1900, 1950);
    using copy = small.tensor(data.slice(1900 * 32, 1950 * 32), { shape: [1, 50, 2, 16] });
    using out = memoryEfficientAttention(view, view, view);
    using expected = memoryEfficientAttention(copy, copy, copy);
    assertEquals(await out.data(), await expected.data());
  });

  it("says which limit, in bytes, where an op cannot cut", async () => {
    using q = small.tensor(new Float32Array(64), { shape: [1, 2, 2, 16] });
    using k = small.tensor(new Float32Array(1024 * 32), { shape: [1, 1024, 2, 16] });
    const mask = PagedBlockDiagonalPaddedKeysMask.fromSeqlens([2], [60], [[3]], 64);
    await assertNoLeak(small, () => {
      const error = assertThrows(
        () => memoryEfficientAttention(q, k, k, { attnBias: mask }),
        RangeError,
      );
      for (
        const part of [
          "key lies in a buffer of 131072 bytes > 65536, the device's maxStorageBufferBindingSize",
          "pages cannot be cut, use several pools",
          "`flashF`",
          "`splitKF`",
          "`mathF`",
        ]
      ) assertEquals(error.message.includes(part), true, `${part} is not in: ${error.message}`);
    });
    assertEquals(SplitKForwardOp.notSupportedReasons(q, k, k), [
      "key lies in a buffer of 131072 bytes > 65536, the device's maxStorageBufferBindingSize",
      "value lies in a buffer of 131072 bytes > 65536, the device's maxStorageBufferBindingSize",
    ]);
  });
});

describe("attention over other limits", () => {
  it("says which operand a block of rows needs too much of, before any work", async () => {
    using q = small.tensor(new Float32Array(9 * 4), { shape: [1, 9, 1, 4] });
    using k = small.tensor(new Float32Array(9000 * 4), { shape: [1, 9000, 1, 4] });
    using attnBias = small.tensor(new Float32Array(9 * 9000), { shape: [9, 9000] });
    await assertNoLeak(small, () => {
      assertThrows(
        () => memoryEfficientAttention(q, k, k, { attnBias }),
        RangeError,
        "rows needs of the bias spans more than 65536 bytes, the device's maxStorageBufferBindingSize",
      );
    });
  });

  it("throws before any work where the result is larger than a buffer can be", async () => {
    using tiny = await requestDevice({ tune: false, limits: { maxBufferSize: 64 * 1024 } });
    using q = tiny.tensor(new Float32Array(2048 * 4), { shape: [1, 2048, 1, 4] });
    using v = tiny.tensor(new Float32Array(4 * 16), { shape: [1, 4, 1, 16] });
    using k = tiny.tensor(new Float32Array(4 * 4), { shape: [1, 4, 1, 4] });
    await assertNoLeak(tiny, () => {
      assertThrows(() => memoryEfficientAttention(q, k, v), RangeError, "maxBufferSize is 65536");
    });
  });

  it("spreads more workgroups than one dimension takes over several", async () => {
    using narrow = await requestDevice({
      tune: false,
      limits: { maxComputeWorkgroupsPerDimension: 7 },
    });
    await assertMatchesReference(narrow, bmhk([5, 3, 9, 23, 8, 8]));
    await assertMatchesReference(narrow, bmhk([5, 1, 300, 23, 8, 8]));
  });
});
