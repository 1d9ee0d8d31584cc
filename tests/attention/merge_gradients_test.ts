/** Gradients through partial results and their merge are those of attention over all keys at once. */
import {
  type Device,
  memoryEfficientAttention,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  noGrad,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose, gradCheck } from "@denoformers/attention/testing";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../_device.ts";

const device: Device = await sharedDevice();

/** Gradients of standard normal inputs are below 10 and wrong by some 1e-6; merging adds as much. */
const CLOSE = { atol: 1e-5, rtol: 1e-5 };

function inputs(query: readonly number[], key: readonly number[]): Tensor[] {
  return [query, key, key].map((shape, i) =>
    device.randn(shape, { seed: i + 1, requiresGrad: true })
  );
}

/** Attention over the keys between bounds, merged. */
function merged([q, k, v]: readonly Tensor[], bounds: readonly number[], writeLse = false) {
  const parts = bounds.slice(1).map((end, i) =>
    memoryEfficientAttentionPartial(q!, k!.slice(1, bounds[i]!, end), v!.slice(1, bounds[i]!, end))
  );
  return mergeAttentions(parts.map(({ out }) => out), parts.map(({ lse }) => lse), { writeLse });
}

/** Gradients of the inputs of a result, with an upstream gradient that depends on nothing but its shape. */
async function gradientsOf(tensors: readonly Tensor[], compute: () => Tensor) {
  tidy(() => {
    const out = compute();
    out.backward(device.randn(out.shape, { seed: 9 }));
  });
  const results = [];
  for (const tensor of tensors) {
    results.push({ shape: tensor.grad!.shape, data: await tensor.grad!.data() });
    tensor.zeroGrad();
  }
  return results;
}

describe("gradients of mergeAttentions() over partial results", () => {
  const ranks = {
    "3": [[2, 5, 8], [2, 40, 8]],
    "4": [[2, 5, 3, 8], [2, 40, 3, 8]],
    "4 with fewer key heads": [[2, 5, 6, 8], [2, 40, 2, 8]],
    "5": [[2, 5, 2, 3, 8], [2, 40, 2, 1, 8]],
  };
  for (const [name, [query, key]] of Object.entries(ranks)) {
    it(`are those of the whole, for rank ${name} and an empty chunk`, async () => {
      const tensors = inputs(query!, key!);
      const [q, k, v] = tensors as [Tensor, Tensor, Tensor];
      const whole = await gradientsOf(tensors, () => memoryEfficientAttention(q, k, v));
      const bounds = [0, 1, 12, 12, 29, 40];
      const parts = await gradientsOf(tensors, () => merged(tensors, bounds).out);
      for (const [i, gradient] of parts.entries()) assertAllClose(gradient, whole[i]!, CLOSE);
    });
  }

  it("flow through the log-sum-exp as well, alone and with the output", async () => {
    const tensors = inputs([1, 3, 2, 4], [1, 6, 2, 4]);
    await gradCheck((...given) => merged(given, [0, 2, 6], true).lse!, tensors);
    const both = (...given: Tensor[]) => {
      const { out, lse } = merged(given, [0, 2, 6], true);
      return out.sum({ axis: -1 }).add(lse!.transpose(1, 2));
    };
    await gradCheck(both, tensors);
  });

  it("are 0 for a chunk that weighs nothing, even if it is NaN", async () => {
    const attn = device.tensor([NaN, NaN, 1, 2], { shape: [2, 1, 1, 1, 2], requiresGrad: true });
    const lse = device.tensor([-Infinity, 0.5], { shape: [2, 1, 1, 1], requiresGrad: true });
    tidy(() => mergeAttentions(attn, lse).out.backward(device.ones([1, 1, 1, 2])));
    assertEquals([...await attn.grad!.data()], [0, 0, 1, 1]);
    assertEquals([...await lse.grad!.data()], [0, 0]);
  });

  it("are 0 where no chunk has a key", async () => {
    const attn = device.zeros([2, 1, 1, 1, 2], { requiresGrad: true });
    const lse = device.full([2, 1, 1, 1], -Infinity, { requiresGrad: true });
    tidy(() => mergeAttentions(attn, lse).out.backward(device.ones([1, 1, 1, 2])));
    assertEquals([...await attn.grad!.data()], [0, 0, 0, 0]);
    assertEquals([...await lse.grad!.data()], [0, 0]);
  });

  it("leave no memory behind", async () => {
    const tensors = inputs([2, 5, 3, 8], [2, 40, 3, 8]);
    await assertNoLeak(device, async () => {
      await gradientsOf(tensors, () => merged(tensors, [0, 20, 40]).out);
    });
  });

  it("are not recorded in noGrad, nor if no chunk requires them", () => {
    const tensors = inputs([2, 5, 3, 8], [2, 40, 3, 8]);
    assert(!noGrad(() => merged(tensors, [0, 20, 40]).out).requiresGrad);
    const detached = tensors.map((tensor) => tensor.detach());
    assert(!merged(detached, [0, 20, 40]).out.requiresGrad);
  });
});
