/**
 * WGSL that says what a workgroup of a key-major kernel works on. A key tile is a run of rows of key and value
 * along M; its entries are the blocks of queries that may look at these rows: one, several where tiles cross
 * the bounds of packed sequences or sequences share keys, or none.
 */

/** How kernels find key tiles. */
export type KeyTileSource =
  /** Each sequence of the batch is a block: tiles follow from their numbers. */
  | "computed"
  /** Tiles are listed in a table, and their entries behind them. */
  | "listed";

/** A key tile as the table lists it, in the order of the struct's fields in WGSL. */
export interface KeyTile {
  /** Index along B. */
  readonly batch: number;
  /** Index of the tile's first row along M. */
  readonly firstRow: number;
  /** Index of the row behind the last. */
  readonly endRow: number;
  readonly entries: readonly KeyTileEntry[];
}

/** A block that may look at a tile's rows. */
export interface KeyTileEntry {
  /** Number of the block, which stands for the batch in random numbers. */
  readonly block: number;
  /** Index of the block's first query along M. */
  readonly queryBegin: number;
  /** Lq. */
  readonly queries: number;
  /** Lk. */
  readonly keys: number;
  /** What is to be added to a row to get the index of the key in the block; negative as a rule. */
  readonly shift: number;
}

const TILE_WORDS = 5;
const ENTRY_WORDS = 5;

/**
 * These tiles as {@linkcode KEY_TILES} reads them, and their entries behind them.
 *
 * @param base Where in the table they are going to stand.
 */
export function packKeyTiles(tiles: readonly KeyTile[], base: number): Uint32Array<ArrayBuffer> {
  const count = tiles.reduce((sum, { entries }) => sum + entries.length, 0);
  const words = new Uint32Array(tiles.length * TILE_WORDS + count * ENTRY_WORDS);
  let entryAt = tiles.length * TILE_WORDS;
  for (const [n, { batch, firstRow, endRow, entries }] of tiles.entries()) {
    const end = entryAt + entries.length * ENTRY_WORDS;
    words.set([batch, firstRow, endRow, base + entryAt, base + end], n * TILE_WORDS);
    for (const { block, queryBegin, queries, keys, shift } of entries) {
      words.set([block, queryBegin, queries, keys, shift], entryAt); // Negative shifts wrap around.
      entryAt += ENTRY_WORDS;
    }
  }
  return words;
}

const STRUCTS = /* wgsl */ `
struct KeyTile {
  batch: u32,
  first_row: u32,
  end_row: u32,
  first_entry: u32,
  end_entry: u32,
}
// The part of a block that score functions look at, and where its queries and keys are.
struct Tile {
  block: u32,
  query_begin: u32,
  queries: u32,
  keys: u32,
  shift: u32,
}
const ENTRY_WORDS = ${ENTRY_WORDS}u;
fn key_row(tile: Tile, key: u32) -> u32 { return key - tile.shift; }
`;

/**
 * `key_tile_of(number)`; `entry_of(key_tile, at)` for `at` from `first_entry` to `end_entry` in steps of
 * ENTRY_WORDS.
 */
export const KEY_TILES: Readonly<Record<KeyTileSource, string>> = {
  computed: /* wgsl */ `${STRUCTS}
fn key_tile_of(number: u32) -> KeyTile {
  let first_row = number % params.row_blocks * BLOCK_ROWS;
  let end_row = min(first_row + BLOCK_ROWS, params.keys);
  return KeyTile(number / params.row_blocks, first_row, end_row, 0u, ENTRY_WORDS);
}
fn entry_of(key_tile: KeyTile, at: u32) -> Tile {
  return Tile(key_tile.batch, 0u, params.queries, params.keys, 0u);
}
`,
  listed: /* wgsl */ `${STRUCTS}
fn key_tile_of(number: u32) -> KeyTile {
  let at = params.key_tiles_offset + ${TILE_WORDS}u * number;
  return KeyTile(table[at], table[at + 1u], table[at + 2u], table[at + 3u], table[at + 4u]);
}
fn entry_of(key_tile: KeyTile, at: u32) -> Tile {
  return Tile(table[at], table[at + 1u], table[at + 2u], table[at + 3u], table[at + 4u]);
}
`,
};
