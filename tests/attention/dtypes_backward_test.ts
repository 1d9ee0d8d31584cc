/** Gradients of half-precision inputs, in the inputs' type. */
import {
  FlashBackwardOp,
  LowerTriangularMask,
  MathBackwardOp,
  memoryEfficientAttention,
  tidy,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { bmhk } from "./_compare.ts";
import { assertGradientsMatchReference, UPSTREAM_GRADIENTS } from "./_compare_gradients.ts";

const device = await sharedDevice();

describe("gradients of halves", () => {
  for (const dtype of ["f16", "bf16"] as const) {
    it(`are of the reference, rounded to ${dtype}`, async () => {
      for (const [Mq, Mkv] of [[35, 19], [1, 70]] as const) {
        await assertGradientsMatchReference(device, bmhk([2, Mq, Mkv, 2, 4, 4], { dtype }));
      }
      const mask = new LowerTriangularMask();
      await assertGradientsMatchReference(device, bmhk([2, 35, 19, 2, 4, 4], { dtype, mask }));
    });

    it(`meet upstream's tolerances on upstream's inputs in ${dtype}, of standard deviation 3`, async () => {
      const rest = { dtype, spread: 3, scale: (1 / 32) ** 0.5 };
      const sizes = [2, 65, 129, 2, 4, 4] as const;
      await assertGradientsMatchReference(device, bmhk(sizes, rest), UPSTREAM_GRADIENTS[dtype]);
    });
  }

  it("of an output in f32, whose gradient is f32 as well", async () => {
    const rest = { dtype: "f16", outputDtype: "f32" } as const;
    await assertGradientsMatchReference(device, bmhk([2, 35, 19, 2, 4, 4], rest));
  });

  it("of rows that no kernel can store as halves, which share words", async () => {
    await assertGradientsMatchReference(device, bmhk([1, 9, 7, 2, 3, 3], { dtype: "f16" }));
  });

  it("of heads that share keys and values, or only one of the two", async () => {
    for (const [keyHeads, valueHeads] of [[1, 1], [1, 3], [3, 1]] as const) {
      await assertGradientsMatchReference(device, {
        query: [1, 35, 2, 3, 4],
        key: [1, 19, 2, keyHeads, 4],
        value: [1, 19, 2, valueHeads, 4],
        dtype: "f16",
      });
    }
  });

  it("of MathBackwardOp too", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      const op = [undefined, MathBackwardOp] as const;
      await assertGradientsMatchReference(device, { ...bmhk([2, 35, 19, 2, 4, 4], { dtype }), op });
    }
  });
});

it("gradients beyond what f16 holds become infinite, as outputs do", async () => {
  for (const op of [FlashBackwardOp, MathBackwardOp]) {
    const v = device.ones([1, 1, 1, 4], { dtype: "f16", requiresGrad: true });
    tidy(() => {
      const q = device.zeros([1, 2, 1, 4], { dtype: "f16" });
      const out = memoryEfficientAttention(q, v, v, { op: [undefined, op] });
      out.backward(device.full(out.shape, 60000, { dtype: "f16" }));
    });
    // Two queries with one key: the sum of both gradients.
    assertEquals([...await v.grad!.data()], new Array(4).fill(Infinity), op.name);
    v.dispose();
  }
});
