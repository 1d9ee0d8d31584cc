/**
 * The one rule by which every mask hides keys, once for the host and once for kernels. Masks differ in
 * their windows and in how they cut queries and keys into blocks, and in nothing else.
 *
 * Within a block of Lq queries and Lk keys, query i stands over key i + shift, where shift is 0 if the
 * two are aligned at their beginnings ("top-left" of the matrix of scores) and Lk - Lq if at their ends
 * ("bottom-right"). It sees the keys from `left` before that one to `right` behind it:
 *
 *     i + shift - left <= j <= i + shift + right
 *
 * That is one run of keys, neither of whose bounds falls from one query to the next; kernels rely on both.
 */

/** What a query sees of its block's keys. */
export interface Window {
  /** Where queries and keys are aligned. */
  readonly alignment: "top-left" | "bottom-right";
  /** Keys seen before the query's own; Infinity for all. */
  readonly left: number;
  /** Keys seen behind the query's own; Infinity for all. */
  readonly right: number;
}

/** A run of keys: from the first number up to but not including the second. */
export type KeyRange = readonly [begin: number, end: number];

/** Every query sees every key. */
export const EVERYTHING: Window = { alignment: "top-left", left: Infinity, right: Infinity };

/** Query `i` sees keys `j <= i`. */
export const CAUSAL: Window = { alignment: "top-left", left: Infinity, right: 0 };

/** Query `i` sees keys `j <= i + Lk - Lq`. */
export const CAUSAL_FROM_BOTTOM_RIGHT: Window = {
  alignment: "bottom-right",
  left: Infinity,
  right: 0,
};

/**
 * The keys that a query sees.
 *
 * @param window The rule.
 * @param query Index of the query in its block.
 * @param queries Lq, the block's queries.
 * @param keys Lk, the block's keys.
 * @returns A run within `[0, keys)`, empty where the query sees nothing.
 */
export function visibleKeys(
  { alignment, left, right }: Window,
  query: number,
  queries: number,
  keys: number,
): KeyRange {
  const own = query + (alignment === "top-left" ? 0 : keys - queries);
  const clamp = (key: number) => Math.min(Math.max(key, 0), keys);
  return [clamp(own - left), clamp(own + right + 1)];
}

/**
 * The queries that see a key: the same rule turned round. Neither bound falls from one key to the next.
 *
 * @param window The rule.
 * @param key Index of the key in its block; there may be no such key.
 * @param queries Lq, the block's queries.
 * @param keys Lk, the block's keys.
 * @returns A run within `[0, queries)`, empty where no query sees the key.
 */
export function visibleQueries(
  { alignment, left, right }: Window,
  key: number,
  queries: number,
  keys: number,
): KeyRange {
  if (key < 0 || key >= keys) return [0, 0];
  const own = key - (alignment === "top-left" ? 0 : keys - queries);
  const clamp = (query: number) => Math.min(Math.max(query, 0), queries);
  return [clamp(own - right), clamp(own + left + 1)];
}

/** Stands for Infinity in kernels: beyond every length, and sums of it with lengths fit an i32. */
const UNBOUNDED = 2 ** 30;

/** Fields that a kernel's parameters need for {@linkcode VISIBLE_KEYS}. */
export const WINDOW_FIELDS = {
  window_shifts: "u32",
  window_left: "u32",
  window_right: "u32",
} as const;

/** Their values. */
export function windowParams(
  { alignment, left, right }: Window,
): Record<keyof typeof WINDOW_FIELDS, number> {
  return {
    window_shifts: alignment === "top-left" ? 0 : 1,
    window_left: Math.min(left, UNBOUNDED),
    window_right: Math.min(right, UNBOUNDED),
  };
}

/** WGSL: `visible_keys(query, queries, keys)`, the twin of {@linkcode visibleKeys}. */
export const VISIBLE_KEYS = /* wgsl */ `
fn visible_keys(query: u32, queries: u32, keys: u32) -> vec2u {
  let shift = select(0, i32(keys) - i32(queries), params.window_shifts == 1u);
  let own = i32(query) + shift;
  let bounds = vec2i(own - i32(params.window_left), own + i32(params.window_right) + 1);
  return vec2u(clamp(bounds, vec2i(0), vec2i(i32(keys))));
}
`;

/** WGSL: `visible_queries(key, queries, keys)`, the twin of {@linkcode visibleQueries} but for keys that are not there. */
export const VISIBLE_QUERIES = /* wgsl */ `
fn visible_queries(key: u32, queries: u32, keys: u32) -> vec2u {
  let shift = select(0, i32(keys) - i32(queries), params.window_shifts == 1u);
  let own = i32(key) - shift;
  let bounds = vec2i(own - i32(params.window_right), own + i32(params.window_left) + 1);
  return vec2u(clamp(bounds, vec2i(0), vec2i(i32(queries))));
}
`;
