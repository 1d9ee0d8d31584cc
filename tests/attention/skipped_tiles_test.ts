/** Masks save work: tiles that they empty are not visited, by the kernels' own count and by the clock. */
import {
  type AttentionBias,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  LocalAttentionFromBottomRightMask,
  LowerTriangularFromBottomRightLocalAttentionMask,
  LowerTriangularMask,
  memoryEfficientAttention,
} from "@denoformers/attention";
import { assertEquals, assertGreater, assertLess, assertLessOrEqual } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { attentionInputs } from "../../attention/inputs.ts";
import { type AttentionKernelConfig, stagedKeys } from "../../attention/kernels/_kernel.ts";
import { flashWork } from "../../attention/ops/flash.ts";
import { type AttentionWork, runAttention } from "../../attention/ops/launch.ts";
import { withResults } from "../../attention/ops/results.ts";
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { sharedDevice } from "../_device.ts";

const device = await sharedDevice();

const LOOP = "for (var staged_key = from_key; staged_key < to_key; staged_key += STAGED) {";
const RESULT = "store_lse(position, m[w], sum)";

/** The kernel with one change: it writes how often its workgroup staged keys, instead of the lse. */
function counting(work: AttentionWork): AttentionWork {
  return {
    ...work,
    kernel: (config: AttentionKernelConfig): Kernel => {
      const kernel = work.kernel(config);
      assertEquals(kernel.source.split(LOOP).length, 2, "the kernel has one loop that stages keys");
      assertGreater(kernel.source.split(RESULT).length, 1);
      const source = kernel.source
        .replace(LOOP, `var turns = 0u;\n${LOOP}\nturns += 1u;`)
        .replaceAll(RESULT, "store_lse(position, f32(turns), 1.0)");
      return { ...kernel, source };
    },
  };
}

/** Keys that each query's workgroup staged, for one head; and rows of a workgroup, and keys staged at once. */
async function visited(M: number, attnBias?: AttentionBias, keys = M) {
  using q = device.zeros([1, M, 1, 16]);
  using k = device.zeros([1, keys, 1, 16]);
  const inputs = attentionInputs("test", q, k, k, { attnBias });
  const work = flashWork(inputs);
  const result = withResults(inputs, true, (outputs) => {
    runAttention(inputs, counting(work), outputs);
  });
  const tile = stagedKeys(work.config);
  const counts = [...await result.lse!.data()].map((turns) => turns * tile);
  result.out.dispose();
  result.lse!.dispose();
  return { counts, tile, blockRows: work.blockRows };
}

const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);

describe("tiles visited", () => {
  it("are all of them without a mask", async () => {
    const { counts } = await visited(1024);
    assertEquals(new Set(counts), new Set([1024]));
  });

  it("are about half under a causal mask: up to the last key that a block of rows sees", async () => {
    const { counts, blockRows } = await visited(1024, new LowerTriangularMask());
    counts.forEach((keys, row) => {
      assertEquals(keys, Math.min(1024, (Math.floor(row / blockRows) + 1) * blockRows));
    });
    assertLess(sum(counts) / 1024 ** 2, 0.5 + blockRows / 1024);
  });

  it("are in proportion to a window", async () => {
    for (const width of [1, 64, 200]) {
      const mask = new LowerTriangularFromBottomRightLocalAttentionMask(width);
      const { counts, blockRows, tile } = await visited(1024, mask);
      // What a block of rows sees, and at most one tile more at each end.
      for (const keys of counts) assertLessOrEqual(keys, width + blockRows + 2 * tile);
    }
    const both = new LocalAttentionFromBottomRightMask(30, 50);
    const { counts, blockRows, tile } = await visited(1024, both);
    for (const keys of counts) assertLessOrEqual(keys, 81 + blockRows + 2 * tile);
  });

  it("are each block's own in a block-diagonal mask", async () => {
    const lengths = [100, 7, 300, 0, 217, 400];
    const { counts, tile } = await visited(1024, BlockDiagonalMask.fromSeqlens(lengths));
    const expected = lengths.flatMap((length) =>
      new Array<number>(length).fill(Math.ceil(length / tile) * tile)
    );
    assertEquals(counts, expected);
  });

  it("are those with keys in a padded cache", async () => {
    const mask = BlockDiagonalPaddedKeysMask.fromSeqlens([2, 2, 2], 512, [3, 512, 100]);
    const { counts, tile } = await visited(6, mask, 3 * 512);
    const expected = [3, 3, 512, 512, 100, 100].map((keys) => Math.ceil(keys / tile) * tile);
    assertEquals(counts, expected);
  });
});

describe("time", () => {
  // Enough work that a GPU has several workgroups for each of its multiprocessors.
  const [M, H, K] = device.info.isFallback ? [2048, 2, 16] : [4096, 64, 64];
  const q = device.randn([1, M, H, K], { seed: 1 });

  /** Shortest time on the GPU of several calls with a mask, and of as many without, by turns; in ms. */
  async function times(attnBias: AttentionBias): Promise<{ masked: number; full: number }> {
    let [masked, full] = [Infinity, Infinity];
    const time = async (options: { attnBias?: AttentionBias }) => {
      const run = () => memoryEfficientAttention(q, q, q, options).dispose();
      return (await device.profile(run)).milliseconds;
    };
    for (let run = 0; run < 10; run++) {
      masked = Math.min(masked, await time({ attnBias }));
      full = Math.min(full, await time({}));
    }
    return { masked, full };
  }

  // The counts above are exact; these bounds are loose, for cores that others use as well.
  const masks: [string, AttentionBias, number][] = [
    ["a causal mask", new LowerTriangularMask(), 0.8],
    ["a window of 64", new LowerTriangularFromBottomRightLocalAttentionMask(64), 0.4],
    ["eight blocks", BlockDiagonalMask.fromSeqlens(new Array(8).fill(M / 8)), 0.4],
  ];
  for (const [name, mask, most] of masks) {
    it(`falls with the work under ${name}`, async () => {
      if (!device.info.timestamps) return;
      const { masked, full } = await times(mask);
      assertLess(masked / full, most);
    });
  }
});
