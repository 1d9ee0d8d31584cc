/** Gradients with what goes on top of the scores: tensor biases and theirs, ALiBi, dropout. */
import {
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  LowerTriangularFromBottomRightMask,
  memoryEfficientAttention,
  tidy,
} from "@denoformers/attention";
import { assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { beyondCore } from "../_extent.ts";
import { bmhk } from "./_compare.ts";
import {
  assertGradientsMatchReference,
  randomView,
  TIGHT_GRADIENTS,
} from "./_compare_gradients.ts";
import { MASK_CASES } from "./_mask_cases.ts";

const device = await sharedDevice();
const [K, Kv] = [4, 4];

/** Fewer keys than queries, and more of either than a tile has. */
const SIZES = [2, 35, 19, 2, K, Kv] as const;

describe("FlashBackwardOp gives the gradient of a bias", () => {
  it("for every way to broadcast it", async () => {
    const full = [2, 2, 35, 19];
    for (let ones = 0; ones < 16; ones++) {
      const bias = full.map((size, axis) => ones >> axis & 1 ? 1 : size);
      await assertGradientsMatchReference(device, bmhk(SIZES, { bias }));
    }
    for (const bias of [[19], [35, 19], [35, 1], [2, 35, 19], []]) {
      await assertGradientsMatchReference(device, bmhk(SIZES, { bias }));
    }
  });

  it("of 3-D and 5-D inputs", async () => {
    for (const bias of [[2, 35, 19], [1, 35, 1], [2, 1, 19]]) {
      const [query, key] = [[2, 35, K], [2, 19, K]] as const;
      await assertGradientsMatchReference(device, { query, key, value: key, bias });
    }
    for (const bias of [[2, 2, 3, 9, 7], [1, 2, 1, 9, 7], [2, 1, 3, 1, 7], [2, 1, 9, 1]]) {
      const [query, key] = [[2, 9, 2, 3, K], [2, 7, 2, 3, K]] as const;
      await assertGradientsMatchReference(device, { query, key, value: key, bias });
    }
  });

  it("where query heads share keys", async () => {
    for (const bias of [[6, 9, 7], [2, 1, 1, 7], [1, 6, 1, 7], [2, 1, 9, 7]]) {
      const [query, key] = [[2, 9, 6, K], [2, 7, 2, K]] as const;
      await assertGradientsMatchReference(device, { query, key, value: key, bias });
    }
  });

  it("where a size is 0 or 1", async () => {
    for (const [Mq, Mkv] of [[0, 3], [3, 0], [1, 3], [3, 1], [1, 1]] as const) {
      for (const bias of [[2, Mq, Mkv], [1, Mkv], [Mq, 1], [1, 1]]) {
        await assertGradientsMatchReference(device, bmhk([2, Mq, Mkv, 2, K, Kv], { bias }));
      }
    }
  });

  it("that a mask carries, over all of it and over packed sequences that share keys", async () => {
    const dense = new LowerTriangularFromBottomRightMask();
    const [gappy] = MASK_CASES.get(BlockDiagonalCausalWithOffsetGappyKeysMask.name)!;
    for (
      const [Mq, Mkv, mask] of [[35, 19, dense], [gappy!.Mq, gappy!.Mkv, gappy!.mask]] as const
    ) {
      for (const bias of [[2, Mq, Mkv], ...beyondCore([1, Mkv], [Mq, 1])]) {
        await assertGradientsMatchReference(device, bmhk([1, Mq, Mkv, 2, K, Kv], { mask, bias }));
      }
    }
  });

  it("with dropout and ALiBi", async () => {
    for (const bias of [[2, 35, 19], [2, 1, 1, 19], [1, 1, 1, 1]]) {
      const rest = { bias, p: 0.3, alibi: [0.5, 0.25] };
      await assertGradientsMatchReference(device, bmhk(SIZES, rest));
    }
  });

  it("alone, if nothing else requires any", async () => {
    const [q, k] = [randomView(device, [1, 5, 1, K], 1), randomView(device, [1, 7, 1, K], 2)];
    const gradientOf = async (others: boolean) => {
      const leaf = randomView(device, [5, 7], 3, { requiresGrad: true });
      k.requiresGrad = others;
      tidy(() => {
        memoryEfficientAttention(q, k, k, { attnBias: leaf }).backward(
          randomView(device, [1, 5, 1, K], 4),
        );
      });
      const data = await leaf.grad!.data();
      leaf.dispose();
      return data;
    };
    assertEquals(await gradientOf(false), await gradientOf(true));
    q.dispose();
    k.dispose();
  });

  it("in the bias's own type", async () => {
    // Sums of up to 70 gradients below 1, rounded to eleven bits.
    const tolerance = { ...TIGHT_GRADIENTS.f32, rtol: 2 ** -11 };
    const bias = [2, 35, 19];
    await assertGradientsMatchReference(device, bmhk(SIZES, { bias, biasDtype: "f16" }), tolerance);
  });
});

it("FlashBackwardOp takes a bias that says which keys count, which has no gradient", async () => {
  for (const bias of [[2, 35, 19], [2, 1, 1, 19]]) {
    await assertGradientsMatchReference(device, bmhk(SIZES, { bias, boolean: true }));
  }
});

describe("FlashBackwardOp drops the weights that the forward pass dropped", () => {
  it("for any seed and p", async () => {
    for (const [p, seed] of [[0.3, 7], [0.3, 2 ** 40 + 3], [0.9, 1], [1, 7]] as const) {
      // Dropout multiplies what is kept, and its errors.
      const atol = TIGHT_GRADIENTS.f32.atol / (p < 1 ? 1 - p : 1);
      const tolerance = { ...TIGHT_GRADIENTS.f32, atol };
      await assertGradientsMatchReference(device, bmhk(SIZES, { p, seed }), tolerance);
    }
  });

  it("under masks, where keys need not begin at a multiple of four", async () => {
    for (const name of ["BlockDiagonalMask", BlockDiagonalCausalWithOffsetGappyKeysMask.name]) {
      const { mask, Mq, Mkv } = MASK_CASES.get(name)![0]!;
      await assertGradientsMatchReference(
        device,
        bmhk([1, Mq, Mkv, 2, K, Kv], { mask, p: 0.3 }),
      );
    }
  });

  it("by the seed that it drew, if none was given", async () => {
    // The output is linear in the values: <dO, out> is <dV, V>, if and only if both dropped the same.
    const shape = [1, 35, 1, K];
    const v = randomView(device, shape, 1, { requiresGrad: true });
    const products = tidy(() => {
      const out = memoryEfficientAttention(v.detach(), v.detach(), v, { p: 0.5 });
      const grad = randomView(device, shape, 2);
      out.backward(grad);
      return [out.detach().mul(grad).sum(), v.grad!.mul(v.detach()).sum()];
    });
    const [given, got] = await Promise.all(products.map((product) => product.data()));
    // Sums of 140 products below 10, off by a last bit each; other weights would make whole numbers.
    assertAlmostEquals(got![0]!, given![0]!, 1e-4);
    for (const tensor of [v, ...products]) tensor.dispose();
  });
});

describe("FlashBackwardOp takes ALiBi", () => {
  it("of slopes in a list", async () => {
    for (const mask of [undefined, new LowerTriangularFromBottomRightMask()]) {
      const rest = { alibi: [0.5, 0.25], ...(mask ? { mask } : {}) };
      await assertGradientsMatchReference(device, bmhk(SIZES, rest));
    }
  });

  it("of slopes in a tensor, which may be gone when the gradients are computed", async () => {
    const gradientOf = async (asTensor: boolean) => {
      const q = randomView(device, [1, 9, 2, K], 1, { requiresGrad: true });
      tidy(() => {
        const slopes = device.tensor([0.5, 0.25]);
        const out = memoryEfficientAttention(q, q, q, {
          alibiSlopes: asTensor ? slopes : [0.5, 0.25],
        });
        slopes.dispose();
        device.full([2], 100);
        out.backward(randomView(device, out.shape, 2));
      });
      const data = await q.grad!.data();
      q.dispose();
      return data;
    };
    assertEquals(await gradientOf(true), await gradientOf(false));
  });

  it("unless the slopes require gradients, which it has none of", () => {
    tidy(() => {
      const [q, slopes] = [
        device.zeros([1, 2, 2, K]),
        device.tensor([1, 2], { requiresGrad: true }),
      ];
      assertThrows(
        () => memoryEfficientAttention(q, q, q, { alibiSlopes: slopes }),
        TypeError,
        "alibiSlopes requires gradients, which ALiBi has none of; detach() the slopes",
      );
    });
  });
});
