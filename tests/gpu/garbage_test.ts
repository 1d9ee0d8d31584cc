/**
 * Operations write their results over what a buffer held before, as the pool hands out used buffers.
 * Here every idle buffer is full of NaN, or of bits that are large in every type; a result that was
 * not written throughout, or was added to, would show it. All is computed again to find races.
 */
import { cat, stack, type Tensor, tidy } from "@denoformers/attention";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { randomValues } from "./_values.ts";

const device = await sharedDevice();

/** Sizes of all results and scratch below lie within these, in steps of 16 bytes. */
const LARGEST_BYTES = 6000;

/** Leaves idle buffers of every small size in the pool, several of each, filled with one word. */
function fillPool(word: number): void {
  tidy(() => {
    for (let bytes = 16; bytes <= LARGEST_BYTES; bytes += 16) {
      for (let copy = 0; copy < 3; copy++) {
        device.full([bytes / 4], word, { dtype: "u32" });
      }
    }
  });
}

const WORDS = { NaN: 0x7fc00000, "all ones": 0xffffffff, "a large float": 0x7f000000 };

const a = device.tensor(randomValues(11 * 13, 1), { shape: [11, 13] });
const b = device.tensor(randomValues(13 * 17, 2), { shape: [13, 17] });
const mask = a.gt(0);

const OPERATIONS: Record<string, () => Tensor> = {
  "arithmetic": () => a.add(1).mul(a).div(3),
  "broadcasting": () => a.unsqueeze(0).maximum(a.select(0, 0)),
  "a comparison": () => a.lt(0.5),
  "logic on bools that do not fill their words": () => mask.logicalNot().logicalOr(mask),
  "a cast to bool": () => a.to("bool"),
  "a copy of a strided bool": () => mask.transpose(0, 1).contiguous(),
  "where": () => a.where(mask, -1),
  "maskedFill": () => a.maskedFill(mask, -Infinity),
  "a fill": () => device.full([3, 7], 0.5),
  "a fill of bools": () => device.full([3, 7], 1, { dtype: "bool" }),
  "rand": () => device.rand([7, 9], { seed: 1 }),
  "randn": () => device.randn([7, 9], { seed: 1 }),
  "sum": () => a.sum({ axis: 0 }),
  "max": () => a.max({ axis: 1 }),
  "mean": () => a.mean(),
  "a sum in pieces": () => b.select(0, 0).unsqueeze(1).expand([17, 20_000]).sum(),
  "softmax": () => a.softmax(0),
  "logSumExp": () => a.logSumExp(),
  "layerNorm": () => a.layerNorm({ weight: a.select(0, 0), bias: a.select(0, 1) }),
  "matmul": () => a.matmul(b),
  "matmul with K = 0": () => a.slice(1, 0, 0).matmul(b.slice(0, 0, 0)),
  "cat": () => cat([a, a.slice(0, 0, 3)]),
  "cat of bools": () => cat([mask, mask.slice(0, 0, 2)]),
  "stack": () => stack([a, a.add(1)], 1),
};

describe("results do not depend on what their buffers held, nor change from run to run", () => {
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    it(`${name}`, async () => {
      // emptyCache() first: new buffers are all zeros, as WebGPU demands.
      device.emptyCache();
      const clean = tidy(operation);
      const expected = new Uint8Array((await clean.data()).buffer);
      const { dtype, shape } = clean;
      clean.dispose();
      for (const [filling, word] of Object.entries(WORDS)) {
        device.emptyCache();
        fillPool(word);
        const { reservedBytes } = device.memory();
        for (let run = 0; run < 3; run++) {
          const result = tidy(operation);
          const data = new Uint8Array((await result.data()).buffer);
          assertEquals([result.dtype, result.shape], [dtype, shape]);
          assertEquals(data, expected, `run ${run} on ${filling}`);
          result.dispose();
        }
        // The test is worth something only if the buffers came from the pool.
        const grown = device.memory().reservedBytes - reservedBytes;
        assert(grown < 16 * 1024, `${grown} bytes were not from the pool`);
      }
    });
  }

  it("large results repeat bit by bit", async () => {
    using x = device.randn([200, 150], { seed: 1 });
    using y = device.randn([150, 190], { seed: 2 });
    const run = () => tidy(() => x.matmul(y).softmax().layerNorm().matmul(y.transpose(0, 1)));
    using first = run();
    const expected = new Uint32Array((await first.data()).buffer);
    assert(expected.some((word) => word !== 0));
    for (let i = 0; i < 5; i++) {
      using again = run();
      const bits = new Uint32Array((await again.data()).buffer);
      assert(bits.every((word, at) => word === expected[at]), `run ${i}`);
    }
  });
});
