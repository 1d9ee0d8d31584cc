/** Where a query and a key stand in their block, found anew from what a mask says of its blocks. */
import type { AttentionBias } from "@denoformers/attention";
import { philox, seedKey } from "../../gpu/random/philox.ts";

/** A query and a key of one block. */
export interface Place {
  /** Number of the block; without blocks that of the sequence in the batch. */
  readonly block: number;
  /** Index of the query in it. */
  readonly row: number;
  /** Index of the key in it. */
  readonly key: number;
  /** Lq and Lk. */
  readonly queries: number;
  readonly keys: number;
}

/** The place of query i and key j of a batch, which must be in one block. */
export function placesOf(
  mask: AttentionBias | undefined,
  Mq: number,
  Mkv: number,
): (batch: number, i: number, j: number) => Place {
  const { blocks, pages } = mask ?? {};
  if (!blocks) return (block, row, key) => ({ block, row, key, queries: Mq, keys: Mkv });
  return (_batch, i, j) => {
    const block = blocks.findIndex(({ queryBegin, queries }) =>
      queryBegin <= i && i < queryBegin + queries
    );
    const { queryBegin, queries, keyBegin, keys } = blocks[block]!;
    let t = j;
    if (pages) {
      // Entries before the first key's page stand for nothing.
      const first = Math.floor(keyBegin / pages.size);
      const page = pages.tables[block]!.indexOf(Math.floor(j / pages.size), first);
      t = page * pages.size + j % pages.size;
    }
    return { block, row: i - queryBegin, key: t - keyBegin, queries, keys };
  };
}

/** 1 / (1 - p) where a weight is kept and 0 where it is dropped, by the host's Philox. */
export function keptFactor(
  p: number,
  seed: number,
  head: number,
  { block, row, key }: Place,
): number {
  const words = philox([Math.floor(key / 4), row, head, block], seedKey(seed));
  return words[key % 4]! >= Math.round(p * 2 ** 32) ? 1 / (1 - p) : 0;
}
