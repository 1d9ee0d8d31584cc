/**
 * Masks as plain data: how to make one, and which keys it shows by formulas that are written anew here, from
 * xformers' definitions alone. Nothing is asked of the mask itself, so that the two can be compared.
 */
import type { AttentionBias } from "@denoformers/attention";
import { type Kind, KINDS, type Layout, type MaskName, type Parts } from "./_mask_kinds.ts";
import type { Place } from "./_places.ts";

/** A mask and the sizes that it goes with. */
export interface MaskSpec {
  readonly name: MaskName;
  /** B, Mq and Mkv of a mask without blocks; the others have sizes of their own. */
  readonly dense: { readonly B: number; readonly Mq: number; readonly Mkv: number };
  /** Queries and keys of each sequence, and where gappy keys begin. */
  readonly blocks: readonly { readonly q: number; readonly k: number; readonly start: number }[];
  /** Keys, or pages, that nobody uses. */
  readonly spare: number;
  readonly pageSize: number;
  /** Which order pages are in. */
  readonly shuffle: number;
  /** Keys seen before the query's own, and behind it. A window of causal masks is one larger. */
  readonly left: number;
  readonly right: number;
  /** Whether to make the mask from another one, where there is such a way. */
  readonly derived: boolean;
}

/** How sequences lie under such a mask. */
export function layoutOf(name: MaskName): Layout {
  return KINDS[name][0];
}

/** The mask. */
export function makeMask(spec: MaskSpec): AttentionBias | undefined {
  return (KINDS[spec.name] as Kind)[2](partsOf(spec));
}

/** What is put in the place of an argument. */
export interface Spoil {
  readonly argument: "q" | "k" | "starts" | "padding" | "size" | "w" | "wl" | "wr" | "tables";
  /** Which entry of a list, counted around. */
  readonly index: number;
  readonly junk: unknown;
}

/** Makes the mask with a wrong argument; `undefined` if its class takes no such argument. */
export function makeSpoiledMask(spec: MaskSpec, spoil: Spoil): (() => unknown) | undefined {
  const { argument, index, junk } = spoil;
  const make = (KINDS[spec.name] as Kind)[2];
  const parts = partsOf({ ...spec, derived: false });
  let isTaken = false;
  make({
    ...parts,
    get [argument]() {
      isTaken = true;
      return parts[argument];
    },
  });
  const list = parts[argument];
  if (!isTaken || (Array.isArray(list) && spec.blocks.length === 0)) return undefined;
  // A table may hold anything that is not needed, so all of it is replaced.
  const value = Array.isArray(list) ? list.with(index % spec.blocks.length, junk as never) : junk;
  return () => make({ ...parts, [argument]: value });
}

/** B, Mq and Mkv that the mask is for. */
export function maskSizes(spec: MaskSpec): { B: number; Mq: number; Mkv: number } {
  const layout = layoutOf(spec.name);
  if (layout === "dense") return spec.dense;
  const { q, k, padding, starts } = partsOf(spec);
  const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
  const Mkv = {
    packed: sum(k),
    padded: padding * q.length,
    gappy: starts.at(-1)!,
    paged: pageCount(spec) * spec.pageSize,
    pagedGappy: pageCount(spec) * spec.pageSize,
  }[layout];
  return { B: 1, Mq: sum(q), Mkv };
}

/** Where query i and key j stand in their block; `undefined` where the key is not of the query's block. */
export function placesBySpec(
  spec: MaskSpec,
): (b: number, i: number, j: number) => Place | undefined {
  const layout = layoutOf(spec.name);
  const { Mq, Mkv } = maskSizes(spec);
  if (layout === "dense") {
    return (block, row, key) => ({ block, row, key, queries: Mq, keys: Mkv });
  }
  const { q, k, padding, starts, tables, size } = partsOf(spec);
  const keyOf = (block: number, j: number): number => {
    if (layout === "packed") return j - k.slice(0, block).reduce((a, b) => a + b, 0);
    if (layout === "padded") return j - block * padding;
    if (layout === "gappy") return j - starts[block]!;
    const at = tables[block]!.indexOf(Math.floor(j / size));
    return at < 0 ? -1 : at * size + j % size - (layout === "pagedGappy" ? starts[block]! : 0);
  };
  return (_b, i, j) => {
    let row = i;
    let block = 0;
    while (row >= q[block]!) row -= q[block++]!;
    const key = keyOf(block, j);
    if (key < 0 || key >= k[block]!) return undefined;
    return { block, row, key, queries: q[block]!, keys: k[block]! };
  };
}

/** Whether the query of a place sees its key. */
export function sees(spec: MaskSpec, place: Place | undefined): boolean {
  if (!place) return false;
  const { row: i, key: j, queries, keys } = place;
  const { left, right } = spec;
  return KINDS[spec.name][1]({ i, j, d: keys - queries, w: left + 1, wl: left, wr: right });
}

function partsOf(spec: MaskSpec): Parts {
  const { blocks, spare, left, right, pageSize, derived } = spec;
  const ends = blocks.map(({ k, start }) => start + k);
  return {
    q: blocks.map(({ q }) => q),
    k: blocks.map(({ k }) => k),
    padding: Math.max(0, ...blocks.map(({ k }) => k)) + spare,
    starts: [...blocks.map(({ start }) => start), Math.max(0, ...ends) + spare],
    tables: blocks.map((_, b) => pagesOf(spec, b)),
    size: pageSize,
    w: left + 1,
    wl: left,
    wr: right,
    derived,
  };
}

function pageCount({ blocks, pageSize, spare }: MaskSpec): number {
  return Math.ceil(Math.max(0, ...blocks.map(({ k, start }) => k + start)) / pageSize) + spare;
}

/** Numbers of a sequence's pages; -1 and -7, which are none, where no key needs a page. */
function pagesOf(spec: MaskSpec, block: number): number[] {
  const { pageSize, shuffle } = spec;
  const { k, start } = spec.blocks[block]!;
  const from = layoutOf(spec.name) === "pagedGappy" ? start : 0;
  const [first, end] = [Math.floor(from / pageSize), Math.ceil((from + k) / pageSize)];
  const order = Array.from({ length: pageCount(spec) }, (_, page) => page)
    .sort((a, b) =>
      Math.sin(a * 12.9 + block * 78.2 + shuffle) - Math.sin(b * 12.9 + block * 78.2 + shuffle)
    );
  return [...order.slice(0, end).map((page, at) => k === 0 || at < first ? -1 : page), -7];
}
