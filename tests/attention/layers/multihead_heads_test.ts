/** Multi-head attention against plain loops in float64: every mask, with and without weights, dropout. */
import {
  linear,
  MultiheadAttention,
  type MultiheadAttentionForwardOptions,
  type MultiheadAttentionOptions,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose, gradCheck } from "@denoformers/attention/testing";
import { assertEquals, assertLess, assertNotEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { numel } from "../../../gpu/shape.ts";
import { sharedDevice } from "../../_device.ts";
import { randomValues } from "../_compare.ts";
import { type Host, host, TOLERANCE } from "./_host.ts";
import {
  averaged,
  hostState,
  type MultiheadCase,
  randomize,
  referenceMultihead,
} from "./_multihead_reference.ts";

const device = await sharedDevice();
const [N, L, S, E, H] = [2, 5, 7, 12, 3];

/** A mask as a tensor, and as the numbers that it adds. */
interface Mask {
  readonly tensor: Tensor;
  readonly added: Host;
}

/** Blocks about a third of the keys by bools (true: blocked), or by numbers some of which are -Infinity. */
function makeMask(dtype: "bool" | "f32", shape: readonly number[], seed: number): Mask {
  const values = randomValues(numel(shape), seed);
  const isBlocked = (x: number) => x > 0.4;
  const data = values.map((x) => isBlocked(x) ? -Infinity : dtype === "bool" ? 0 : x);
  const bits = dtype === "bool" ? values.map((x) => isBlocked(x) ? 1 : 0) : data;
  return { tensor: device.tensor(bits, { shape, dtype }), added: { shape, data } };
}

interface Masks {
  readonly attnMask?: Mask | undefined;
  readonly keyPaddingMask?: Mask | undefined;
  readonly isCausal?: boolean | undefined;
}

/** Holds a layer with random weights against the loops, with and without weights, averaged and not. */
async function check(options: MultiheadAttentionOptions, masks: Masks = {}): Promise<void> {
  using layer = new MultiheadAttention(device, E, H, { batchFirst: true, ...options });
  randomize(layer);
  const { attnMask, keyPaddingMask, isCausal } = masks;
  using query = device.tensor(randomValues(N * L * E, 1), { shape: [N, L, E] });
  const side = (size = E, seed = 2) =>
    device.tensor(randomValues(N * S * size, seed), { shape: [N, S, size] });
  using key = side(options.kdim, 2);
  using value = side(options.vdim, 3);
  const expected = referenceMultihead(
    {
      numHeads: H,
      state: await hostState(layer),
      query: await host(query),
      key: await host(key),
      value: await host(value),
      ...(options.addZeroAttn ? { addZeroAttn: true } : {}),
      ...(isCausal ? { isCausal } : {}),
      ...(attnMask ? { attnMask: attnMask.added } : {}),
      ...(keyPaddingMask ? { keyPaddingMask: keyPaddingMask.added } : {}),
    } satisfies MultiheadCase,
  );
  const how: MultiheadAttentionForwardOptions = {
    attnMask: attnMask?.tensor,
    keyPaddingMask: keyPaddingMask?.tensor,
    isCausal,
  };
  const lean = layer.forward(query, key, value, { ...how, needWeights: false });
  assertEquals(lean.weights, undefined);
  assertAllClose(await host(lean.out), expected.out, { ...TOLERANCE, message: "without weights" });
  const full = layer.forward(query, key, value, how);
  assertAllClose(await host(full.out), expected.out, { ...TOLERANCE, message: "with weights" });
  assertAllClose(await host(full.weights!), averaged(expected.weights), TOLERANCE);
  const each = layer.forward(query, key, value, { ...how, averageAttnWeights: false });
  assertAllClose(await host(each.weights!), expected.weights, TOLERANCE);
  for (const { out, weights } of [lean, full, each]) {
    out.dispose();
    weights?.dispose();
  }
  for (const mask of [attnMask, keyPaddingMask]) mask?.tensor.dispose();
}

const LAYERS: Record<string, MultiheadAttentionOptions> = {
  "as it is by default": {},
  "without biases": { bias: false },
  "with kdim and vdim": { kdim: 10, vdim: 14 },
  "with addBiasKv": { addBiasKv: true },
  "with addZeroAttn": { addZeroAttn: true },
  "with addBiasKv, addZeroAttn and kdim": { addBiasKv: true, addZeroAttn: true, kdim: 8 },
};

const MASKS: Record<string, () => Masks> = {
  "no mask": () => ({}),
  "attnMask [L, S] bool": () => ({ attnMask: makeMask("bool", [L, S], 4) }),
  "attnMask [N * H, L, S] f32": () => ({ attnMask: makeMask("f32", [N * H, L, S], 4) }),
  "keyPaddingMask bool": () => ({ keyPaddingMask: makeMask("bool", [N, S], 5) }),
  "keyPaddingMask f32": () => ({ keyPaddingMask: makeMask("f32", [N, S], 5) }),
  "both bool": () => ({
    attnMask: makeMask("bool", [L, S], 4),
    keyPaddingMask: makeMask("bool", [N, S], 5),
  }),
  "both f32": () => ({
    attnMask: makeMask("f32", [L, S], 4),
    keyPaddingMask: makeMask("f32", [N, S], 5),
  }),
  "one of either": () => ({
    attnMask: makeMask("bool", [N * H, L, S], 4),
    keyPaddingMask: makeMask("f32", [N, S], 5),
  }),
  "isCausal": () => ({ isCausal: true }),
  "isCausal and keyPaddingMask": () => ({
    isCausal: true,
    keyPaddingMask: makeMask("bool", [N, S], 5),
  }),
  "isCausal and attnMask": () => ({ isCausal: true, attnMask: makeMask("f32", [L, S], 4) }),
};

describe("MultiheadAttention equals the formula", () => {
  for (const [name, options] of Object.entries(LAYERS)) {
    it(`${name}, for every kind of mask`, async () => {
      for (const [mask, make] of Object.entries(MASKS)) {
        await check(options, make()).catch((error) => {
          throw new Error(`${mask}: ${error.message}`);
        });
      }
    });
  }

  it("gives a query without keys weights of 0 and the last bias, and hides NaN behind masks", async () => {
    using layer = new MultiheadAttention(device, E, H, { batchFirst: true, seed: 1 });
    randomize(layer);
    const values = randomValues(N * S * E, 2);
    values.fill(NaN, (S - 2) * E, S * E); // the last two keys of the first sequence
    using key = device.tensor(values, { shape: [N, S, E] });
    using query = device.randn([N, L, E], { seed: 3 });
    const blocked = Array.from({ length: N * S }, (_, at) => at >= S || at % S >= S - 2);
    using keyPaddingMask = device.tensor(blocked, { shape: [N, S] });
    const bias = await layer.outProj.bias!.data();
    for (const needWeights of [true, false]) {
      const how = { keyPaddingMask, needWeights };
      const { out, weights } = layer.forward(query, key, key, how);
      const data = await out.data();
      assertEquals(data.some(Number.isNaN), false);
      for (let i = 0; i < L; i++) {
        assertEquals(data.slice((L + i) * E, (L + i + 1) * E), bias, "a row without keys");
      }
      const shown = await weights?.data();
      assertEquals(shown?.slice(L * S).every((w) => w === 0) ?? true, true);
    }
  });
});

describe("MultiheadAttention in training", () => {
  const p = 0.4;

  /** One forward pass of a new layer, always with the same input. */
  async function run(options: MultiheadAttentionOptions, needWeights: boolean, mode = true) {
    const all = { batchFirst: true, seed: 1, ...options };
    using layer = new MultiheadAttention(device, E, H, all).train(mode);
    using x = device.randn([N, 40, E], { seed: 2 });
    const how = { needWeights, averageAttnWeights: false };
    const { out, weights } = layer.forward(x, x, x, how);
    return { out: await out.data(), weights: await weights?.data() };
  }

  it("drops attention weights: bit-identical for the same seed, none in evaluation", async () => {
    for (const needWeights of [true, false]) {
      const first = await run({ dropout: p }, needWeights);
      assertEquals(await run({ dropout: p }, needWeights), first);
      const plain = await run({}, needWeights);
      assertNotEquals(first.out, plain.out);
      assertEquals(await run({ dropout: p }, needWeights, false), plain);
    }
  });

  it("returns the weights after dropout: kept ones divided by 1 - p, the others 0", async () => {
    const [{ weights: dropped }, { weights: plain }] = [
      await run({ dropout: p }, true),
      await run({}, true),
    ];
    const kept = dropped!.filter((w) => w !== 0).length;
    const n = N * H * 40 * 40;
    // 4 standard deviations of a binomial count.
    assertLess(Math.abs(kept - n * (1 - p)), 4 * Math.sqrt(n * p * (1 - p)));
    const expected = plain!.map((w, i) => dropped![i] === 0 ? 0 : w / (1 - p));
    assertAllClose(dropped!, expected, TOLERANCE);
  });

  it("returns the weights that it took, also after dropout", async () => {
    using layer = new MultiheadAttention(device, E, H, { dropout: p, batchFirst: true, seed: 1 });
    using x = device.randn([N, 40, E], { seed: 2 });
    const { out, weights } = layer.forward(x, x, x, { averageAttnWeights: false });
    const state = layer.stateDict();
    const again = tidy(() => {
      const [w, b] = [state["in_proj_weight"]!, state["in_proj_bias"]!];
      const v = linear(x, w.slice(0, 2 * E), b.slice(0, 2 * E)).reshape([N, 40, H, E / H]);
      const heads = weights!.matmul(v.permute([0, 2, 1, 3])).permute([0, 2, 1, 3]);
      return layer.outProj.forward(heads.reshape([N, 40, E]));
    });
    // Rounding alone; one weight that only one of them dropped would be seen at 1e-3.
    assertAllClose(await again.data(), await out.data(), { atol: 1e-5, rtol: 0 });
  });

  it("lets gradients flow through output and weights, to inputs, masks and parameters", async () => {
    const options = { dropout: p, batchFirst: true, addBiasKv: true, kdim: 8, seed: 1 };
    using query = device.randn([N, L, E], { seed: 2, requiresGrad: true });
    using key = device.randn([N, S, 8], { seed: 3, requiresGrad: true });
    using value = device.randn([N, S, E], { seed: 4, requiresGrad: true });
    using attnMask = device.randn([L, S], { seed: 5, requiresGrad: true });
    for (const which of ["out", "weights"] as const) {
      const forward = (q: Tensor, k: Tensor, v: Tensor, mask?: Tensor) => {
        // A new layer drops the same weights as the one before.
        using layer = new MultiheadAttention(device, E, H, options);
        return layer.forward(q, k, v, { attnMask: mask })[which]!;
      };
      // The output's gradient under masks is attention's own, and tested there.
      const masks = which === "weights" ? [attnMask] : [];
      await gradCheck(forward, [query, key, value, ...masks], { maxElements: 4 });
    }
    using layer = new MultiheadAttention(device, E, H, options);
    const { out } = layer.forward(query, key, value);
    using loss = out.sum();
    loss.backward();
    for (const [name, { grad }] of layer.namedParameters()) {
      assertEquals((await grad!.data()).every((g) => Number.isFinite(g)), true, name);
    }
  });

  it("drops anew at every pass", async () => {
    using layer = new MultiheadAttention(device, E, H, { dropout: p, seed: 1 });
    using x = device.randn([L, N, E], { seed: 2 });
    const [a, b] = [layer.forward(x, x, x), layer.forward(x, x, x)];
    assertNotEquals(await a.weights!.data(), await b.weights!.data());
  });
});
