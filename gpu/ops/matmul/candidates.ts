/** Which form of the kernel, and which tile, for a product. Pure. */
import type { DeviceInfo } from "../../runtime/info.ts";
import { ceilDiv } from "../../shape.ts";
import { LANES_SLICE, type LanesShape, lanesTile } from "./lanes.ts";
import type { MatmulSizes } from "./problem.ts";
import { tileBytes, TILES_SLICE, type TileShape, tileSize } from "./tiles.ts";

/** A form of the kernel with all that is to be chosen about it. */
export type MatmulPlan =
  | { readonly form: "tiles"; readonly shape: TileShape; readonly slices: number }
  | { readonly form: "lanes"; readonly shape: LanesShape; readonly slices: number };

/** A plan by name. */
export interface MatmulCandidate {
  /** As in `tiles 64 x 64, 8 x 8 a thread, depth 16, 1 stage, 4 slices`. Differs from all others'. */
  readonly name: string;
  /** The plan. */
  readonly value: MatmulPlan;
}

/** What the choice looks at of a device. */
export type MatmulDevice = Pick<DeviceInfo, "isFallback" | "subgroupSize" | "limits">;

/** Tiles from large to small: rows x columns, and a thread's part of them. */
export const TILES = {
  /** 128 x 128, 16 x 8: the fewest reads of workgroup memory for a multiply-add. */
  large: tile([8, 16], [4, 2], 8, 1),
  /** 128 x 64, 8 x 8. */
  tall: tile([16, 8], [2, 2], 16, 1),
  /** 64 x 64, 8 x 8. */
  medium: tile([8, 8], [2, 2], 16, 1),
  /** 64 x 64, 8 x 4: twice as many threads. */
  busy: tile([8, 16], [2, 1], 16, 1),
  /** 64 x 64, 4 x 4. */
  busier: tile([16, 16], [1, 1], 32, 1),
  /** 32 x 32, 4 x 4. */
  small: tile([8, 8], [1, 1], 32, 1),
} as const;

/** The same with two stages; these need more workgroup memory than every device has, or are less deep. */
const TWO_STAGES: readonly TileShape[] = [
  tile([8, 16], [4, 2], 8, 2),
  tile([16, 16], [2, 2], 16, 2),
  tile([16, 16], [2, 2], 8, 2),
  tile([16, 8], [2, 2], 16, 2),
  tile([8, 16], [2, 1], 16, 2),
];

/** For CPU drivers that offer no subgroups: their compilers take 10 s and more for the unrolled loops of the others. */
export const SHALLOW_TILE: TileShape = tile([8, 8], [1, 1], 8, 1);

function tile(
  [threadRows, threadColumns]: readonly [number, number],
  [rowVecs, columnVecs]: readonly [number, number],
  depth: number,
  stages: number,
): TileShape {
  return { threadRows, threadColumns, rowVecs, columnVecs, depth, stages };
}

/**
 * Threads that a GPU should be given. The larger a tile, the less is read for each multiply-add, as long as
 * there are threads enough for all of the device; how many that are, WebGPU does not tell. These are two for
 * each multiplier of a large GPU.
 */
const WANTED_THREADS = 32_768;

/** No slice of k is to be shorter: its sums have to be written and read again. */
const LEAST_SLICE = 128;

/** Below this k, small tiles are as good as slices. */
const LEAST_SLICED = 512;

/** More slices take longer to add up than they win. */
const MOST_SLICES = 128;

/** So few results are cut into as many slices as there may be: that costs little, and leaves the fewest roundings. */
const FEW = { results: 64, leastSlice: 32, mostSlices: 1024 };

/** Partial sums may take so many bytes, if the device can show as many to a kernel. */
const MOST_PARTIAL_BYTES = 2 ** 26;

/**
 * The plan for a product, from its sizes and the device alone: on drivers that compute on the CPU the lanes, else the largest tiles
 * of which there are enough, or slices where there never are.
 */
export function defaultMatmulPlan(sizes: MatmulSizes, device: MatmulDevice): MatmulPlan {
  if (device.isFallback) return fallbackPlan(sizes, device);
  const shape = Object.values(TILES).find((shape) =>
    fits(shape, device) && tilesOf(sizes, shape) * threadsOf(shape) >= WANTED_THREADS
  );
  if (shape) return { form: "tiles", shape, slices: slicesFor(sizes, shape, device) };
  if (sizes.k < LEAST_SLICED) return { form: "tiles", shape: TILES.small, slices: 1 };
  const { small } = TILES;
  return { form: "tiles", shape: small, slices: slicesFor(sizes, small, device) };
}

