import { LowerTriangularMask, type Tensor } from "@denoformers/attention";
import { attentionInputs } from "../../attention/inputs.ts";
import {
  flashForwardBlockRows,
  flashForwardKernel,
} from "../../attention/kernels/flash_forward.ts";
import { stagedBytes, type Tiles } from "../../attention/kernels/_kernel.ts";
import { describeTiles } from "../../attention/kernels/tile_config.ts";
import { BackwardRun } from "../../attention/ops/backward_run.ts";
import { fillKeyGradients, fillQueryGradient } from "../../attention/ops/fill_gradients.ts";
import { workBy } from "../../attention/ops/forward_forms.ts";
import { runAttention } from "../../attention/ops/launch.ts";
import { withResults } from "../../attention/ops/results.ts";
import type { DeviceArray } from "../../gpu/array.ts";
import { runtimeOf } from "../../gpu/device.ts";
import { arrayOf, tensorFrom } from "../../gpu/tensor/base.ts";
import { assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { beyondCore } from "../_extent.ts";

const device = await sharedDevice();
const runtime = runtimeOf(device);
const K = 12;
const N = 75; // No multiple of any tile.

/** Ways to share rows, of which CPU drivers take some and GPUs all: lanes, rows, and distances of lanes. */
const TILES: readonly Tiles[] = [
  { lanes: 1, rows: 1, threads: 32, tile: 4 },
  { lanes: 2, rows: 2, threads: 32, tile: 4, laneStride: 2 },
  { lanes: 4, rows: 4, threads: 32, tile: 4, staged: 12, wholeApart: true },
  ...beyondCore<Tiles>(
    { lanes: 1, rows: 2, threads: 32, tile: 4, staged: 8 },
    { lanes: 4, rows: 2, threads: 32, tile: 8 },
    { lanes: 2, rows: 4, threads: 32, tile: 4, wholeApart: true },
    { lanes: 4, rows: 4, threads: 64, tile: 4, staged: 8, laneStride: 2, wholeApart: true },
    { lanes: 4, rows: 4, threads: 128, tile: 8, staged: 16, laneStride: 8, wholeApart: true },
    { lanes: 8, rows: 4, threads: 128, tile: 8, laneStride: 4, wholeApart: true },
  ),
].filter(({ lanes, laneStride = 1 }) =>
  lanes * laneStride <= Math.max(1, device.info.subgroupSize)
);

const [query, key, value, gradient] = [1, 2, 3, 4].map((seed) =>
  device.randn([1, N, 2, K], { seed })
) as [Tensor, Tensor, Tensor, Tensor];
const options = { attnBias: new LowerTriangularMask() };
/** Made by each that needs them: what is called by a closure is not left to the garbage collector. */
const inputsNow = () => attentionInputs("test", query, key, value, options);

function attend(tiles: Tiles) {
  const inputs = inputsNow();
  const form = {
    kernel: flashForwardKernel,
    tiles,
    products: "f32" as const,
    blockRows: flashForwardBlockRows(tiles),
    workgroupBytes: stagedBytes({ headDim: K, valueDim: K, ...tiles }),
  };
  const { out, lse } = withResults(inputs, true, (outputs) => {
    runAttention(inputs, workBy(inputs, form), outputs);
  });
  return { out, lse: lse! };
}

/** The largest difference of two tensors, the second of which it disposes. */
async function difference(expected: Float32Array, tensor: Tensor): Promise<number> {
  const data = await tensor.data();
  tensor.dispose();
  return data.reduce((most, x, i) => Math.max(most, Math.abs(x - expected[i]!)), 0);
}

const usual = attend(TILES[0]!);
const [out, lse] = [await usual.out.data(), await usual.lse.data()];

describe("attention by any way to share rows", () => {
  for (const tiles of TILES.slice(1)) {
    it(`is the same but for rounding by ${describeTiles(tiles)}`, async () => {
      const other = attend(tiles);
      // Sums of up to 75 products of weights that sum to 1 and values up to 4, in another order: 2^-24 each.
      assertLess(await difference(out, other.out), 2e-6);
      assertLess(await difference(lse, other.lse), 2e-6);
    });
  }
});

describe("gradients by any way to share rows", () => {
  const gradients = (tiles: Tiles): Record<string, Tensor> => {
    const inputs = inputsNow();
    const given = {
      grad: { ...arrayOf(gradient), layout: inputs.query.layout },
      output: { ...arrayOf(usual.out), layout: inputs.query.layout },
      lse: {
        ...arrayOf(usual.lse),
        layout: { shape: [1, 1, 2, N], strides: [0, 0, 2 * N, 2], offset: 0 }, // Two words a row.
      },
      isOwnLse: true,
      lseGrad: undefined,
    };
    const run = new BackwardRun(inputs, given, { query: tiles, key: tiles });
    const own = (array: DeviceArray) => tensorFrom(device, runtime, array);
    const dQuery = own(fillQueryGradient(run));
    const [dKey, dValue] = fillKeyGradients(run).arrays;
    run.release();
    return { dQuery, dKey: own(dKey), dValue: own(dValue) };
  };
  const expected = gradients(TILES[0]!);
  for (const tiles of TILES.slice(1)) {
    it(`are the same but for rounding by ${describeTiles(tiles)}`, async () => {
      for (const [name, tensor] of Object.entries(gradients(tiles))) {
        // As above, with terms up to some ten times as large.
        assertLess(await difference(await expected[name]!.data(), tensor), 2e-5, name);
      }
    });
  }
});
