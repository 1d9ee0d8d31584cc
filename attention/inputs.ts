/**
 * The one place where attention's arguments are checked, and brought into one form: whatever the rank,
 * kernels see query `[B, Mq, G, H, K]`, key `[B, Mkv, G, H, K]`, value `[B, Mkv, G, H, Kv]` and bias
 * `[B, G, H, Mq, Mkv]`, as strided views of what was passed. Nothing is copied.
 */
import type { DeviceArray } from "../gpu/array.ts";
import { type Device, runtimeOf } from "../gpu/device.ts";
import {
  expandLayout,
  type Layout,
  permuteLayout,
  reshapeLayout,
  unsqueezeLayout,
} from "../gpu/layout.ts";
import { seedKey } from "../gpu/random/philox.ts";
import type { Runtime } from "../gpu/runtime/runtime.ts";
import { formatShape } from "../gpu/shape.ts";
import { arrayOn } from "../gpu/tensor/base.ts";
import { Tensor } from "../gpu/tensor/tensor.ts";
import { AttentionBias, NO_MASK } from "./masks.ts";

/** Options that every attention function takes. */
export interface AttentionOptions {
  /**
   * A mask; or a tensor that broadcasts to `[B, H, Mq, Mkv]` (`[B, Mq, Mkv]` for 3-D inputs,
   * `[B, G, H, Mq, Mkv]` for 5-D): f32 is added to the scaled scores, bool means "may attend".
   */
  attnBias?: AttentionBias | Tensor | undefined;
  /** Probability of dropping a weight, in [0, 1]. Default 0. */
  p?: number | undefined;
  /** Seed of the dropout, a whole number below 2^53. */
  seed?: number | undefined;
  /** Factor on the scores, before the bias; may be 0. Default `K ** -0.5` (1 where K is 0). */
  scale?: number | undefined;
}

/** B batch, Mq and Mkv lengths, G head groups, H heads of a group, K and Kv head dims. */
export interface AttentionSizes {
  readonly B: number;
  readonly Mq: number;
  readonly Mkv: number;
  readonly G: number;
  readonly H: number;
  readonly K: number;
  readonly Kv: number;
}

/** Checked arguments in the form that ops take. */
export interface AttentionInputs {
  readonly device: Device;
  readonly runtime: Runtime;
  readonly sizes: AttentionSizes;
  readonly query: DeviceArray;
  readonly key: DeviceArray;
  readonly value: DeviceArray;
  readonly mask: AttentionBias;
  /** Added (f32) or "may attend" (bool), if there is one. */
  readonly bias: DeviceArray | undefined;
  readonly p: number;
  readonly scale: number;
  /** Shape of the result, in the caller's rank. */
  readonly outShape: readonly number[];
  /** Shape of the log-sum-exp. */
  readonly lseShape: readonly number[];
  /** The three shapes as the caller knows them, for messages. */
  readonly description: string;
}

const LAYOUTS: Readonly<Record<number, string>> = {
  3: "[B, M, K]",
  4: "[B, M, H, K]",
  5: "[B, M, G, H, K]",
};

/** Checks the arguments; throws `TypeError` and `RangeError` that name the argument and the remedy. */
export function attentionInputs(
  name: string,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionOptions,
): AttentionInputs {
  for (const [argument, tensor] of [["query", query], ["key", key], ["value", value]] as const) {
    if (!(tensor instanceof Tensor)) {
      throw new TypeError(`Cannot run ${name}: ${argument} is ${typeof tensor}, expected a Tensor`);
    }
  }
  const description = `query ${formatShape(query.shape)}, key ${formatShape(key.shape)}, value ${
    formatShape(value.shape)
  }`;
  const fail = (kind: typeof RangeError | typeof TypeError, what: string): never => {
    throw new kind(`Cannot run ${name}: ${what}; inputs are ${description}`);
  };
  const rank = query.ndim;
  const layout = LAYOUTS[rank];
  if (!layout || key.ndim !== rank || value.ndim !== rank) {
    fail(
      TypeError,
      `ranks are ${rank}, ${key.ndim} and ${value.ndim}, expected all 3 [B, M, K], all 4 [B, M, H, K] ` +
        "or all 5 [B, M, G, H, K]",
    );
  }
  const { device } = query;
  const arrays = [query, key, value].map((tensor) => arrayOn(device, tensor));
  if (arrays.some(({ dtype }) => dtype !== "f32")) {
    fail(
      TypeError,
      `dtypes are ${query.dtype}, ${key.dtype} and ${value.dtype}, expected f32, convert with .to("f32")`,
    );
  }
  const [q, k, v] = groupedLayouts(arrays.map((array) => array.layout), fail);
  const [B, Mq, G, H, K] = q!.shape as [number, number, number, number, number];
  const Mkv = k!.shape[1]!;
  const Kv = v!.shape[4]!;
  const sizes = { B, Mq, Mkv, G, H, K, Kv };
  const { mask, bias } = maskAndBias(name, device, sizes, rank, options.attnBias);
  const heads = rank === 5 ? [G, H] : [G * H];
  return {
    device,
    runtime: runtimeOf(device),
    sizes,
    query: { ...arrays[0]!, layout: q! },
    key: { ...arrays[1]!, layout: k! },
    value: { ...arrays[2]!, layout: v! },
    mask,
    bias,
    p: checkedProbability(name, options),
    scale: checkedScale(name, options.scale, K),
    outShape: [...query.shape.slice(0, -1), Kv],
    lseShape: [B, ...heads, Mq],
    description,
  };
}

