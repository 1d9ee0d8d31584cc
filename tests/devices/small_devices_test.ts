/**
 * Attention, its gradients and layers on devices as small as WebGPU lets them be, with and without 16-bit floats and
 * subgroups, and on devices whose buffers, bindings and grids are tiny. The runtime is asked for no more than the
 * limits, so it refuses what is over them; what it does not check, workgroup memory, is watched.
 */
import {
  Attention,
  BlockDiagonalMask,
  type Device,
  FlashForwardOp,
  FlashHalfForwardOp,
  LowerTriangularMask,
  MathForwardOp,
  memoryEfficientAttention,
  PagedBlockDiagonalPaddedKeysMask,
  requestDevice,
  ShuffleForwardOp,
  SplitKForwardOp,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../_device.ts";
import { assertMatchesReference, bmhk, type Case } from "../attention/_compare.ts";
import {
  assertGradientsMatchReference,
  type GradientCase,
} from "../attention/_compare_gradients.ts";
import { type SmallAdapter, WEBGPU_MINIMUM, withAdapter } from "./_small_gpu.ts";
import { withinLimits } from "./_watch.ts";

const PLAIN: SmallAdapter = { limits: WEBGPU_MINIMUM, f16: false, subgroups: false };

/** Small heads: without subgroups, compilers of CPU drivers take long for large ones. */
const K = 8;

const causal = new LowerTriangularMask();
const packed = BlockDiagonalMask.fromSeqlens([5, 0, 9], [11, 3, 7]).makeCausal();

/** Everything that a kernel can be compiled with, for the most bindings. */
const EVERYTHING = bmhk([1, 9, 11, 2, K, K], {
  mask: causal,
  bias: [2, 9, 11],
  alibi: [0.5, 0.25],
  p: 0.3,
});

/** One kernel of each form. */
const FEW: readonly Case[] = [
  bmhk([2, 21, 19, 2, K, K], { mask: causal }),
  bmhk([1, 1, 700, 2, K, K]),
  bmhk([1, 9, 11, 2, K, K], { op: MathForwardOp, mask: causal }),
];

/** The same, and what else they can be compiled with. */
const MANY: readonly Case[] = [
  ...FEW,
  EVERYTHING,
  {
    query: [1, 14, 2, K],
    key: [1, 21, 2, K],
    value: [1, 21, 2, K],
    mask: packed,
    bias: [14, 21],
    alibi: [0.5, 0.25],
  },
  bmhk([1, 9, 13, 2, K, K], { dtype: "f16", padded: false }),
  bmhk([1, 9, 13, 2, K, 5], { dtype: "bf16" }),
];

describe("a device with no more than WebGPU demands", () => {
  for (const subgroups of [false, true]) {
    it(`is right ${subgroups ? "with" : "without"} subgroups, without f16`, async () => {
      await withinLimits(WEBGPU_MINIMUM, async () => {
        const adapter = { ...PLAIN, subgroups };
        using device = await withAdapter(adapter, () => requestDevice({ tune: false }));
        const { limits, subgroupSize, f16 } = device.info;
        const { maxComputeWorkgroupSizeX: _, ...wanted } = WEBGPU_MINIMUM;
        assertEquals({ ...limits }, wanted, "the device is as small as it is meant to be");
        assertEquals([f16, subgroupSize > 0], [false, subgroups]);
        for (const testCase of subgroups ? MANY : FEW) {
          await assertMatchesReference(device, testCase);
        }
        await assertGradientsMatchReference(
          device,
          subgroups ? EVERYTHING as GradientCase : bmhk([1, 9, 11, 2, K, K]) as GradientCase,
        );
        await assertLayerTrains(device);
      });
    });
  }

  it("has FlashHalfForwardOp with f16, though without subgroups", async () => {
    const { f16 } = (await sharedDevice()).info;
    const adapter = { ...PLAIN, f16: true };
    await withinLimits(WEBGPU_MINIMUM, async () => {
      using device = await withAdapter(adapter, () => requestDevice({ tune: false }));
      assertEquals([device.info.f16, device.info.subgroupSize], [f16, 0]);
      if (!f16) return; // SwiftShader has none; f16 is then tested in the test before.
      const [q, k, v] = [1, 2, 3].map((seed) =>
        device.randn([1, 11, 2, K], { seed, dtype: "f16" })
      ) as [Tensor, Tensor, Tensor];
      using half = memoryEfficientAttention(q, k, v, { op: FlashHalfForwardOp });
      using exact = memoryEfficientAttention(q, k, v, { op: FlashForwardOp });
      // Scores up to 4 from products in f16 are off by 2^-9 or so; outputs stay below 4.
      const expected = { shape: exact.shape, data: await exact.data() };
      const actual = { shape: half.shape, data: await half.data() };
      assertAllClose(actual, expected, { atol: 4e-3, rtol: 4e-3 });
    });
  });

  it("refuses ops that need what it lacks, by name", async () => {
    using device = await withAdapter(PLAIN, () => requestDevice({ tune: false }));
    using q = device.zeros([1, 3, 2, K], { dtype: "f16" });
    assertEquals(FlashHalfForwardOp.notSupportedReasons(q, q, q), [
      "the device has no shader-f16",
    ]);
    assertEquals(ShuffleForwardOp.notSupportedReasons(q, q, q), [
      "subgroups of no threads, expected 4 to 16",
    ]);
    using wide = device.zeros([1, 3, 1, 257]);
    const tooWide = ["head dim K = 257 > 256", "head dim Kv = 257 > 256"];
    for (const op of [FlashForwardOp, SplitKForwardOp]) {
      assertEquals(op.notSupportedReasons(wide, wide, wide), tooWide);
    }
    assertEquals(MathForwardOp.notSupportedReasons(wide, wide, wide), []);
    const error = assertThrows(
      () => memoryEfficientAttention(wide, wide, wide, { op: FlashForwardOp }),
      RangeError,
    );
    for (const reason of tooWide) assert(error.message.includes(reason), error.message);
  });

  it("computes head dims beyond the kernels' by the formula", async () => {
    await withinLimits(WEBGPU_MINIMUM, async () => {
      using device = await withAdapter(PLAIN, () => requestDevice({ tune: false }));
      await assertMatchesReference(device, bmhk([1, 3, 5, 1, 512, 512], { mask: causal }));
    });
  });
});

/** A step of a layer gives finite gradients of all parameters, and the same output as before for the same weights. */
async function assertLayerTrains(device: Device): Promise<void> {
  using layer = new Attention(device, 16, { numHeads: 2, qkvBias: true, seed: 1 });
  using x = device.randn([2, 7, 16], { seed: 2 });
  tidy(() => layer.forward(x).square().sum().backward());
  for (const parameter of layer.parameters()) {
    const gradient = await parameter.grad!.data();
    assert(gradient.every(Number.isFinite) && gradient.some((value) => value !== 0));
  }
}

/** Limits of one kind lowered to what makes every larger case be cut. */
const TINY = {
  ...WEBGPU_MINIMUM,
  maxStorageBufferBindingSize: 2 ** 15,
  maxBufferSize: 2 ** 16,
  maxComputeWorkgroupsPerDimension: 8,
} as const;

describe("a device with tiny buffers, bindings and grids", () => {
  const request = () => {
    const { maxComputeWorkgroupSizeX: _, ...limits } = TINY;
    return requestDevice({ tune: false, limits });
  };

  it("cuts attention to what fits, and is right", async () => {
    await withinLimits(TINY, async () => {
      using device = await request();
      const cases = [
        bmhk([1, 300, 20, 2, 16, 16]),
        bmhk([1, 20, 400, 2, 16, 16], { mask: causal }),
        bmhk([1, 150, 290, 2, 16, 16], { mask: causal }),
        bmhk([3, 130, 140, 2, 16, 16], { dtype: "f16" }),
        bmhk([7, 3, 5, 23, 8, 8]),
      ];
      for (const testCase of cases) {
        await assertMatchesReference(device, { ...testCase, padded: false });
      }
    });
  });

  it("computes gradients and layers of what fits, in more workgroups than a dimension has", async () => {
    await withinLimits(TINY, async () => {
      using device = await request();
      await assertGradientsMatchReference(
        device,
        bmhk([3, 7, 9, 11, 8, 8], { mask: causal, padded: false }) as GradientCase,
      );
      await assertLayerTrains(device);
    });
  });

  it("refuses what cannot be cut by the limit's name, before any work, and goes on", async () => {
    await withinLimits(TINY, async () => {
      using device = await request();
      using q = device.tensor(new Float32Array(2 * 32), { shape: [1, 2, 2, 16] });
      using k = device.tensor(new Float32Array(512 * 32), { shape: [1, 512, 2, 16] });
      const attnBias = PagedBlockDiagonalPaddedKeysMask.fromSeqlens([2], [60], [[3]], 64);
      await assertNoLeak(device, () => {
        for (
          const [call, limit] of [
            [() => memoryEfficientAttention(q, k, k, { attnBias }), "maxStorageBufferBindingSize"],
            [() => device.zeros([2 ** 14 + 1]), "maxBufferSize is 65536"],
            [
              () => memoryEfficientAttention(k, k, k, { op: MathForwardOp }),
              "maxStorageBufferBindingSize",
            ],
          ] as const
        ) assertThrows(call, RangeError, limit);
        // Statistics of a row take 12 bytes, its elements here 4.
        tidy(() => {
          const x = device.ones([1, 4000, 1, 1], { requiresGrad: true });
          const loss = memoryEfficientAttention(x, x, x).sum();
          assertThrows(() => loss.backward(), RangeError, "maxStorageBufferBindingSize is 32768");
        });
      });
      await assertMatchesReference(device, bmhk([1, 3, 5, 2, 8, 8]));
    });
  });
});
