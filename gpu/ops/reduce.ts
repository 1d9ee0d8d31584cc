/**
 * Sums, means and extremes over any axes. Few outputs of many inputs are first cut into pieces, so that more than
 * a few workgroups have work. The order of additions depends only on the sizes and the device, so results repeat
 * bit by bit. Time O(inputs).
 */
import { type DeviceArray, produce, withLayout } from "../array.ts";
import { computeType, type DType, isHalf } from "../dtype.ts";
import { coalesce, type Coalesced, contiguousLayout } from "../layout.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, formatShape, numel, roundUp } from "../shape.ts";
import { padAxes } from "./accessors.ts";
import { assertOneBinding, bindArray, type BoundArray } from "./bindings.ts";
import { fill, narrow } from "./map.ts";
import {
  REDUCE_PARAMS,
  type ReduceConfig,
  reduceKernel,
  type ReduceName,
} from "./reduce_kernel.ts";
import { levelsFor } from "./sums.ts";
import { isAligned, LANES } from "./vectors.ts";

export type { ReduceName };

/** Inputs of one output that a team of neighbouring threads takes. */
const PIECE = 16_384;
/** Workgroups of the form across outputs, and inputs that each of its threads takes at least. */
const WORKGROUPS = 1024;
const MIN_TURNS = 8;
/** Chunks of a row for which one more thread is worth while. */
const TURNS = 4;
/** Threads of a workgroup. */
const GROUP = 256;
const SMALL_GROUP = 64;

/**
 * Reduces `axes`, which come in ascending order.
 *
 * @returns An array with the reduced axes kept at size 1.
 */
export function reduce(
  runtime: Runtime,
  name: ReduceName,
  a: DeviceArray,
  axes: readonly number[],
): DeviceArray {
  const { shape } = a.layout;
  const outShape = shape.map((size, axis) => axes.includes(axis) ? 1 : size);
  const length = numel(axes.map((axis) => shape[axis]!));
  const dtype = resultType(name, a.dtype);
  if (length === 0) return emptyReduction(runtime, name, shape, outShape, dtype);
  // Halves are summed in f32, whatever the result.
  const summed = computeType(dtype);
  let array = a;
  let over: readonly number[] = axes;
  while (true) {
    const step = planReduce(runtime, name, array, over, summed);
    const { pieces, config } = step;
    let next: DeviceArray;
    try {
      next = reducePieces(runtime, step, 1 / length);
    } finally {
      if (array !== a) array.storage.release();
    }
    if (pieces === 1) return reshaped(runtime, next, outShape, dtype);
    array = next;
    over = [config.form === "along" ? 1 : 0];
  }
}

function reshaped(
  runtime: Runtime,
  array: DeviceArray,
  shape: readonly number[],
  dtype: DType,
): DeviceArray {
  return withLayout(narrow(runtime, array, dtype), contiguousLayout(shape));
}

/** One pass over an array: a whole reduction, or one to several results for each output. */
interface Step {
  readonly name: ReduceName;
  readonly bound: BoundArray;
  readonly kept: Coalesced;
  readonly reduced: Coalesced;
  readonly config: ReduceConfig;
  /** Inputs (`across`) or chunks of inputs (`along`) of a piece. */
  readonly piece: number;
  readonly pieces: number;
}

function planReduce(
  runtime: Runtime,
  name: ReduceName,
  a: DeviceArray,
  axes: readonly number[],
  output: DType,
): Step {
  const bound = bindArray(runtime, name, a);
  const { shape, strides, offset } = bound.layout;
  const keptAxes = shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  const pick = (list: readonly number[]) =>
    coalesce([list.map((i) => strides[i]!)], list.map((i) => shape[i]!));
  const kept = pick(keptAxes);
  const reduced = pick(axes);
  const isAcross = reduced.strides[0]!.at(-1) !== 1 && kept.strides[0]!.at(-1) === 1 &&
    numel(kept.shape) > 1;
  const [inner, outer] = isAcross ? [kept, reduced] : [reduced, kept];
  const vectors = inner.shape.at(-1)! % LANES === 0 && inner.strides[0]!.at(-1) === 1 &&
    isAligned(offset, [...inner.strides[0]!.slice(0, -1), ...outer.strides[0]!]);
  const ranks = [kept.shape.length, reduced.shape.length] as const;
  const common = { name, input: a.dtype, output, vectors, ranks };
  const step = { name, bound, kept, reduced };
  return isAcross
    ? { ...step, ...planAcross(runtime, common, kept, reduced) }
    : { ...step, ...planAlong(runtime, common, reduced) };
}