/** The three layouts as [B, M, G, H, K], with heads that query shares with key and value expanded. */
function groupedLayouts(
  layouts: readonly Layout[],
  fail: (kind: typeof RangeError, what: string) => never,
): Layout[] {
  const [q, k, v] = layouts as [Layout, Layout, Layout];
  const rank = q.shape.length;
  const expectSame = (axis: number, letter: string, a: number, b: number, names: string) => {
    if (a !== b) {
      fail(RangeError, `${letter} differs between ${names} (axis ${axis}): ${a} and ${b}`);
    }
  };
  expectSame(0, "B", q.shape[0]!, k.shape[0]!, "query and key");
  expectSame(0, "B", k.shape[0]!, v.shape[0]!, "key and value");
  expectSame(1, "Mkv", k.shape[1]!, v.shape[1]!, "key and value");
  expectSame(-1, "K", q.shape.at(-1)!, k.shape.at(-1)!, "query and key");
  if (rank === 3) return layouts.map((layout) => unsqueezeLayout(unsqueezeLayout(layout, 2), 2));
  if (rank === 5) {
    expectSame(2, "G", q.shape[2]!, k.shape[2]!, "query and key");
    expectSame(2, "G", k.shape[2]!, v.shape[2]!, "key and value");
    const heads = q.shape[3]!;
    return [
      q,
      ...[k, v].map((layout, i) => {
        const own = layout.shape[3]!;
        if (own !== heads && own !== 1) {
          const names = `query and ${["key", "value"][i]}`;
          fail(RangeError, `H differs between ${names} (axis 3): ${heads} and ${own}`);
        }
        return expandLayout(layout, layout.shape.with(3, heads));
      }),
    ];
  }
  const heads = q.shape[2]!;
  const shared = k.shape[2]!;
  expectSame(2, "H", shared, v.shape[2]!, "key and value");
  if (heads === shared) return layouts.map((layout) => unsqueezeLayout(layout, 2));
  // Grouped-query attention: query head h reads key head floor(h / (heads / shared)).
  if (shared === 0 || heads % shared !== 0) {
    fail(
      RangeError,
      `query has ${heads} heads and key ${shared}; expected as many, or a number that divides them`,
    );
  }
  const each = heads / shared;
  const expand = (layout: Layout) => {
    const [b, m, g, dim] = layout.shape as [number, number, number, number];
    return expandLayout(unsqueezeLayout(layout, 3), [b, m, g, each, dim]);
  };
  const [b, m, , dim] = q.shape as [number, number, number, number];
  return [reshapeLayout(q, [b, m, shared, each, dim])!, expand(k), expand(v)];
}

function maskAndBias(
  name: string,
  device: Device,
  { B, G, H, Mq, Mkv }: AttentionSizes,
  rank: number,
  attnBias: AttentionBias | Tensor | undefined,
): { mask: AttentionBias; bias: DeviceArray | undefined } {
  if (attnBias === undefined) return { mask: NO_MASK, bias: undefined };
  if (attnBias instanceof AttentionBias) return { mask: attnBias, bias: undefined };
  if (!(attnBias instanceof Tensor)) {
    throw new TypeError(
      `Cannot run ${name}: attnBias is ${typeof attnBias}, expected a mask such as ` +
        "new LowerTriangularMask(), or a Tensor",
    );
  }
  const array = arrayOn(device, attnBias);
  if (array.dtype !== "f32" && array.dtype !== "bool") {
    throw new TypeError(
      `Cannot run ${name}: attnBias has dtype ${array.dtype}, expected f32 (added) or bool (may attend)`,
    );
  }
  const full = { 3: [B, Mq, Mkv], 4: [B, G * H, Mq, Mkv], 5: [B, G, H, Mq, Mkv] }[rank]!;
  const offer = array.layout.shape;
  const fits = offer.length <= full.length &&
    offer.every((size, i) => size === 1 || size === full[i - offer.length + full.length]);
  if (!fits) {
    throw new RangeError(
      `Cannot run ${name}: attnBias has shape ${
        formatShape(offer)
      }, expected one that broadcasts to ` +
        `${formatShape(full)} (${rank === 3 ? "B" : rank === 4 ? "B, H" : "B, G, H"}, Mq, Mkv)`,
    );
  }
  const layout = splitHeads(expandLayout(array.layout, full), [B, G, H, Mq, Mkv]);
  return { mask: NO_MASK, bias: { ...array, layout } };
}

/** Cuts the head axis of an expanded bias in two; one axis always can be. */
function splitHeads(layout: Layout, [B, G, H, Mq, Mkv]: [number, number, number, number, number]) {
  if (layout.shape.length === 5) return layout;
  if (layout.shape.length === 3) return unsqueezeLayout(unsqueezeLayout(layout, 1), 1);
  const [sB, sHead, sRow, sKey] = layout.strides as [number, number, number, number];
  return {
    shape: [B, G, H, Mq, Mkv],
    strides: [sB, sHead * H, sHead, sRow, sKey],
    offset: layout.offset,
  };
}

function checkedProbability(name: string, { p = 0, seed }: AttentionOptions): number {
  if (!(p >= 0 && p <= 1)) {
    throw new RangeError(`Cannot run ${name}: p is ${p}, expected a probability in [0, 1]`);
  }
  if (seed !== undefined) seedKey(seed);
  return p;
}

function checkedScale(name: string, scale: number | undefined, K: number): number {
  const value = scale ?? (K > 0 ? K ** -0.5 : 1);
  if (!Number.isFinite(value)) {
    throw new RangeError(`Cannot run ${name}: scale is ${value}, expected a finite number`);
  }
  return value;
}

/** A 5-D array with its heads before its rows: [B, G, H, M, K]. */
export function headsFirst(layout: Layout): Layout {
  return permuteLayout(layout, [0, 2, 3, 1, 4]);
}
