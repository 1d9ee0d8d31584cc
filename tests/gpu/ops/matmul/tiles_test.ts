import { describe, it } from "@std/testing/bdd";
import { assertEquals } from "@std/assert";
import { assertAllClose } from "@denoformers/attention/testing";
import { runtimeOf } from "../../../../gpu/device.ts";
import { matmul } from "../../../../gpu/ops/matmul.ts";
import { type MatmulPlan, SHALLOW_TILE } from "../../../../gpu/ops/matmul/candidates.ts";
import { tileBytes, tileSize } from "../../../../gpu/ops/matmul/tiles.ts";
import { arrayOf, tensorFrom } from "../../../../gpu/tensor/base.ts";
import { assertNoLeak, sharedDevice } from "../../../_device.ts";
import { isCore } from "../../../_extent.ts";
import { assertPlan } from "./_products.ts";

const device = await sharedDevice();

// Larger tiles are the same code with other constants, which CPU drivers take long to compile.
const whole: MatmulPlan = { form: "tiles", shape: SHALLOW_TILE, slices: 1 };
const sliced: MatmulPlan = { ...whole, slices: 3 };
const STAGED: MatmulPlan = {
  form: "tiles",
  shape: { threadRows: 4, threadColumns: 8, rowVecs: 2, columnVecs: 1, depth: 8, stages: 2 },
  slices: 1,
};

describe("tileSize() and tileBytes()", () => {
  it("are rows and columns of a tile, and what two stages of it take", () => {
    assertEquals(tileSize(STAGED.shape), [32, 32]);
    assertEquals(tileBytes(STAGED.shape), 2 * 8 * (32 + 32) * 4);
  });
});

describe("tilesMatmul()", () => {
  it("is right for odd sizes, strides and batches, element by element", async () => {
    for (const layout of ["nn", "tt"] as const) {
      for (const [m, k, n] of [[1, 1, 1], [33, 9, 31], [35, 23, 66]] as const) {
        await assertPlan(device, whole, { m, k, n, layout, padded: true, bias: true });
      }
    }
    await assertPlan(device, whole, { m: 5, k: 7, n: 9, leads: [[2, 3], [3]], padded: true });
  });

  it("reads vec4s along k of A and across columns of B", async () => {
    for (const [m, k, n] of [[33, 4, 36], [32, 8, 32], [30, 20, 68]] as const) {
      await assertPlan(device, whole, { m, k, n, bias: true });
    }
    await assertPlan(device, whole, { m: 6, k: 12, n: 8, leads: [[3], [3]] });
    await assertPlan(device, whole, { m: 6, k: 12, n: 8, leads: [[3], []] });
  });

  it("reads vec4s across rows of A and along k of B", async () => {
    for (const [m, k, n] of [[36, 4, 36], [32, 12, 32], [68, 36, 20]] as const) {
      await assertPlan(device, whole, { m, k, n, layout: "tt" });
    }
  });

  it("is right with two stages and other parts for a thread", { ignore: isCore }, async () => {
    for (const [m, k, n] of [[33, 4, 36], [32, 8, 32], [65, 60, 68]] as const) {
      await assertPlan(device, STAGED, { m, k, n });
    }
  });

  it("unpacks halves", { ignore: isCore }, async () => {
    for (const k of [4, 20]) {
      await assertPlan(device, whole, { m: 34, k, n: 36, layout: "nt", dtype: "f16" });
    }
    await assertPlan(device, whole, { m: 9, k: 11, n: 7, dtype: "bf16", bias: true });
  });

  it("cuts k into slices and adds them up with the bias, even where slices are empty", async () => {
    await assertNoLeak(device, async () => {
      for (const k of [4, 64, 100, 300]) {
        await assertPlan(device, sliced, { m: 33, k, n: 36, bias: true });
      }
      await assertPlan(device, sliced, { m: 5, k: 97, n: 7, leads: [[2], [2]], padded: true });
    });
  });

  it("adds up a long k stretch by stretch, within slices too", async () => {
    for (const [m, n] of [[5, 36], [33, 7]] as const) {
      await assertPlan(device, whole, { m, k: 2084, n, bias: true });
    }
    await assertPlan(device, STAGED, { m: 33, k: 2084, n: 36, bias: true });
    // Three slices, of 2112, 2112 and 1876 terms.
    await assertPlan(device, sliced, { m: 5, k: 6100, n: 36, bias: true });
    using a = device.full([3, 50_000], 0.1);
    using b = device.full([50_000, 4], 0.3);
    const runtime = runtimeOf(device);
    const array = matmul(runtime, arrayOf(a), arrayOf(b), { plan: { ...whole, slices: 4 } });
    using out = tensorFrom(device, runtime, array);
    // All roundings of a stretch of 1024 equal terms may go one way, by half a last place each.
    const expected = 50_000 * Math.fround(0.1) * Math.fround(0.3);
    assertAllClose(await out.data(), Array(12).fill(expected), { atol: 0, rtol: 512 * 2 ** -24 });
  });

  it("hides what a zero multiplies, on request", async () => {
    using a = device.tensor([[0, 1, 0], [-0, 0, 2]]);
    using b = device.tensor([[NaN, Infinity], [1, 2], [3, -Infinity]]);
    const runtime = runtimeOf(device);
    const array = matmul(runtime, arrayOf(a), arrayOf(b), { zeroHides: true, plan: whole });
    using out = tensorFrom(device, runtime, array);
    assertEquals(await out.toArray(), [[1, 2], [6, -Infinity]]);
  });
});
