/** The weights of multi-head attention: names, shapes and first values. */
import { MultiheadAttention, type MultiheadAttentionOptions } from "@denoformers/attention";

import { assertEquals, assertLess, assertNotEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import { hostState } from "./_multihead_reference.ts";

const device = await sharedDevice();
const [E, H] = [12, 3];

describe("MultiheadAttention weights", () => {
  it("has PyTorch's weights under PyTorch's names", () => {
    const shapes = (options: MultiheadAttentionOptions) => {
      using layer = new MultiheadAttention(device, E, H, options);
      const entries = Object.entries(layer.stateDict());
      return Object.fromEntries(entries.map(([name, { shape }]) => [name, shape]));
    };
    const out = { "out_proj.weight": [E, E], "out_proj.bias": [E] };
    const packed = { in_proj_weight: [3 * E, E], in_proj_bias: [3 * E] };
    assertEquals(shapes({}), { ...packed, ...out });
    assertEquals(shapes({ kdim: E, vdim: E }), { ...packed, ...out });
    assertEquals(shapes({ bias: false, addZeroAttn: true }), {
      in_proj_weight: [3 * E, E],
      "out_proj.weight": [E, E],
    });
    assertEquals(shapes({ vdim: 8, addBiasKv: true }), {
      q_proj_weight: [E, E],
      k_proj_weight: [E, E],
      v_proj_weight: [E, 8],
      in_proj_bias: [3 * E],
      bias_k: [1, 1, E],
      bias_v: [1, 1, E],
      ...out,
    });
  });

  it("starts as PyTorch does: Xavier's weights, zero biases, the same from the same seed", async () => {
    const size = 64;
    const make = (seed: number) =>
      new MultiheadAttention(device, size, 4, { seed, kdim: 32, addBiasKv: true });
    using layer = make(1);
    using again = make(1);
    const state = await hostState(layer);
    assertEquals(await hostState(again), state);
    assertNotEquals(await hostState(make(2)), state);
    for (const [name, columns] of [["q", size], ["k", 32], ["v", size]] as const) {
      const weights = Float32Array.from(state[`${name}_proj_weight`]!.data);
      const bound = Math.sqrt(6 / (size + columns));
      assertEquals(weights.every((w) => Math.abs(w) <= bound), true);
      // A uniform number's square varies by 0.9 of its mean: 2 % of the mean of 2,048, here 4 times that.
      assertLess(Math.abs(meanSquare(weights) * 3 / bound ** 2 - 1), 0.08);
    }
    // 128 squares of normal numbers: the mean varies by 1/8, here 4 times that.
    const learned = [...Array.from(state["bias_k"]!.data), ...Array.from(state["bias_v"]!.data)];
    assertLess(Math.abs(meanSquare(learned) * size - 1), 0.5);
    for (const name of ["in_proj_bias", "out_proj.bias"]) {
      assertEquals(Array.from(state[name]!.data).every((b) => b === 0), true);
    }
  });
});

function meanSquare(values: ArrayLike<number>): number {
  return Array.from(values).reduce((sum, x) => sum + x * x, 0) / values.length;
}
