import { describe, it } from "@std/testing/bdd";
import { assertEquals } from "@std/assert";
import type { MatmulPlan } from "../../../../gpu/ops/matmul/candidates.ts";
import { lanesTile } from "../../../../gpu/ops/matmul/lanes.ts";
import { sharedDevice } from "../../../_device.ts";
import { assertPlan } from "./_products.ts";

const device = await sharedDevice();
const { subgroupSize } = device.info;
const lanes = subgroupSize >= 8 ? 8 : 4;
const plan: MatmulPlan = {
  form: "lanes",
  shape: { lanes, rowGroups: 1, columnVecs: 1 },
  slices: 1,
};

describe("lanesTile()", () => {
  it("is rows and columns of a tile", () => {
    assertEquals(lanesTile({ lanes: 8, rowGroups: 3, columnVecs: 2 }), [24, 64]);
  });
});

describe("lanesMatmul()", { ignore: subgroupSize < 4 }, () => {
  it("is right for sizes about the tile's, any strides and batches", async () => {
    for (const layout of ["nn", "nt", "tn", "tt"] as const) {
      for (const [m, k, n] of [[1, 1, 1], [7, 3, 31], [8, 4, 32], [17, 21, 33]] as const) {
        await assertPlan(device, plan, { m, k, n, layout, padded: true, bias: true });
      }
    }
    for (const leads of [[[2, 3], [3]], [[3], []], [[], [3]]] as const) {
      await assertPlan(device, plan, { m: 5, k: 7, n: 9, leads });
    }
  });

  it("adds up a long k stretch by stretch, and slices of it with the bias", async () => {
    await assertPlan(device, plan, { m: 9, k: 577, n: 34, bias: true });
    for (const k of [1, 1100]) {
      await assertPlan(device, { ...plan, slices: 2 }, { m: 9, k, n: 34, bias: true });
    }
  });

  it("unpacks halves", async () => {
    for (const dtype of ["f16", "bf16"] as const) {
      await assertPlan(device, plan, { m: 9, k: 11, n: 34, dtype, layout: "nt", bias: true });
    }
  });
});