type Plan = Pick<Step, "config" | "piece" | "pieces">;
type Common = Pick<ReduceConfig, "name" | "input" | "output" | "vectors" | "ranks">;

/** Neighbouring threads share an output; on a CPU only lanes of a subgroup, since barriers are slow there. */
function planAlong(runtime: Runtime, common: Common, reduced: Coalesced): Plan {
  const { isFallback, subgroupSize: subgroup } = runtime.info;
  const lanes = common.vectors ? LANES : 1;
  const length = numel(reduced.shape);
  // Pieces of equal size, few enough that one team can join their results.
  const piece = roundUp(Math.max(PIECE, ceilDiv(length, PIECE)), LANES) / lanes;
  const turns = Math.min(piece, length / lanes);
  const most = isFallback ? Math.max(1, subgroup) : GROUP;
  const threads = Math.min(most, 2 ** Math.ceil(Math.log2(Math.max(1, turns / TURNS))));
  const group = Math.max(SMALL_GROUP, threads);
  const levels = levelsFor(turns / threads);
  const config = { ...common, form: "along", threads, group, subgroup, levels } as const;
  return { config, piece, pieces: ceilDiv(length / lanes, piece) };
}

/** Each thread has outputs of its own; several rows of threads share them, where outputs are few. */
function planAcross(runtime: Runtime, common: Common, kept: Coalesced, reduced: Coalesced): Plan {
  const { isFallback } = runtime.info;
  const outputs = numel(kept.shape) / (common.vectors ? LANES : 1);
  const length = numel(reduced.shape);
  const group = isFallback ? SMALL_GROUP : GROUP;
  const columns = Math.min(SMALL_GROUP, 2 ** Math.ceil(Math.log2(outputs)));
  const threads = group / columns;
  const wanted = ceilDiv(WORKGROUPS, ceilDiv(outputs, columns));
  const piece = Math.max(ceilDiv(length, wanted), threads * MIN_TURNS);
  const levels = levelsFor(Math.min(piece, length) / threads);
  const config = { ...common, form: "across", threads, group, subgroup: 0, levels } as const;
  return { config, piece, pieces: ceilDiv(length, piece) };
}

/** Runs a step, to an array of shape `[outputs, pieces]` (`along`) or `[pieces, outputs]` (`across`). */
function reducePieces(runtime: Runtime, step: Step, mean: number): DeviceArray {
  const { name, bound, kept, reduced, config, piece, pieces } = step;
  const { form, vectors, threads, group, output } = config;
  const isAlong = form === "along";
  const elements = numel(kept.shape);
  const lanes = vectors ? LANES : 1;
  const outputs = isAlong ? elements : elements / lanes;
  const shape = isAlong ? [elements, pieces] : [pieces, elements];
  const teams = isAlong ? outputs * pieces : ceilDiv(outputs, group / threads) * pieces;
  assertOneBinding(runtime, name, shape, output);
  return produce(runtime, shape, output, (out) =>
    runtime.kernels.dispatch(reduceKernel(config), {
      storages: [bound.binding, out.storage],
      params: REDUCE_PARAMS.pack({
        outputs,
        length: numel(reduced.shape) / (isAlong ? lanes : 1),
        piece,
        pieces,
        kept_offset: bound.layout.offset,
        reduced_offset: 0,
        factor: pieces === 1 ? mean : 1,
        kept_shape: padAxes(kept.shape, 1),
        kept_strides: padAxes(kept.strides[0]!, 0),
        reduced_shape: padAxes(reduced.shape, 1),
        reduced_strides: padAxes(reduced.strides[0]!, 0),
      }),
      workgroups: isAlong ? ceilDiv(teams, group / threads) : teams,
    }));
}

function resultType(name: ReduceName, dtype: DType): DType {
  if (name === "mean") return isHalf(dtype) ? dtype : "f32";
  if (dtype !== "bool") return dtype;
  if (name === "sum") return "i32";
  throw new TypeError(`Cannot compute ${name}: dtype is bool, convert with .to("i32")`);
}

function emptyReduction(
  runtime: Runtime,
  name: ReduceName,
  shape: readonly number[],
  outShape: readonly number[],
  dtype: DType,
): DeviceArray {
  if (name === "max" || name === "min") {
    throw new RangeError(`Cannot compute ${name} of no elements: shape is ${formatShape(shape)}`);
  }
  return fill(runtime, outShape, dtype, name === "mean" ? NaN : 0);
}
