/**
 * Steps that the key-major kernels share: those whose workgroups own a block of rows of key and value and walk
 * over the queries that see them, in tiles. They are parts of a kernel's body and use its variables.
 */
import { stagedBytes, stagedKeys, type TiledDims } from "./_kernel.ts";

/** Which rows of `key_tile` this thread shares. Rows past the end repeat the last and are not stored. */
export const KEY_ROWS = /* wgsl */ `
  let lane = lane_of(thread);
  let first_row = key_tile.first_row + group_of(thread) * ROWS;
  let last_row = key_tile.end_row - 1u;
`;

/** Where the queries of an entry `tile` begin, and what belongs to them, for a `group` and `head`. */
export const QUERY_ORIGINS = /* wgsl */ `
      let head_index = group * params.heads + head;
      let query_origin = params.query_offset + key_tile.batch * params.query_batch +
        tile.query_begin * params.query_row + group * params.query_group + head * params.query_head;
      let grad_origin = params.grad_offset + key_tile.batch * params.grad_batch +
        tile.query_begin * params.grad_row + group * params.grad_group + head * params.grad_head;
      let bias_start = bias_origin(key_tile.batch, group, head) + tile.query_begin * params.bias_row;
      let stats_start = stats_position(key_tile.batch, head_index, tile.query_begin);
      let slope = alibi_slope(key_tile.batch, group, head);
`;

/**
 * For an entry `tile`: the run of queries that each of the own rows is seen by, `range`, that any of the
 * workgroup's rows is seen by, `begin_query` to `end_query`, and that all are, `whole_range`. Rows outside the
 * block are seen by none.
 */
export const QUERIES_OF_ROWS = /* wgsl */ `
    let first_key = first_row + tile.shift; // Wraps around before the block's first key.
    var range = array<vec2u, OWN>();
    /* unroll */ for (var w = 0u; w < OWN; w++) {
      let row = row_of_lane(lane, w * SHARED);
      let is_key = (first_key + row < tile.keys) & (first_row + row <= last_row);
      range[w] = select(vec2u(), visible_queries(first_key + row, tile.queries, tile.keys), is_key);
    }
    // Bounds never fall from key to key, so the first and the last that there are give the workgroup's.
    let low_row = i32(key_tile.first_row + tile.shift);
    let high_row = i32(last_row + tile.shift);
    let low_key = max(low_row, 0);
    let high_key = min(high_row, i32(tile.keys) - 1);
    let has_keys = low_key <= high_key;
    let low_range = visible_queries(u32(low_key), tile.queries, tile.keys);
    let high_range = visible_queries(u32(max(high_key, 0)), tile.queries, tile.keys);
    let begin_query = select(0u, low_range.x / TILE * TILE, has_keys);
    let end_query = select(0u, high_range.y, has_keys);
    let all_are_keys = (low_key == low_row) & (high_key == high_row);
    let whole_range = select(vec2u(), vec2u(high_range.x, low_range.y), all_are_keys);
`;

/**
 * Puts the queries from `staged_query` on, scaled, the gradients of their outputs, times the rows' factors, and their
 * statistics into workgroup memory; what lies outside is zero, and hidden later on. Behind it stands a barrier.
 */
export const STAGE_QUERIES = /* wgsl */ `
        /* unroll */ for (var turn = 0u; turn < KEY_TURNS; turn++) {
          let i = turn * THREADS + thread;
          let query = staged_query + i / (K_PARTS * LANES);
          let part = i % (K_PARTS * LANES);
          if (KEY_REST == 0u || i < STAGED * K_PARTS * LANES) {
            var staged = vec4f();
            if (query < tile.queries) {
              staged = load_query(query_origin + query * params.query_row, part) * params.scale;
            }
            query_tile[i / (K_PARTS * LANES)][part / LANES][part % LANES] = staged;
          }
        }
        /* unroll */ for (var turn = 0u; turn < VALUE_TURNS; turn++) {
          let i = turn * THREADS + thread;
          let query = staged_query + i / (V_PARTS * LANES);
          let part = i % (V_PARTS * LANES);
          if (VALUE_REST == 0u || i < STAGED * V_PARTS * LANES) {
            var staged = vec4f();
            if (query < tile.queries) {
              staged = load_grad(grad_origin + query * params.grad_row, part) *
                row_factor(stats_start + query * STATS_WORDS);
            }
            grad_tile[i / (V_PARTS * LANES)][part / LANES][part % LANES] = staged;
          }
        }
        for (var i = thread; i < STAGED; i += THREADS) {
          let query = min(staged_query + i, tile.queries - 1u);
          stage_stats(i, stats_start + query * STATS_WORDS);
        }
        workgroupBarrier();
`;

