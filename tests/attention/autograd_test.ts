/** Attention in the graph: what it keeps, for how long, how much memory a backward pass takes, the same bits. */
import {
  BlockDiagonalCausalMask,
  cat,
  FlashBackwardOp,
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  type MemoryEfficientAttentionOptions,
  memoryEfficientAttentionPartial,
  noGrad,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertEquals, assertLessOrEqual, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../_device.ts";
import { beyondCore } from "../_extent.ts";
import { randomView } from "./_compare_gradients.ts";

const device = await sharedDevice();
const MIB = 2 ** 20;
const [H, K] = [2, 4];

/** Runs forward and backward, and reads the gradients of query, key, value and, if there is one, bias. */
async function gradients(
  M: number,
  options: MemoryEfficientAttentionOptions,
  biasShape?: readonly number[],
): Promise<(readonly number[])[]> {
  const leaves = [1, 2, 3].map((seed) =>
    randomView(device, [1, M, H, K], seed, { requiresGrad: true })
  ) as [Tensor, Tensor, Tensor];
  const bias = biasShape && randomView(device, biasShape, 4, { requiresGrad: true });
  tidy(() => {
    const out = memoryEfficientAttention(...leaves, {
      ...(bias ? { attnBias: bias } : {}),
      ...options,
    });
    out.backward(randomView(device, out.shape, 5));
  });
  const all = [...leaves, ...(bias ? [bias] : [])];
  const data = await Promise.all(all.map(async (leaf) => [...await leaf.grad!.data()]));
  all.forEach((leaf) => leaf.dispose());
  return data;
}

describe("a backward pass through attention", () => {
  it("takes no more memory than inputs, outputs, gradients and 2 MiB, and gives all back", async () => {
    const [M, heads, dim] = [2048, 8, 16]; // More dims take seconds to compile.
    await assertNoLeak(device, async () => {
      const bytes = 4 * M * heads * dim; // 1 MiB; the scores would take 128 MiB.
      const attnBias = new LowerTriangularMask(); // Takes half of the time, and no memory.
      const start = device.memory().allocatedBytes;
      device.resetPeakMemory();
      const [q, k, v] = [1, 2, 3].map((seed) =>
        device.randn([1, M, heads, dim], { seed, requiresGrad: true })
      ) as [Tensor, Tensor, Tensor];
      const grad = device.randn([1, M, heads, dim], { seed: 4 });
      const out = memoryEfficientAttention(q, k, v, {
        attnBias,
        op: [undefined, FlashBackwardOp],
      });
      out.backward(grad);
      await device.sync();
      // Three inputs, the output, its gradient, and three gradients.
      assertLessOrEqual(device.memory().peakBytes - start, (3 + 1 + 1 + 3) * bytes + 2 * MIB);
      for (const tensor of [q, k, v, grad, out]) tensor.dispose();
      assertEquals(device.memory().allocatedBytes, start);
    });
  });

  it("keeps inputs whose handles are gone", async () => {
    const run = async (early: boolean) => {
      const leaf = device.randn([1, 9, H, K], { seed: 1, requiresGrad: true });
      tidy(() => {
        // A slice makes their rows begin anywhere.
        const inputs = [1, 2, 3].map((factor) =>
          cat([leaf, leaf.mul(factor)], -1).slice(-1, 3, 3 + K)
        ) as [Tensor, Tensor, Tensor];
        const [bias, slopes] = [leaf.sum().expand([9, 9]), device.tensor([0.5, 0.25])];
        const out = memoryEfficientAttention(...inputs, {
          attnBias: new LowerTriangularMask().addBias(bias),
          alibiSlopes: slopes,
          p: 0.3,
          seed: 1,
        });
        const grad = randomView(device, out.shape, 5);
        if (early) {
          for (const tensor of [...inputs, bias, slopes]) tensor.dispose();
          for (let n = 0; n < 5; n++) device.full([1, 9, H, 2 * K], NaN); // In their memory, if it is free.
          device.full([2], NaN);
        }
        out.backward(grad);
      });
      const data = [...await leaf.grad!.data()];
      leaf.dispose();
      return data;
    };
    assertEquals(await run(true), await run(false));
  });

  it("gives its memory back if it never takes place", async () => {
    await assertNoLeak(device, () => {
      tidy(() => {
        const q = device.zeros([1, 9, H, K], { requiresGrad: true });
        memoryEfficientAttention(q, q, q);
        memoryEfficientAttentionPartial(q, q, q);
      });
    });
  });

  it("throws if an input was changed in place since", () => {
    tidy(() => {
      const q = device.zeros([1, 9, H, K], { requiresGrad: true });
      const k = device.zeros([1, 9, H, K]);
      const out = memoryEfficientAttention(q, k, k);
      k.copyFrom(device.ones(k.shape));
      assertThrows(
        () => out.backward(device.ones(out.shape)),
        Error,
        "Cannot backward through memoryEfficientAttention: a tensor that it needs was changed in place",
      );
    });
  });

  it("gives the same bits at every run", async () => {
    const packed = BlockDiagonalCausalMask.fromSeqlens([20, 3, 47]);
    const calls = [
      [{ attnBias: packed, p: 0.3, seed: 5 }],
      [{}, [2, 70, 70]],
      ...beyondCore([{}], [{}, [70]]),
    ] as const;
    for (const [options, bias] of calls) {
      const first = await gradients(70, options, bias);
      assertEquals(await gradients(70, options, bias), first);
      assertEquals(await gradients(70, options, bias), first);
    }
  });

  it("with only the log-sum-exp differentiated gives the softmax times the keys", async () => {
    // d lse_i / d q_i is the weighted mean of the keys: with a query of zeros, scaled, their mean.
    const q = device.zeros([1, 1, 1, K], { requiresGrad: true });
    tidy(() => {
      const k = device.tensor([0, 1, 2, 3, 4, 5, 6, 7], { shape: [1, 2, 1, K] });
      memoryEfficientAttentionPartial(q, k, k, { scale: 0.5 }).lse.sum().backward();
    });
    assertEquals([...await q.grad!.data()], [1, 1.5, 2, 2.5]);
    q.dispose();
  });
});

describe("what is never recorded", () => {
  it("says so, and what is, to whoever asks for its gradient", () => {
    using q = device.zeros([1, 4, 1, 8], { requiresGrad: true });
    using bias = device.zeros([4, 4], { requiresGrad: true });
    using k = device.zeros([1, 4, 1, 8]);
    const partial = "use memoryEfficientAttentionPartial, whose out and lse have gradients";
    const given = () => memoryEfficientAttentionForwardRequiresGrad(q, q, q);
    const cases: [() => Tensor, string][] = [
      [
        () => given().lse.square(),
        `memoryEfficientAttentionForwardRequiresGrad is never recorded; ${partial}`,
      ],
      [
        () => given().out,
        `memoryEfficientAttentionForwardRequiresGrad is never recorded; ${partial}`,
      ],
      [
        () => memoryEfficientAttentionForward(k, k, k, { attnBias: bias }),
        "memoryEfficientAttentionForward is never recorded; use memoryEfficientAttention",
      ],
      [
        () => memoryEfficientAttentionBackward(k, k, given().lse, q, k, k).dKey,
        "memoryEfficientAttentionBackward is never recorded; second derivatives are not supported",
      ],
      [
        () => noGrad(() => memoryEfficientAttention(q, k, k)),
        "memoryEfficientAttention ran in noGrad(); compute it outside",
      ],
    ];
    for (const [make, reason] of cases) {
      assertThrows(
        () => tidy(() => make().sum().backward()),
        Error,
        `Cannot backward: the tensor of shape [] is cut off from gradients: ${reason}`,
      );
    }
  });
});
