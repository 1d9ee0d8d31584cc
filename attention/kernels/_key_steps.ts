/**
 * Steps that the key-major kernels share: those whose workgroups own a block of rows of key and value and walk
 * over the queries that see them, in tiles. They are parts of a kernel's body and use its variables.
 */

/** Which tile and rows: `key_tile`, `lane`, `first_row`. Rows past the end repeat the last and are not stored. */
export const KEY_ROWS = /* wgsl */ `
  let lane = thread % LANES;
  let first_row = key_tile.first_row + thread / LANES * ROWS;
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
 * For an entry `tile`: the run of queries that each of this thread's rows is seen by, `range`, and that any of
 * the workgroup's rows is seen by, `begin_query` to `end_query`. Rows outside the block are seen by none.
 */
export const QUERIES_OF_ROWS = /* wgsl */ `
    let first_key = first_row + tile.shift; // Wraps around before the block's first key.
    var range = array<vec2u, ROWS>();
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      let is_key = (first_key + r < tile.keys) & (first_row + r <= last_row);
      range[r] = select(vec2u(), visible_queries(first_key + r, tile.queries, tile.keys), is_key);
    }
    // Bounds never fall from key to key, so the first and the last that there are give the workgroup's.
    let low_key = max(i32(key_tile.first_row + tile.shift), 0);
    let high_key = min(i32(last_row + tile.shift), i32(tile.keys) - 1);
    let has_keys = low_key <= high_key;
    let low_range = visible_queries(u32(low_key), tile.queries, tile.keys);
    let high_range = visible_queries(u32(max(high_key, 0)), tile.queries, tile.keys);
    let begin_query = select(0u, low_range.x / TILE * TILE, has_keys);
    let end_query = select(0u, high_range.y, has_keys);
`;

/**
 * Puts the queries of a tile, scaled, and the gradients of their outputs into workgroup memory; what lies
 * outside is zero, and hidden later on. Behind it stands a barrier.
 */
export const STAGE_QUERIES = /* wgsl */ `
        /* unroll */ for (var turn = 0u; turn < KEY_TURNS; turn++) {
          let i = turn * THREADS + thread;
          let query = tile_query + i / (K_PARTS * LANES);
          let part = i % (K_PARTS * LANES);
          if (KEY_REST == 0u || i < TILE * K_PARTS * LANES) {
            var staged = vec4f();
            if (query < tile.queries) {
              staged = load_query(query_origin + query * params.query_row, part) * params.scale;
            }
            query_tile[i / (K_PARTS * LANES)][part / LANES][part % LANES] = staged;
          }
        }
        /* unroll */ for (var turn = 0u; turn < VALUE_TURNS; turn++) {
          let i = turn * THREADS + thread;
          let query = tile_query + i / (V_PARTS * LANES);
          let part = i % (V_PARTS * LANES);
          if (VALUE_REST == 0u || i < TILE * V_PARTS * LANES) {
            var staged = vec4f();
            if (query < tile.queries) {
              staged = load_grad(grad_origin + query * params.grad_row, part);
            }
            grad_tile[i / (V_PARTS * LANES)][part / LANES][part % LANES] = staged;
          }
        }
        workgroupBarrier();
`;

/**
 * From products to weights `p` and gradients of scores `ds`, of four queries each; `keep` are the weights
 * behind dropout. A row that a query does not see has weight and gradient 0, whatever its products are.
 */
export const WEIGHTS_AND_GRADIENTS = /* wgsl */ `
        var is_whole = true;
        /* unroll */ for (var r = 0u; r < ROWS; r++) {
          is_whole = is_whole & (range[r].x <= tile_query) & (tile_query + TILE <= range[r].y);
        }
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          let queries = tile_query + 4u * v + vec4u(0u, 1u, 2u, 3u);
          var lse = vec4f();
          var delta = vec4f();
          /* unroll */ for (var c = 0u; c < 4; c++) {
            let query = min(queries[c], tile.queries - 1u);
            let stats = row_stats(stats_start + query * STATS_WORDS);
            lse[c] = stats.x;
            delta[c] = stats.y;
          }
          // Random words are of four keys of a query, and rows need not begin at a multiple of four: two words
          // a query hold all bits of this thread's rows. Lanes draw them in turn; an OR hands all round.
          var bits = 0u;
          if (HAS_DROPOUT) {
            let first_four = bitcast<u32>(bitcast<i32>(first_key) >> 2u);
            /* unroll */ for (var turn = 0u; turn < WORD_TURNS; turn++) {
              let own = turn * LANES + lane;
              if (own < 8u) {
                let row = tile_query + 4u * v + own / 2u;
                bits |= dropped(tile.block, head_index, row, (first_four + own % 2u) * 4u) << (4u * own);
              }
            }
            bits = or_over_lanes(bits);
          }
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            s[r][v] = sum_over_lanes(s[r][v]);
            dp[r][v] = sum_over_lanes(dp[r][v]);
            if (HAS_ALIBI) {
              let own_keys = vec4i(queries) + i32(tile.keys) - i32(tile.queries);
              s[r][v] -= slope * vec4f(abs(own_keys - vec4i(i32(first_key + r))));
            }
            if (HAS_BIAS) {
              let row = min(first_row + r, last_row);
              let position = bias_start + (tile_query + 4u * v) * params.bias_row + row * params.bias_key;
              s[r][v] = add_bias_of_rows(s[r][v], position, lane);
            }
            if (!is_whole) { s[r][v] = mask_scores(s[r][v], tile_query + 4u * v, range[r]); }
            let p = weights_of(s[r][v], lse);
            var keep = p;
            if (HAS_DROPOUT) {
              let own_bit = (first_key & 3u) + r;
              let is_dropped = ((vec4u(bits) >> (vec4u(0u, 8u, 16u, 24u) + own_bit)) & vec4u(1u)) == vec4u(1u);
              keep = select(p * params.keep_factor, vec4f(), is_dropped);
              dp[r][v] = select(dp[r][v] * params.keep_factor, vec4f(), is_dropped);
            }
            dp[r][v] = select(p * (dp[r][v] - delta), vec4f(), p == vec4f());
            s[r][v] = keep;
          }
        }
`;

/** Turns in which LANES threads draw the words of four queries. */
export function wordTurns(lanes: number): number {
  return Math.ceil(8 / lanes);
}