/**
 * What {@linkcode STAGE_QUERIES} fills, as [query][part][lane], and `stats_of(i, query)`, statistics of the i-th
 * staged query. Where rows alone fill the workgroup memory that every device has, they are looked up.
 */
export function stagedQueries(config: TiledDims): string {
  const room = hasRoomForStats(config);
  return /* wgsl */ `
var<workgroup> query_tile: array<array<array<vec4f, LANES>, K_PARTS>, STAGED>;
var<workgroup> grad_tile: array<array<array<vec4f, LANES>, V_PARTS>, STAGED>;
${room ? "var<workgroup> stats_tile: array<vec2f, STAGED>;" : ""}
fn stage_stats(i: u32, position: u32) {
  ${room ? "stats_tile[i] = row_stats(position);" : ""}
}
fn stats_of(i: u32, position: u32) -> vec2f {
  return ${room ? "stats_tile[i]" : "row_stats(position)"};
}
`;
}

/** Bytes of workgroup memory that a key-major kernel takes. */
export function keyMajorWorkgroupBytes(config: TiledDims): number {
  return stagedBytes(config) + (hasRoomForStats(config) ? statsBytes(config) : 0);
}

function hasRoomForStats(config: TiledDims): boolean {
  return stagedBytes(config) + statsBytes(config) <= 16_384 || stagedBytes(config) > 16_384;
}

function statsBytes(config: TiledDims): number {
  return 8 * stagedKeys(config);
}

/**
 * From products to weights and gradients of scores, of the own rows with four queries each: `s` and `dp`; the
 * weights are those behind dropout. A row that a query does not see has weight and gradient 0, whatever its
 * products are.
 */
export const WEIGHTS_AND_GRADIENTS = /* wgsl */ `
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            let first_query = tile_query + 4u * v;
            var lse = vec4f();
            var delta = vec4f();
            /* unroll */ for (var c = 0u; c < 4; c++) {
              let query = min(first_query + c, tile.queries - 1u);
              let stats = stats_of(at + 4u * v + c, stats_start + query * STATS_WORDS);
              lse[c] = stats.x;
              delta[c] = stats.y;
            }
            // Random words are of four keys of a query, and a group's rows need not begin at a multiple of
            // four: two words a query hold all bits of its rows, of which there are at most four. Its lanes
            // draw them in turn; an OR hands all round.
            var bits = 0u;
            if (HAS_DROPOUT) {
              let first_four = bitcast<u32>(bitcast<i32>(first_key) >> 2u);
              /* unroll */ for (var turn = 0u; turn < WORD_TURNS; turn++) {
                let own = turn * LANES + lane;
                if (own < 8u) {
                  let query = first_query + own / 2u;
                  bits |= dropped(tile.block, head_index, query, (first_four + own % 2u) * 4u) << (4u * own);
                }
              }
              bits = or_over_lanes(bits);
            }
            /* unroll */ for (var w = 0u; w < OWN; w++) {
              let row = row_of_lane(lane, w * SHARED);
              if (HAS_ALIBI) {
                let own_keys = vec4i(i32(first_query) + i32(tile.keys) - i32(tile.queries)) + vec4i(0, 1, 2, 3);
                s[w][v] -= slope * vec4f(abs(own_keys - vec4i(i32(first_key + row))));
              }
              if (HAS_BIAS) {
                let bias_key = min(first_row + row, last_row) * params.bias_key;
                s[w][v] = add_bias_of_rows(s[w][v], bias_start + first_query * params.bias_row + bias_key);
              }
              if (!is_whole) { s[w][v] = mask_scores(s[w][v], first_query, range[w]); }
              let p = weights_of(s[w][v], lse);
              var keep = p;
              if (HAS_DROPOUT) {
                let own_bit = (first_key & 3u) + row;
                let is_dropped = ((vec4u(bits) >> (vec4u(0u, 8u, 16u, 24u) + own_bit)) & vec4u(1u)) == vec4u(1u);
                keep = select(p * params.keep_factor, vec4f(), is_dropped);
                dp[w][v] = select(dp[w][v] * params.keep_factor, vec4f(), is_dropped);
              }
              dp[w][v] = select(p * (dp[w][v] - delta), vec4f(), p == vec4f());
              s[w][v] = keep;
            }
          }
`;

/** Turns in which LANES threads draw the words of four queries. */
export function wordTurns(lanes: number): number {
  return Math.ceil(8 / lanes);
}
