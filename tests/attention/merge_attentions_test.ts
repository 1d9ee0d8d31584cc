/** Partial results and their merge: over chunks of keys, shared prefixes, empty chunks. */
import {
  BlockDiagonalGappyKeysMask,
  BlockDiagonalPaddedKeysMask,
  type Device,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../_device.ts";

const device: Device = await sharedDevice();

/** Outputs are averages of numbers below 6, merged by weights of relative error 1e-6. */
const CLOSE = { atol: 1e-5, rtol: 1e-5 };

async function host(tensor: Tensor) {
  return { shape: tensor.shape, data: await tensor.data() };
}

/** Attention over the keys between bounds, and the whole; tensors of any rank. */
function cut(q: Tensor, k: Tensor, v: Tensor, bounds: readonly number[]) {
  const parts = bounds.slice(1).map((end, i) =>
    memoryEfficientAttentionPartial(q, k.slice(1, bounds[i]!, end), v.slice(1, bounds[i]!, end))
  );
  const whole = memoryEfficientAttentionForwardRequiresGrad(q, k, v);
  return { outs: parts.map(({ out }) => out), lses: parts.map(({ lse }) => lse), whole };
}

function inputs(query: number[], key: number[], value = key) {
  return [query, key, value].map((shape, i) => device.randn(shape, { seed: i + 1 })) as [
    Tensor,
    Tensor,
    Tensor,
  ];
}

describe("mergeAttentions()", () => {
  const ranks = {
    "3": [[2, 5, 8], [2, 90, 8]],
    "4": [[2, 5, 3, 8], [2, 90, 3, 8]],
    "4 with fewer key heads": [[2, 5, 6, 8], [2, 90, 2, 8]],
    "5": [[2, 5, 2, 3, 8], [2, 90, 2, 1, 8]],
  };
  for (const [name, [query, key]] of Object.entries(ranks)) {
    it(`of ten chunks is the whole, for rank ${name}`, async () => {
      const bounds = [0, 1, 3, 10, 20, 21, 40, 50, 66, 89, 90];
      const { outs, lses, whole } = cut(...inputs(query!, key!), bounds);
      for (const split of [outs, outs.slice()]) {
        const merged = mergeAttentions(split, lses);
        assertAllClose(await host(merged.out), await host(whole.out), CLOSE);
        assertAllClose(await host(merged.lse!), await host(whole.lse), CLOSE);
      }
    });
  }

  it("takes chunks as one tensor with an axis before the others, strided too", async () => {
    const { outs, lses } = cut(...inputs([2, 5, 3, 8], [2, 90, 3, 8]), [0, 30, 90]);
    const expected = mergeAttentions(outs, lses);
    const stackedOut = device.tensor(
      new Float32Array([...await outs[0]!.data(), ...await outs[1]!.data()]),
      { shape: [2, 2, 5, 3, 8] },
    );
    const stackedLse = device.tensor(
      new Float32Array([...await lses[0]!.data(), ...await lses[1]!.data()]),
      { shape: [2, 2, 3, 5] },
    );
    const merged = mergeAttentions(stackedOut, stackedLse);
    // Log-sum-exps that were read back have one word: off by half of the last place of numbers below 8, 2^-22.
    const close = { atol: 1e-6, rtol: 1e-6 };
    assertAllClose(await merged.out.data(), await expected.out.data(), close);
    // The same elements with M and H exchanged in memory.
    const swapped = stackedOut.transpose(2, 3).clone().transpose(2, 3);
    const again = mergeAttentions(swapped, stackedLse);
    assertEquals(await again.out.data(), await merged.out.data());
    assertEquals(await again.lse!.data(), await merged.lse!.data());
  });

  it("of a chunk with itself gives the same output, and ln 2 more", async () => {
    const { outs: [out], lses: [lse] } = cut(...inputs([2, 5, 3, 8], [2, 90, 3, 8]), [0, 90]);
    const merged = mergeAttentions([out!, out!], [lse!, lse!]);
    assertAllClose(await host(merged.out), await host(out!), { atol: 1e-6, rtol: 1e-6 });
    const doubled = (await lse!.data()).map((x) => x + Math.log(2));
    assertAllClose(await merged.lse!.data(), doubled, { atol: 1e-6, rtol: 1e-6 });
  });

  it("gives chunks that saw no key no weight, even if their output is NaN", async () => {
    const { outs: [out], lses: [lse] } = cut(...inputs([1, 4, 2, 8], [1, 9, 2, 8]), [0, 9]);
    const nothing = device.full([1, 4, 2, 8], NaN);
    const noKeys = device.full([1, 2, 4], -Infinity);
    const merged = mergeAttentions([nothing, out!], [noKeys, lse!]);
    assertAllClose(await host(merged.out), await host(out!), { atol: 1e-6, rtol: 1e-6 });
    const empty = mergeAttentions([nothing, nothing], [noKeys, noKeys]);
    assertEquals(new Set(await empty.out.data()), new Set([0]));
    assertEquals(new Set(await empty.lse!.data()), new Set([-Infinity]));
  });

  it("joins a shared prefix with each sequence's own keys, one of them empty", async () => {
    const [H, K] = [2, 8];
    const prefix = device.randn([1, 20, H, K], { seed: 4 });
    const own = device.randn([1, 3 * 16, H, K], { seed: 5 });
    const q = device.randn([1, 3, H, K], { seed: 6 });
    const lengths = [7, 0, 16];
    const shared = memoryEfficientAttentionPartial(q, prefix, prefix, {
      attnBias: BlockDiagonalGappyKeysMask.fromSeqlens([1, 1, 1], [0, 0, 0, 20], [20, 20, 20]),
    });
    const apart = memoryEfficientAttentionPartial(q, own, own, {
      attnBias: BlockDiagonalPaddedKeysMask.fromSeqlens([1, 1, 1], 16, lengths),
    });
    const { out, lse } = mergeAttentions([shared.out, apart.out], [shared.lse, apart.lse]);
    const [prefixData, ownData] = [await prefix.data(), await own.data()];
    for (const [b, length] of lengths.entries()) {
      const start = b * 16 * H * K;
      const keys = new Float32Array([
        ...prefixData,
        ...ownData.slice(start, start + length * H * K),
      ]);
      const all = device.tensor(keys, { shape: [1, 20 + length, H, K] });
      const expected = memoryEfficientAttentionForwardRequiresGrad(q.slice(1, b, b + 1), all, all);
      assertAllClose(
        await out.slice(1, b, b + 1).data(),
        await expected.out.data(),
        CLOSE,
      );
      assertAllClose(await lse!.slice(2, b, b + 1).data(), await expected.lse.data(), CLOSE);
    }
  });

  it("keeps the chunks' dtype unless told, and leaves the lse out if told", async () => {
    const [q, k, v] = inputs([1, 4, 2, 6], [1, 40, 2, 6]);
    const half = memoryEfficientAttentionPartial(q.to("f16"), k.to("f16"), v.to("f16"));
    assertEquals([half.out.dtype, half.lse.dtype], ["f32", "f32"]);
    const rounded = half.out.to("bf16");
    const merged = mergeAttentions([rounded], [half.lse], { writeLse: false });
    assertEquals([merged.out.dtype, merged.lse], ["bf16", undefined]);
    assertEquals(await merged.out.data(), await rounded.data());
    const wide = mergeAttentions([rounded], [half.lse], { outputDtype: "f32" });
    assertEquals(wide.out.dtype, "f32");
    const odd = mergeAttentions([half.out.slice(3, 0, 5)], [half.lse], { outputDtype: "f16" });
    assertEquals(odd.out.shape, [1, 4, 2, 5]);
    assertEquals(await odd.out.data(), await half.out.slice(3, 0, 5).to("f16").data());
  });

  it("takes axes of size 0 and leaves nothing behind", async () => {
    const out = device.zeros([0, 3, 2, 4]);
    const lse = device.zeros([0, 2, 3]);
    await assertNoLeak(device, () => {
      const merged = mergeAttentions([out, out], [lse, lse]);
      assertEquals([merged.out.shape, merged.lse!.shape], [[0, 3, 2, 4], [0, 2, 3]]);
      merged.out.dispose();
      merged.lse!.dispose();
    });
  });

  it("refuses what does not go together", () => {
    tidy(() => {
      const out = device.zeros([1, 3, 2, 4]);
      const lse = device.zeros([1, 2, 3]);
      const swapped = device.zeros([1, 3, 2]);
      const refuse = (
        run: () => unknown,
        kind: typeof RangeError | typeof TypeError,
        text: string,
      ) => assertThrows(run, kind, text);
      refuse(() => mergeAttentions([], []), RangeError, "attnSplit is empty");
      refuse(
        () => mergeAttentions([out], [swapped]),
        RangeError,
        "lseSplit has shape [1, 1, 3, 2], expected [1, 1, 2, 3] to match attnSplit [1, 1, 3, 2, 4]",
      );
      refuse(() => mergeAttentions([out, out], [lse]), RangeError, "expected [2, 1, 2, 3]");
      refuse(() => mergeAttentions(lse, lse), TypeError, "chunks have shape [2, 3], expected");
      refuse(
        () => mergeAttentions([out], [lse.to("f16")]),
        TypeError,
        "lseSplit has dtype f16, expected f32",
      );
      refuse(
        () => mergeAttentions([out], [lse], { outputDtype: "i32" }),
        TypeError,
        "outputDtype is i32",
      );
      refuse(
        () => mergeAttentions("x" as unknown as Tensor, lse),
        TypeError,
        'attnSplit is "x"',
      );
    });
  });
});
