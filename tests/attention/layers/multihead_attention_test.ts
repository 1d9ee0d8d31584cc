/** Multi-head attention: layouts, memory and errors. */
import {
  MultiheadAttention,
  type MultiheadAttentionForwardOptions,
  type MultiheadAttentionOptions,
  type Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertLess, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { type Host, host, TOLERANCE } from "./_host.ts";

const device = await sharedDevice();
const [N, L, S, E, H] = [2, 5, 7, 12, 3];

/** A tensor as the golden file has it: infinities are strings that Number() reads. */
interface GoldenTensor {
  readonly shape: readonly number[];
  readonly data: readonly (number | string)[];
  readonly boolean?: boolean;
}

/** What PyTorch computed in float64; the script beside the file says what each field is. */
const GOLDEN: readonly {
  readonly name: string;
  readonly options: MultiheadAttentionOptions & { embedDim: number; numHeads: number };
  readonly state: Readonly<Record<string, GoldenTensor>>;
  readonly query: GoldenTensor;
  readonly key: GoldenTensor;
  readonly value: GoldenTensor;
  readonly call: Omit<MultiheadAttentionForwardOptions, "attnMask" | "keyPaddingMask"> & {
    readonly attnMask?: GoldenTensor;
    readonly keyPaddingMask?: GoldenTensor;
  };
  readonly out: GoldenTensor;
  readonly weights: GoldenTensor | null;
}[] = JSON.parse(
  Deno.readTextFileSync(new URL("../../fixtures/multihead_golden.json", import.meta.url)),
);

function upload({ shape, data, boolean }: GoldenTensor): Tensor {
  return device.tensor(data.map(Number), { shape, dtype: boolean ? "bool" : "f32" });
}

function golden({ shape, data }: GoldenTensor): Host {
  return { shape, data: data.map(Number) };
}

describe("MultiheadAttention equals PyTorch", () => {
  for (const { name, options, state, query, key, value, call, out, weights } of GOLDEN) {
    it(name, async () => {
      const { embedDim, numHeads, ...others } = options;
      using layer = new MultiheadAttention(device, embedDim, numHeads, others);
      const loaded = Object.entries(state).map(([path, weight]) => [path, upload(weight)] as const);
      layer.loadStateDict(Object.fromEntries(loaded));
      const [q, k, v] = [query, key, value].map(upload) as [Tensor, Tensor, Tensor];
      const masks = {
        attnMask: call.attnMask && upload(call.attnMask),
        keyPaddingMask: call.keyPaddingMask && upload(call.keyPaddingMask),
      };
      const result = layer.forward(q, k, v, { ...call, ...masks });
      assertAllClose(await host(result.out), golden(out), TOLERANCE);
      assertEquals(result.weights === undefined, weights === null);
      if (weights) assertAllClose(await host(result.weights!), golden(weights), TOLERANCE);
      const lean = layer.forward(q, k, v, { ...call, ...masks, needWeights: false });
      assertEquals(await lean.out.data(), await result.out.data());
    });
  }
});

describe("MultiheadAttention", () => {
  it("takes [L, N, E] by default, [N, L, E] with batchFirst and [L, E] without a batch", async () => {
    using first = new MultiheadAttention(device, E, H, { batchFirst: true, seed: 1 });
    using second = new MultiheadAttention(device, E, H, { seed: 1 });
    using x = device.randn([N, L, E], { seed: 2 });
    using key = device.randn([N, S, E], { seed: 3 });
    using blocked = device.tensor(
      Array.from({ length: N * S }, (_, j) => j % 3 === 1),
      { shape: [N, S] },
    );
    const masked = { keyPaddingMask: blocked };
    const expected = first.forward(x, key, key, masked);
    const [xt, keyT] = [x.transpose(0, 1), key.transpose(0, 1)];
    const { out, weights } = second.forward(xt, keyT, keyT, masked);
    assertEquals(out.shape, [L, N, E]);
    // The same sums in the same order.
    assertEquals(await out.transpose(0, 1).data(), await expected.out.data());
    assertEquals(await weights!.data(), await expected.weights!.data());
    for (let n = 0; n < N; n++) {
      const [one, keys] = [x.select(0, n), key.select(0, n)];
      for (const layer of [first, second]) {
        const single = layer.forward(one, keys, keys, { keyPaddingMask: blocked.select(0, n) });
        assertAllClose(await host(single.out), await host(expected.out.select(0, n)), TOLERANCE);
        const row = await host(expected.weights!.select(0, n));
        assertAllClose(await host(single.weights!), row, TOLERANCE);
        const each = layer.forward(one, keys, keys, { averageAttnWeights: false });
        assertEquals(each.weights!.shape, [H, L, S]);
      }
    }
  });

  it("projects once for self-attention, to the same result", async () => {
    using layer = new MultiheadAttention(device, E, H, { batchFirst: true, seed: 1 });
    using x = device.randn([N, L, E], { seed: 2 });
    using copy = x.clone();
    const self = layer.forward(x, x, x);
    const cross = layer.forward(x, copy, copy);
    assertAllClose(await host(self.out), await host(cross.out), TOLERANCE);
  });

  it("takes memory for O(L + S) without weights, also under a key padding mask and causally", () => {
    using layer = new MultiheadAttention(device, 16, 2, { batchFirst: true, addZeroAttn: true });
    const peakAt = (length: number) => {
      using x = device.zeros([2, length, 16]);
      using keyPaddingMask = device.zeros([2, length], { dtype: "bool" });
      const before = device.memory().allocatedBytes;
      device.resetPeakMemory();
      const how = { keyPaddingMask, isCausal: true, needWeights: false };
      layer.forward(x, x, x, how).out.dispose();
      return device.memory().peakBytes - before;
    };
    const peak = peakAt(512);
    assertLess(peakAt(1024) / peak, 2.1); // 2, but for the few bytes of the added key
    assertLess(peak, 2 * 512 * 512); // One byte a score, of one head.
  });

  it("leaves no tensor behind but its results", async () => {
    for (const options of [{}, { addBiasKv: true, addZeroAttn: true, dropout: 0.5 }]) {
      using layer = new MultiheadAttention(device, E, H, options);
      using x = device.zeros([L, N, E]);
      using attnMask = device.zeros([L, L]);
      await assertNoLeak(device, () => {
        for (const how of [{}, { isCausal: true }, { attnMask, needWeights: false }]) {
          const { out, weights } = layer.forward(x, x, x, how);
          out.dispose();
          weights?.dispose();
        }
      });
    }
    await assertNoLeak(device, () => new MultiheadAttention(device, E, H).dispose());
  });

  it("refuses sizes that do not go together", () => {
    const make = (options: MultiheadAttentionOptions, heads = H) =>
      new MultiheadAttention(device, E, heads, options);
    assertThrows(() => make({}, 5), RangeError, "embedDim is 12 and numHeads 5");
    assertThrows(() => make({ kdim: 0 }), RangeError, "kdim is 0, expected a whole number >= 1");
    assertThrows(() => make({ dropout: 2 }), RangeError, "dropout is 2, expected a probability");
    using layer = make({ kdim: 10 });
    using query = device.zeros([L, N, E]);
    using key = device.zeros([S, N, 10]);
    using value = device.zeros([S, N, E]);
    layer.forward(query, key, value).out.dispose();
    assertThrows(
      () => layer.forward(query, value, value),
      RangeError,
      "[5, 2, 12], [7, 2, 12], [7, 2, 12], expected [L, N, 12], [S, N, 10], [S, N, 12], or all without N",
    );
    using other = device.zeros([S, N + 1, 10]);
    assertThrows(() => layer.forward(query, other, value), RangeError, "[7, 3, 10]");
    using flat = device.zeros([E]);
    assertThrows(() => layer.forward(flat, flat, flat), RangeError, "shapes [12], [12], [12]");
  });

  it("refuses masks that do not fit", () => {
    using layer = new MultiheadAttention(device, E, H);
    using x = device.zeros([L, N, E]);
    using wide = device.zeros([L, L + 1]);
    using whole = device.zeros([N, L], { dtype: "i32" });
    const forward = (options: MultiheadAttentionForwardOptions) => () =>
      layer.forward(x, x, x, options);
    assertThrows(
      forward({ attnMask: wide }),
      RangeError,
      "attnMask has shape [5, 6], expected [5, 5] or [6, 5, 5]",
    );
    assertThrows(
      forward({ keyPaddingMask: wide }),
      RangeError,
      "keyPaddingMask has shape [5, 6], expected [2, 5]",
    );
    assertThrows(forward({ keyPaddingMask: whole }), TypeError, "keyPaddingMask has dtype i32");
  });
});
