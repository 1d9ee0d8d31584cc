/**
 * Operations write their results over what a buffer held before, as the pool hands out used buffers.
 * Here every idle buffer is full of NaN, or of bits that are large in every type; a result that was
 * not written throughout, or was added to, would show it. All is computed again to find races.
 */
import { cat, stack, type Tensor, tidy } from "@denoformers/attention";
import { runtimeOf } from "../../gpu/device.ts";
import { MemoryPool } from "../../gpu/runtime/memory.ts";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { randomValues } from "./_values.ts";

const device = await sharedDevice();

/** The sizes of all storages that a function asks for. */
function sizesOf(fn: () => void): number[] {
  const { memory } = runtimeOf(device);
  const sizes: number[] = [];
  memory.acquire = (bytes, what) => {
    const storage = MemoryPool.prototype.acquire.call(memory, bytes, what);
    sizes.push(storage.buffer.size);
    return storage;
  };
  try {
    fn();
  } finally {
    memory.acquire = MemoryPool.prototype.acquire;
  }
  return sizes;
}

/** Leaves an idle buffer of each size in the pool, filled with one word. */
function fillPool(sizes: readonly number[], word: number): void {
  tidy(() => {
    for (const size of sizes) device.full([size / 4], word, { dtype: "u32" });
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
  "gelu": () => a.gelu(),
  "indexSelect": () => a.indexSelect(1, [3, 0, 3]),
  "gradients of arithmetic": () => gradient((x) => x.div(b.select(0, 0).slice(0, 0, 13)).gelu()),
  "the gradient of a slice": () => gradient((x) => x.slice(1, 2, 9)),
  "the gradient of softmax": () => gradient((x) => x.softmax(0)),
  "the gradient of layerNorm": () => gradient((x) => x.layerNorm()),
  "the gradient of a weight of layerNorm": () =>
    gradient((x) => a.layerNorm({ weight: x.select(0, 0) })),
  "the gradient of matmul": () => gradient((x) => x.matmul(b)),
  "the gradient of max": () => gradient((x) => x.max({ axis: 0 })),
  "the gradient of indexSelect": () => gradient((x) => x.indexSelect(0, [2, 2, 10])),
};

/** The gradient of a function at `a`, with an upstream gradient that is not the same everywhere. */
function gradient(fn: (x: Tensor) => Tensor): Tensor {
  const x = a.clone();
  x.requiresGrad = true;
  const out = fn(x);
  out.backward(device.arange(0, out.size).mul(1 / out.size).reshape(out.shape));
  return x.grad!.clone();
}

describe("results do not depend on what their buffers held, nor change from run to run", () => {
  for (const [name, operation] of Object.entries(OPERATIONS)) {
    it(`${name}`, async () => {
      let clean: Tensor | undefined;
      device.emptyCache(); // New buffers are all zeros, as WebGPU demands.
      const sizes = sizesOf(() => clean = tidy(operation));
      const { dtype, shape } = clean!;
      const expected = new Uint8Array((await clean!.data()).buffer);
      clean!.dispose();
      for (const [filling, word] of Object.entries(WORDS)) {
        for (let run = 0; run < 2; run++) {
          fillPool(sizes, word);
          const { reservedBytes } = device.memory();
          const result = tidy(operation);
          assertEquals(device.memory().reservedBytes, reservedBytes, "all buffers are reused");
          assertEquals([result.dtype, result.shape], [dtype, shape]);
          const data = new Uint8Array((await result.data()).buffer);
          assertEquals(data, expected, `run ${run} on ${filling}`);
          result.dispose();
        }
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
