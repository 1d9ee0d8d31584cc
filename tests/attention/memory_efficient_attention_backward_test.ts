/** Gradients as a function: that it equals autograd, and what it refuses. */
import {
  FlashBackwardOp,
  FlashForwardOp,
  LowerTriangularMask,
  MathBackwardOp,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../_device.ts";
import { TIGHT_GRADIENTS } from "./_compare_gradients.ts";

const device = await sharedDevice();
const [B, Mq, Mkv, H, K] = [1, 9, 7, 2, 4];

/** Arguments of all calls below, in a scope of their own. */
function withArguments<T>(
  fn: (
    all: Record<"query" | "key" | "value" | "grad" | "out" | "lse", Tensor>,
  ) => T,
): T {
  return tidy(() => {
    const [query, key, value, grad] = [Mq, Mkv, Mkv, Mq].map((M, seed) =>
      device.randn([B, M, H, K], { seed })
    ) as [Tensor, Tensor, Tensor, Tensor];
    const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(query, key, value);
    return fn({ query, key, value, grad, out, lse });
  });
}

describe("memoryEfficientAttentionBackward()", () => {
  it("gives what autograd gives, and leaves nothing behind", async () => {
    await assertNoLeak(device, async () => {
      const results = withArguments(({ query, key, value, grad, out, lse }) => {
        const leaves = [query, key, value];
        const { dQuery, dKey, dValue, dBias } = memoryEfficientAttentionBackward(
          grad,
          out,
          lse,
          query,
          key,
          value,
        );
        assertEquals(dBias, undefined);
        for (const leaf of leaves) leaf.requiresGrad = true;
        memoryEfficientAttention(query, key, value).backward(grad);
        return [dQuery, dKey, dValue, ...leaves.map((leaf) => leaf.grad!.clone())];
      });
      const data = await Promise.all(results.map((tensor) => tensor.data()));
      // Autograd makes the weights of a row sum to 1; here they do so to the rounding of scores below 4, 2^-22.
      for (let i = 0; i < 3; i++) {
        assertAllClose(data[i]!, data[i + 3]!, { atol: 1e-6, rtol: 2e-6 });
      }
      results.forEach((tensor) => tensor.dispose());
    });
  });

  it("of a merged result gives the gradients of each part of the keys", async () => {
    const results = withArguments(({ query, key, value, grad, out, lse }) => {
      const parts = [[0, 3], [3, Mkv]].map(([begin, end]) => ({
        key: key.slice(1, begin!, end),
        value: value.slice(1, begin!, end),
      }));
      const partials = parts.map((part) =>
        memoryEfficientAttentionPartial(query, part.key, part.value)
      );
      const merged = mergeAttentions(partials.map((p) => p.out), partials.map((p) => p.lse));
      const whole = memoryEfficientAttentionBackward(grad, out, lse, query, key, value);
      const [first, second] = parts.map((part) =>
        memoryEfficientAttentionBackward(
          grad,
          merged.out,
          merged.lse!,
          query,
          part.key,
          part.value,
        )
      );
      return [
        first!.dQuery.add(second!.dQuery).sub(whole.dQuery),
        first!.dKey.sub(whole.dKey.slice(1, 0, 3)),
        second!.dValue.sub(whole.dValue.slice(1, 3)),
      ];
    });
    for (const difference of results) {
      const data = await difference.data();
      // The same gradients by other roundings.
      assertAllClose(data, new Float32Array(data.length), TIGHT_GRADIENTS.f32);
      difference.dispose();
    }
  });

  it("throws for dropout without a seed", () => {
    withArguments(({ query, key, value, grad, out, lse }) => {
      assertThrows(
        () => memoryEfficientAttentionBackward(grad, out, lse, query, key, value, { p: 0.1 }),
        RangeError,
        "p is 0.1 and seed undefined, expected the seed of the forward pass",
      );
    });
  });

  it("throws on wrong shapes, dtypes and types of what the forward pass gave", () => {
    withArguments(({ query, key, value, grad, out, lse }) => {
      const run = (wrong: { grad?: Tensor; out?: Tensor; lse?: Tensor }) => {
        const given = { grad, out, lse, ...wrong };
        return () =>
          memoryEfficientAttentionBackward(given.grad, given.out, given.lse, query, key, value);
      };
      const shape = "expected [1, 9, 2, 4] to match query [1, 9, 2, 4] and value [1, 7, 2, 4]";
      assertThrows(
        run({ grad: device.zeros([1, 9, 4]) }),
        RangeError,
        `grad has shape [1, 9, 4], ${shape}`,
      );
      assertThrows(run({ out: key }), RangeError, `output has shape [1, 7, 2, 4], ${shape}`);
      assertThrows(
        run({ lse: lse.unsqueeze(0) }),
        RangeError,
        "lse has shape [1, 1, 2, 9], expected [1, 2, 9]",
      );
      const expected = "expected f32, f16 or bf16";
      assertThrows(
        run({ grad: grad.to("i32") }),
        TypeError,
        `grad has dtype i32, ${expected}`,
      );
      assertThrows(run({ out: out.to("bool") }), TypeError, `output has dtype bool, ${expected}`);
      assertThrows(run({ lse: lse.to("f16") }), TypeError, "lse has dtype f16, expected f32");
      assertThrows(
        run({ lse: [1] as unknown as Tensor }),
        TypeError,
        "lse is a list of 1, expected a Tensor",
      );
      const gone = grad.clone();
      gone.dispose();
      assertThrows(run({ grad: gone }), Error, "disposed");
    });
  });

  it("throws for the gradient of a bias that has none", () => {
    withArguments(({ query, key, value, grad, out, lse }) => {
      const boolean = device.ones([Mkv], { dtype: "bool" });
      for (const attnBias of [undefined, new LowerTriangularMask(), boolean]) {
        assertThrows(
          () =>
            memoryEfficientAttentionBackward(grad, out, lse, query, key, value, {
              attnBias,
              biasGrad: true,
            }),
          TypeError,
          "biasGrad is true and attnBias has no gradient, expected a tensor bias of f32, f16 or bf16",
        );
      }
    });
  });

  it("throws with a forced op's reasons, and for an op that goes forward", () => {
    tidy(() => {
      const dim = 516;
      const [q, lse] = [device.zeros([1, 2, 1, dim]), device.zeros([1, 1, 2])];
      const error = assertThrows(
        () => memoryEfficientAttentionBackward(q, q, lse, q, q, q, { op: FlashBackwardOp }),
        RangeError,
      );
      assertStringIncludes(
        error.message,
        "Cannot run memoryEfficientAttentionBackward with op `flashB` on these inputs:",
      );
      assertStringIncludes(error.message, `head dim K = ${dim} > `);
      const wrong = FlashForwardOp as unknown as typeof FlashBackwardOp;
      assertThrows(
        () => memoryEfficientAttentionBackward(q, q, lse, q, q, q, { op: wrong }),
        TypeError,
        "op is flashF, expected FlashBackwardOp or MathBackwardOp",
      );
    });
  });
});

describe("memoryEfficientAttention() with a pair of ops", () => {
  it("differentiates by the second, whatever the first", async () => {
    const run = async (op: readonly [typeof FlashForwardOp, typeof MathBackwardOp]) => {
      const results = withArguments(({ query, grad }) => {
        query.requiresGrad = true;
        memoryEfficientAttention(query, query, query, { op }).backward(grad);
        return query.grad!.clone();
      });
      const data = await results.data();
      results.dispose();
      return data;
    };
    const byMath = await run([FlashForwardOp, MathBackwardOp]);
    assertAllClose(byMath, await run([FlashForwardOp, FlashBackwardOp]), TIGHT_GRADIENTS.f32);
  });

  it("throws with the reasons of a backward op that cannot run, before any work", () => {
    tidy(() => {
      const q = device.zeros([1, 2, 1, 516], { requiresGrad: true });
      const { allocatedBytes, peakBytes } = device.memory();
      const error = assertThrows(
        () => memoryEfficientAttention(q, q, q, { op: [undefined, FlashBackwardOp] }),
        RangeError,
        "with op `flashB`",
      );
      assertStringIncludes(error.message, "head dim K = 516 > ");
      assertEquals(device.memory().allocatedBytes, allocatedBytes);
      assertEquals(device.memory().peakBytes, peakBytes);
    });
  });
});
