/**
 * WGSL that says what a workgroup works on. A tile is a run of query rows of one block, a block the run of
 * queries and of keys that belong together: a sequence of the batch, or one of several packed sequences.
 */

/** How kernels find tiles and keys. */
export type TileSource =
  /** Each sequence of the batch is a block: tiles follow from their numbers. */
  | "computed"
  /** Tiles are listed in a table. */
  | "listed"
  /** The same, and keys are looked up in a table of pages behind it. */
  | "paged";

/** A tile as the table lists it, in the order of the struct's fields in WGSL. */
export interface Tile {
  /** Index along B. */
  readonly batch: number;
  /** Number of the block, which stands for the batch in random numbers. */
  readonly block: number;
  /** Index of the tile's first row in the block. */
  readonly firstRow: number;
  /** Index of the block's first query along M. */
  readonly queryBegin: number;
  /** Lq. */
  readonly queries: number;
  /** Index of the block's first key along M, or in its pages. */
  readonly keyBegin: number;
  /** Lk. */
  readonly keys: number;
  /** Where in the table the block's page numbers begin. */
  readonly pages: number;
}

/** Words of a tile in the table. */
export const TILE_WORDS = 8;

/** Writes tiles as {@linkcode TILES} reads them. */
export function packTiles(tiles: readonly Tile[], out: Uint32Array): void {
  for (const [n, tile] of tiles.entries()) {
    out.set([
      tile.batch,
      tile.block,
      tile.firstRow,
      tile.queryBegin,
      tile.queries,
      tile.keyBegin,
      tile.keys,
      tile.pages,
    ], n * TILE_WORDS);
  }
}

const STRUCT = /* wgsl */ `
struct Tile {
  batch: u32,
  block: u32,
  first_row: u32,
  query_begin: u32,
  queries: u32,
  key_begin: u32,
  keys: u32,
  pages: u32,
}
`;

const LISTED = /* wgsl */ `
fn tile_of(number: u32) -> Tile {
  let at = ${TILE_WORDS}u * number;
  return Tile(
    table[at], table[at + 1u], table[at + 2u], table[at + 3u],
    table[at + 4u], table[at + 5u], table[at + 6u], table[at + 7u],
  );
}
`;

/** The keys of a block, counted in it, that this launch looks at: those within [key_from, key_to) along M. */
const LAUNCH_KEYS = /* wgsl */ `
fn launch_keys(tile: Tile) -> vec2u {
  let begin = vec2u(tile.key_begin);
  return max(min(vec2u(params.key_from, params.key_to), begin + tile.keys), begin) - begin;
}
`;

/**
 * `tile_of(number)`; `key_row(tile, key)`, where a key of the tile's block lies along M; and
 * `keys_of_row(tile, row)`, the run of the block's keys that a row sees in this launch. The bounds never
 * fall from row to row.
 */
export const TILES: Readonly<Record<TileSource, string>> = {
  computed: /* wgsl */ `${STRUCT}
fn tile_of(number: u32) -> Tile {
  // Later rows see more keys under a causal mask, so they go first, of all sequences.
  let batches = params.tiles / params.row_blocks;
  let batch = number % batches;
  let first_row = (params.row_blocks - 1u - number / batches) * BLOCK_ROWS;
  return Tile(batch, batch, first_row, 0u, params.queries, 0u, params.keys, 0u);
}
fn key_row(tile: Tile, key: u32) -> u32 { return key; }
${LAUNCH_KEYS}`,
  listed: /* wgsl */ `${STRUCT}${LISTED}
fn key_row(tile: Tile, key: u32) -> u32 { return tile.key_begin + key; }
${LAUNCH_KEYS}`,
  paged: /* wgsl */ `${STRUCT}${LISTED}
fn key_row(tile: Tile, key: u32) -> u32 {
  let t = tile.key_begin + key;
  return table[tile.pages + t / params.page_size] * params.page_size + t % params.page_size;
}
fn launch_keys(tile: Tile) -> vec2u { return vec2u(0u, tile.keys); }
`,
};

/** `keys_of_row(tile, row)`; needs `visible_keys`. */
export const KEYS_OF_ROW = /* wgsl */ `
fn keys_of_row(tile: Tile, row: u32) -> vec2u {
  let launch = launch_keys(tile);
  return min(max(visible_keys(row, tile.queries, tile.keys), vec2u(launch.x)), vec2u(launch.y));
}
`;
