/**
 * Brings every rank into one strided 5-D form, `[B, M, G, H, K]`: G groups of H query heads. Where key and
 * value have fewer heads, those that query heads share get a stride of 0. Nothing is copied.
 */
import {
  expandLayout,
  type Layout,
  permuteLayout,
  reshapeLayout,
  unsqueezeLayout,
} from "../gpu/layout.ts";

/** Reports sizes that do not go together; never returns. */
type Fail = (kind: typeof RangeError, what: string) => never;

/** The layouts of query, key and value as `[B, M, G, H, K]`. */
export function groupedLayouts(layouts: readonly Layout[], fail: Fail): Layout[] {
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
    return [
      q,
      expandHeads(k, q.shape[3]!, "key", fail),
      expandHeads(v, q.shape[3]!, "value", fail),
    ];
  }
  expectSame(2, "H", k.shape[2]!, v.shape[2]!, "key and value");
  return groupQueryHeads(q, k, v, fail);
}

/** 5-D: one head of key or value for all heads of the query's group. */
function expandHeads(layout: Layout, heads: number, name: string, fail: Fail): Layout {
  const own = layout.shape[3]!;
  if (own !== heads && own !== 1) {
    fail(RangeError, `H differs between query and ${name} (axis 3): ${heads} and ${own}`);
  }
  return expandLayout(layout, layout.shape.with(3, heads));
}

/** 4-D: query head h reads key head floor(h / (heads / shared)), grouped-query attention. */
function groupQueryHeads(q: Layout, k: Layout, v: Layout, fail: Fail): Layout[] {
  const heads = q.shape[2]!;
  const shared = k.shape[2]!;
  if (heads === shared) return [q, k, v].map((layout) => unsqueezeLayout(layout, 2));
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

/** Splits the head axis of an expanded layout `[B, H, ...]` in two; one axis always can be. */
export function splitHeads(layout: Layout, groups: number, heads: number): Layout {
  const [head] = layout.strides.slice(1);
  return {
    shape: layout.shape.toSpliced(1, 1, groups, heads),
    strides: layout.strides.toSpliced(1, 1, head! * heads, head!),
    offset: layout.offset,
  };
}

/** The layout of an output, of the query's rank, as `[B, Mq, G, H, Kv]`. */
export function groupedOutput(layout: Layout, groups: number, heads: number): Layout {
  const { shape, strides, offset } = layout;
  if (shape.length === 5) return layout;
  if (shape.length === 3) return unsqueezeLayout(unsqueezeLayout(layout, 2), 2);
  const head = strides[2]!;
  return {
    shape: shape.toSpliced(2, 1, groups, heads),
    strides: strides.toSpliced(2, 1, head * heads, head),
    offset,
  };
}

/** A 5-D layout with its heads before its rows: `[B, G, H, M, K]`. */
export function headsFirst(layout: Layout): Layout {
  return permuteLayout(layout, [0, 2, 3, 1, 4]);
}