function fallbackPlan(sizes: MatmulSizes, device: MatmulDevice): MatmulPlan {
  const { subgroupSize } = device;
  if (subgroupSize < 4) {
    return { form: "tiles", shape: SHALLOW_TILE, slices: slicesOf(sizes, TILES_SLICE, device) };
  }
  const [large, narrow] = lanesShapes(subgroupSize);
  const shape = sizes.m <= lanesTile(narrow)[0] ? narrow : large;
  return { form: "lanes", shape, slices: slicesOf(sizes, LANES_SLICE, device) };
}

/** Tiles whose sums still fit the registers, and those of as few rows as there can be. */
function lanesShapes(subgroupSize: number): [large: LanesShape, narrow: LanesShape] {
  const large = subgroupSize >= 8
    ? { lanes: 8, rowGroups: 3, columnVecs: 1 }
    : { lanes: 4, rowGroups: 4, columnVecs: 2 };
  return [large, { ...large, rowGroups: 1 }];
}

/** Ways to compute a product on a device, all of them right; the first is {@linkcode defaultMatmulPlan}. */
export function matmulCandidates(
  sizes: MatmulSizes,
  device: MatmulDevice,
): readonly MatmulCandidate[] {
  const others = device.isFallback ? fallbackPlans(sizes, device) : tilePlans(sizes, device);
  const plans = [defaultMatmulPlan(sizes, device), ...others];
  const named = plans.map((value) => [nameOf(value), value] as const);
  return [...new Map(named)].map(([name, value]) => ({ name, value }));
}

function fallbackPlans(sizes: MatmulSizes, device: MatmulDevice): MatmulPlan[] {
  if (device.subgroupSize < 4) return [];
  const slices = slicesOf(sizes, LANES_SLICE, device);
  return lanesShapes(device.subgroupSize).map((shape) => ({ form: "lanes", shape, slices }));
}

/** All tiles that fit, whole and, where there are too few, with k in slices. */
function tilePlans(sizes: MatmulSizes, device: MatmulDevice): MatmulPlan[] {
  const fitting = [...Object.values(TILES), ...TWO_STAGES].filter((shape) => fits(shape, device));
  return fitting.flatMap((shape) => {
    const counts = [slicesFor(sizes, shape, device), slicesOf(sizes, TILES_SLICE, device)];
    return [...new Set(counts)].map((slices): MatmulPlan => ({ form: "tiles", shape, slices }));
  });
}

function fits(shape: TileShape, { limits }: MatmulDevice): boolean {
  return tileBytes(shape) <= limits.maxComputeWorkgroupStorageSize &&
    threadsOf(shape) <= limits.maxComputeInvocationsPerWorkgroup;
}

function threadsOf({ threadRows, threadColumns }: TileShape): number {
  return threadRows * threadColumns;
}

function tilesOf({ m, n, batches }: MatmulSizes, shape: TileShape): number {
  const [rows, columns] = tileSize(shape);
  return batches * ceilDiv(m, rows) * ceilDiv(n, columns);
}

/** Into how many slices to cut k, so that there is work for all of the device, and roundings stay few. */
function slicesFor(sizes: MatmulSizes, shape: TileShape, device: MatmulDevice): number {
  const { m, n, k, batches } = sizes;
  const least = slicesOf(sizes, TILES_SLICE, device);
  const threads = tilesOf(sizes, shape) * threadsOf(shape);
  if (2 * threads > WANTED_THREADS) return least;
  const bytes = Math.min(MOST_PARTIAL_BYTES, device.limits.maxStorageBufferBindingSize);
  const room = Math.floor(bytes / (4 * batches * m * n));
  if (batches * m * n <= FEW.results) {
    return Math.max(least, Math.min(Math.floor(k / FEW.leastSlice), FEW.mostSlices, room));
  }
  const wanted = Math.ceil(WANTED_THREADS / threads);
  const slices = Math.min(wanted, Math.floor(k / LEAST_SLICE), MOST_SLICES, room);
  return Math.max(least, slices);
}

/**
 * Slices of at most so many terms, if a device can show their sums to a kernel: with thousands of terms in each they
 * are smaller than the operands.
 */
function slicesOf(
  { m, n, k, batches }: MatmulSizes,
  most: number,
  { limits }: MatmulDevice,
): number {
  const room = Math.floor(limits.maxStorageBufferBindingSize / (4 * batches * m * n));
  return Math.max(1, Math.min(Math.ceil(k / most), room));
}

function nameOf(plan: MatmulPlan): string {
  const cut = `${plan.slices} slice${plan.slices > 1 ? "s" : ""}`;
  if (plan.form === "lanes") return `lanes ${lanesTile(plan.shape).join(" x ")}, ${cut}`;
  const { shape } = plan;
  const { rowVecs, columnVecs, depth, stages } = shape;
  return `tiles ${tileSize(shape).join(" x ")}, ${4 * rowVecs} x ${4 * columnVecs} a thread, ` +
    `depth ${depth}, ${stages} stage${stages > 1 ? "s" : ""}, ${cut}`;
}
