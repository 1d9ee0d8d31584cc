import { describe, it } from "@std/testing/bdd";
import { assert, assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "@std/assert";
import {
  defaultMatmulPlan,
  matmulCandidates,
  type MatmulDevice,
  type MatmulPlan,
  SHALLOW_TILE,
  TILES,
} from "../../../../gpu/ops/matmul/candidates.ts";
import { tileBytes, tileSize } from "../../../../gpu/ops/matmul/tiles.ts";

const limits = {
  maxBufferSize: 2 ** 28,
  maxStorageBufferBindingSize: 2 ** 27,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupsPerDimension: 65_535,
};
const gpu: MatmulDevice = { isFallback: false, subgroupSize: 32, limits };
const cpu: MatmulDevice = { isFallback: true, subgroupSize: 8, limits };
const single = (m: number, n: number, k: number) => ({ m, n, k, batches: 1 });

/** The default of a GPU, which is tiles. */
function tilesFor(m: number, n: number, k: number, device = gpu) {
  const plan = defaultMatmulPlan(single(m, n, k), device);
  assert(plan.form === "tiles");
  return plan;
}

describe("defaultMatmulPlan()", () => {
  it("takes smaller tiles for smaller products on a GPU", () => {
    assertEquals(tilesFor(4096, 4096, 4096).shape, TILES.large);
    const areas = [4096, 1024, 256].map((size) => {
      const [rows, columns] = tileSize(tilesFor(size, size, size).shape);
      return rows * columns;
    });
    assertEquals(areas, areas.toSorted((a, b) => b - a));
    assertEquals(tilesFor(64, 64, 64), { form: "tiles", shape: TILES.small, slices: 1 });
  });

  it("cuts a long k into slices where C is small, none shorter than 128", () => {
    const { slices } = tilesFor(128, 128, 16_384);
    assertGreaterOrEqual(slices, 32);
    assertLessOrEqual(slices, 128);
    assertLessOrEqual(tilesFor(64, 64, 1024).slices, 8);
  });

  it("slices no more than a binding can show", () => {
    const small = { ...gpu, limits: { ...limits, maxStorageBufferBindingSize: 2 ** 20 } };
    const { slices } = tilesFor(128, 128, 16_384, small);
    assertEquals(slices, 2 ** 20 / (4 * 128 * 128));
  });

  it("cuts what is too long for one sum into slices, however large C is", () => {
    for (const device of [gpu, cpu, { ...cpu, subgroupSize: 0 }]) {
      const slices = (k: number) => defaultMatmulPlan(single(2048, 2048, k), device).slices;
      assertEquals(slices(4096), 1);
      assertGreaterOrEqual(slices(50_000), 4);
    }
    // As many as a binding of 2^27 bytes shows.
    assertEquals(defaultMatmulPlan(single(4096, 4096, 200_000), gpu).slices, 2);
  });

  it("keeps to few threads and little workgroup memory", () => {
    const small = {
      ...gpu,
      limits: {
        ...limits,
        maxComputeInvocationsPerWorkgroup: 64,
        maxComputeWorkgroupStorageSize: 8192,
      },
    };
    const { shape } = tilesFor(4096, 4096, 4096, small);
    assertLessOrEqual(shape.threadRows * shape.threadColumns, 64);
    assertLessOrEqual(tileBytes(shape), 8192);
  });

  it("takes lanes on the CPU, of few rows for few rows, and tiles without subgroups", () => {
    const rowGroups = (m: number) => {
      const plan = defaultMatmulPlan(single(m, 64, 64), cpu);
      assert(plan.form === "lanes");
      return plan.shape.rowGroups;
    };
    assertEquals([1, 8, 9, 100].map(rowGroups), [1, 1, 3, 3]);
    const without = defaultMatmulPlan(single(100, 100, 100), { ...cpu, subgroupSize: 0 });
    assertEquals(without, { form: "tiles", shape: SHALLOW_TILE, slices: 1 });
  });
});

describe("matmulCandidates()", () => {
  it("gives the default first, and every plan once, by a name of its own", () => {
    for (const device of [gpu, cpu, { ...cpu, subgroupSize: 4 }, { ...cpu, subgroupSize: 0 }]) {
      for (const sizes of [single(4096, 4096, 4096), single(128, 128, 16_384), single(3, 3, 3)]) {
        const candidates = matmulCandidates(sizes, device);
        assertEquals(candidates[0]!.value, defaultMatmulPlan(sizes, device));
        assertEquals(new Set(candidates.map(({ name }) => name)).size, candidates.length);
        const plans = new Set(candidates.map(({ value }) => JSON.stringify(value)));
        assertEquals(plans.size, candidates.length);
      }
    }
  });

  it("has only tiles that fit the device, whose threads and blocks the kernel can place", () => {
    const large = { ...gpu, limits: { ...limits, maxComputeWorkgroupStorageSize: 49_152 } };
    const counts = [gpu, large].map((device) => {
      const plans = matmulCandidates(single(1024, 1024, 1024), device).map(({ value }) => value);
      for (const plan of plans) assertTile(plan, device);
      return plans.length;
    });
    assert(counts[0]! < counts[1]!);
  });
});

/** What `tiles.ts` relies on. */
function assertTile(plan: MatmulPlan, device: MatmulDevice): void {
  assert(plan.form === "tiles");
  const { shape } = plan;
  assertLessOrEqual(tileBytes(shape), device.limits.maxComputeWorkgroupStorageSize);
  assertEquals([shape.threadRows % 4, shape.threadColumns % 8, shape.depth % 8], [0, 0, 0]);
  // A slice is a multiple of 32 long; a vec4 moves to another place among eight neighbours.
  assertEquals(32 % shape.depth, 0);
  assertEquals(tileSize(shape).map((lines) => lines % 32), [0, 0]);
}
