/** What kernels look up besides tensors: tiles, page numbers, ALiBi's slopes. Uploaded for one call. */
import { allocate, type DeviceArray } from "../../gpu/array.ts";
import type { Storage } from "../../gpu/runtime/memory.ts";
import type { Runtime } from "../../gpu/runtime/runtime.ts";
import type { AttentionInputs } from "../inputs.ts";
import { packTiles, type Tile, TILE_WORDS } from "../kernels/_tiles.ts";
import type { Pages } from "../masks/bias.ts";

/** Page numbers one block after the other. */
export interface PageTable {
  readonly words: readonly number[];
  /** Where each block's numbers begin. */
  readonly origins: readonly number[];
}

/** The table of a paged mask; empty without pages. */
export function pageTable(pages: Pages | undefined): PageTable {
  const words: number[] = [];
  const origins: number[] = [];
  for (const table of pages?.tables ?? []) {
    origins.push(words.length);
    for (const page of table) words.push(page);
  }
  return { words, origins };
}

/** Uploads tiles, and page numbers behind them. The caller releases the storage. */
export function uploadTable(
  runtime: Runtime,
  tiles: readonly Tile[],
  { words }: PageTable,
): Storage {
  const table = new Uint32Array(tiles.length * TILE_WORDS + words.length);
  const behind = tiles.length * TILE_WORDS;
  packTiles(tiles.map((tile) => ({ ...tile, pages: behind + tile.pages })), table);
  table.set(words, behind);
  const storage = runtime.memory.acquire(table.byteLength, "a table of tiles and pages");
  runtime.upload(storage, new Uint8Array(table.buffer));
  return storage;
}

/** ALiBi's slopes as `[B, G, H]` on the device, if there are any. Call `release` behind the last use. */
export function uploadSlopes(
  { alibi, runtime, sizes: { B, G, H } }: AttentionInputs,
): { readonly array: DeviceArray; release(): void } | undefined {
  if (alibi === undefined) return undefined;
  if (!isList(alibi)) return { array: alibi, release() {} };
  const array = allocate(runtime, [G * H], "f32");
  const values = new Float32Array(Math.ceil(G * H / 4) * 4);
  values.set(alibi);
  runtime.upload(array.storage, new Uint8Array(values.buffer));
  const layout = { shape: [B, G, H], strides: [0, H, 1], offset: 0 };
  return { array: { ...array, layout }, release: () => array.storage.release() };
}

function isList(alibi: DeviceArray | readonly number[]): alibi is readonly number[] {
  return Array.isArray(alibi);
}
