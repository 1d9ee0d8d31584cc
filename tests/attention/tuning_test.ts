/** Attention on a device that measures: what it chooses, and that results do not depend on it. */
import {
  LowerTriangularMask,
  memoryEfficientAttention,
  requestDevice,
  type Tensor,
} from "@denoformers/attention";
import { assert, assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const plain = await sharedDevice();
const tuned = await requestDevice({ tune: { cache: false, budget: 60_000 } });

const SHAPE = [1, 70, 2, 16];
const options = { attnBias: new LowerTriangularMask() };

function inputs(device: typeof plain): [Tensor, Tensor, Tensor] {
  return [1, 2, 3].map((seed) => device.randn(SHAPE, { seed, requiresGrad: true })) as [
    Tensor,
    Tensor,
    Tensor,
  ];
}

async function step(device: typeof plain): Promise<Float32Array[]> {
  const leaves = inputs(device);
  const out = memoryEfficientAttention(...leaves, options);
  out.sum().backward();
  const results = [out, ...leaves.map(({ grad }) => grad!)];
  const data = await Promise.all(results.map((tensor) => tensor.data()));
  for (const tensor of [out, ...leaves]) tensor.dispose();
  return data;
}

describe("attention on a device that measures", () => {
  it("names what it chose for each kernel, once for a class of problems", async () => {
    const first = await step(tuned);
    const choices = tuned.tuning().map(({ problem }) => problem.split(" ")[0]);
    assertEquals(choices, ["flash_forward", "flash_backward_query", "flash_backward_key"]);
    for (const { choice, candidates, source } of tuned.tuning()) {
      assert(candidates.some(({ name }) => name === choice), choice);
      assertEquals(source, candidates.length > 1 ? "measured" : "default");
    }
    assertEquals(await step(tuned), first, "bit for bit, whatever was chosen");
    assertEquals(tuned.tuning().length, 3);
  });

  it("gives what the fixed choice gives, but for rounding", async () => {
    const [expected, data] = [await step(plain), await step(tuned)];
    for (const [i, values] of data.entries()) {
      // Sums of up to 70 products of a few ones each, in another order: some 2^-24 of each.
      for (const [j, x] of values.entries()) assertLess(Math.abs(x - expected[i]![j]!), 1e-5);
    }
  });

  it("takes no memory beyond inputs and output, at the first call neither", async () => {
    using other = await requestDevice({ tune: { cache: false, budget: 60_000 } });
    const [q, k, v] = [4, 5, 6].map((seed) => other.randn(SHAPE, { seed })) as [
      Tensor,
      Tensor,
      Tensor,
    ];
    await other.sync();
    other.resetPeakMemory();
    const before = other.memory().allocatedBytes;
    using out = memoryEfficientAttention(q, k, v);
    assertEquals(other.memory().peakBytes - before, 4 * out.size);
    assertEquals(other.tuning().length, 1);
  });
});
