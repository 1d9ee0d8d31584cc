import { requestDevice, type Tensor } from "@denoformers/attention";
import { attentionInputs } from "../../../attention/inputs.ts";
import type { Tiles } from "../../../attention/kernels/_kernel.ts";
import { flashForwardBlockRows } from "../../../attention/kernels/flash_forward.ts";
import { forwardTiles } from "../../../attention/kernels/tile_config.ts";
import { compiledIn } from "../../../attention/ops/compiled.ts";
import { flashWork } from "../../../attention/ops/flash.ts";
import { runAttention } from "../../../attention/ops/launch.ts";
import { withResults } from "../../../attention/ops/results.ts";
import type { DeviceArray } from "../../../gpu/array.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { scratchArrays } from "../../../gpu/tuning/scratch.ts";
import { assert, assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const device = await requestDevice({ tune: { cache: false, budget: 60_000 } });
const runtime = runtimeOf(device);

/** Attention by these tiles, into the outputs or new ones. */
function attend(query: Tensor, key: Tensor, value: Tensor, tiles: Tiles): Tensor {
  const inputs = attentionInputs("test", query, key, value, {});
  return withResults(inputs, false, (outputs) => {
    const config = { ...flashWork(inputs).config, ...tiles };
    const work = { ...flashWork(inputs), config, blockRows: flashForwardBlockRows(tiles) };
    runAttention(inputs, work, outputs);
  }).out;
}

/** A class of attention problems as the tuner takes them: measured on arrays that are no tensors. */
function tilesProblem(query: Tensor) {
  const inputs = attentionInputs("test", query, query, query, {});
  const usual = forwardTiles(16, 16, runtime.info.subgroupSize)[0]!;
  const all: Tiles[] = [usual, { lanes: 1, rows: 1, threads: 64, tile: 4 }];
  return {
    name: "flash_forward f32 K16 Kv16",
    candidates: all.map((value) => ({
      name:
        `${value.lanes} lanes x ${value.rows} rows, ${value.threads} threads, tile ${value.tile}`,
      value,
    })),
    prepare() {
      const sizes = { ...inputs.sizes, B: 1, Mq: 64, Mkv: 64 };
      const shape = [1, 64, 1, 2, 16];
      const { arrays, dispose } = scratchArrays(runtime, [shape, shape, shape, shape], "f32");
      const [query, key, value, out] = arrays as [
        DeviceArray,
        DeviceArray,
        DeviceArray,
        DeviceArray,
      ];
      const own = { ...inputs, sizes, query, key, value };
      return {
        run: (tiles: Tiles) =>
          runAttention(own, {
            ...flashWork(own),
            config: { ...tiles, ...compiledIn(own) },
            blockRows: flashForwardBlockRows(tiles),
          }, { out, lse: undefined }),
        dispose,
      };
    },
  };
}

describe("attention by the tiles that the tuner chose", () => {
  it("is measured at first use without a trace, and gives the same by every candidate", async () => {
    const [query, key, value] = [1, 2, 3].map((seed) => device.randn([2, 40, 2, 16], { seed }));
    await device.sync();
    device.resetPeakMemory();
    const before = device.memory();
    const { result: out, kernels } = await device.profile(() => {
      const tiles = runtime.tuner.choose(tilesProblem(query!));
      return attend(query!, key!, value!, tiles);
    });
    const { allocatedBytes, peakBytes } = device.memory();
    assertEquals(peakBytes, before.allocatedBytes + 4 * 2 * 40 * 2 * 16, "inputs and output");
    assertEquals(peakBytes, allocatedBytes);
    if (device.info.timestamps) {
      assertEquals(kernels.map(({ kernel, calls }) => [kernel, calls]), [["flash_forward", 1]]);
    }

    const [{ source, choice, candidates }] = device.tuning() as [
      ReturnType<typeof device.tuning>[0],
    ];
    assertEquals(source, "measured");
    for (const { milliseconds, note } of candidates) assert(milliseconds! > 0, note);
    const expected = await out.data();
    for (const { name, value: tiles } of tilesProblem(query!).candidates) {
      using again = attend(query!, key!, value!, tiles);
      const data = await again.data();
      if (name === choice) assertEquals(data, expected, "bit for bit");
      // Sums of 40 products of weights up to 1 and values up to 4, in another order: some 2^-24 each.
      for (const [i, x] of data.entries()) assertLess(Math.abs(x - expected[i]!), 1e-5);
    }
    for (const tensor of [query!, key!, value!, out]) tensor.dispose();
  });
});
