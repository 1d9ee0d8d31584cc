/**
 * Steps that the query-major kernels share: those whose workgroups own a block of query rows and walk over the
 * keys in tiles. They are parts of a kernel's body and use its variables.
 */

/** Where the operands of a head begin, for a tile's batch and its first query; needs `group` and `head`. */
export const HEAD_ORIGINS = /* wgsl */ `
  let head_index = group * params.heads + head;
  let query_origin = params.query_offset + tile.batch * params.query_batch +
    tile.query_begin * params.query_row + group * params.query_group + head * params.query_head;
  let key_origin = params.key_offset + tile.batch * params.key_batch +
    group * params.key_group + head * params.key_head;
  let value_origin = params.value_offset + tile.batch * params.value_batch +
    group * params.value_group + head * params.value_head;
  let bias_start = bias_origin(tile.batch, group, head) + tile.query_begin * params.bias_row;
  let slope = alibi_slope(tile.batch, group, head);
`;

/** The same of the output's gradient. */
export const GRAD_ORIGIN = /* wgsl */ `
  let grad_origin = params.grad_offset + tile.batch * params.grad_batch +
    tile.query_begin * params.grad_row + group * params.grad_group + head * params.grad_head;
`;

/**
 * Puts the keys and values of a tile into workgroup memory; what lies outside is zero, and hidden later on.
 * Behind it stands a barrier.
 */
export const STAGE_KEYS_AND_VALUES = /* wgsl */ `
    /* unroll */ for (var turn = 0u; turn < KEY_TURNS; turn++) {
      let i = turn * THREADS + thread;
      let key = tile_key + i / (K_PARTS * LANES);
      let part = i % (K_PARTS * LANES);
      if (KEY_REST == 0u || i < TILE * K_PARTS * LANES) {
        var staged = vec4f();
        if (key >= begin_key && key < end_key) {
          staged = load_key(key_origin + key_row(tile, key) * params.key_row, part);
        }
        key_tile[i / (K_PARTS * LANES)][part / LANES][part % LANES] = staged;
      }
    }
    /* unroll */ for (var turn = 0u; turn < VALUE_TURNS; turn++) {
      let i = turn * THREADS + thread;
      let key = tile_key + i / (V_PARTS * LANES);
      let part = i % (V_PARTS * LANES);
      if (VALUE_REST == 0u || i < TILE * V_PARTS * LANES) {
        var staged = vec4f();
        if (key >= begin_key && key < end_key) {
          staged = load_value(value_origin + key_row(tile, key) * params.value_row, part);
        }
        value_tile[i / (V_PARTS * LANES)][part / LANES][part % LANES] = staged;
      }
    }
    workgroupBarrier();
`;

/** Constants of {@linkcode STAGE_KEYS_AND_VALUES}. */
export function stagingConstants(
  { tile, threads, lanes, kParts, vParts }: Record<
    "tile" | "threads" | "lanes" | "kParts" | "vParts",
    number
  >,
): Record<string, number> {
  const [keyVecs, valueVecs] = [kParts, vParts].map((parts) => tile * parts * lanes);
  return {
    KEY_TURNS: Math.ceil(keyVecs! / threads),
    VALUE_TURNS: Math.ceil(valueVecs! / threads),
    // Threads of the last turn that have nothing to stage; 0 where every thread has.
    KEY_REST: keyVecs! % threads,
    VALUE_REST: valueVecs! % threads,
  };
}

/** From products to scores: ALiBi, bias, and the mask unless every row sees the whole tile. */
export const ADD_AND_MASK = /* wgsl */ `
    if (HAS_ALIBI) {
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          s[r][v] = add_alibi(s[r][v], slope, tile, first_row + r, tile_key + 4u * v);
        }
      }
    }
    if (HAS_BIAS) {
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        let row_origin = bias_start + min(first_row + r, tile.queries - 1u) * params.bias_row;
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          s[r][v] = add_bias(s[r][v], row_origin, tile, tile_key + 4u * v, lane);
        }
      }
    }
    var is_whole = true;
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      is_whole = is_whole && range[r].x <= tile_key && tile_key + TILE <= range[r].y;
    }
    if (!is_whole) {
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          s[r][v] = mask_scores(s[r][v], tile_key + 4u * v, range[r]);
        }
      }
    }
`;

/**
 * Bits of the weights that dropout drops, four for each four weights of a row. A lane draws its share; an OR
 * over the lanes hands all round.
 */
export const DRAW_DROPPED = /* wgsl */ `
    var bits = 0u;
    if (HAS_DROPOUT) {
      /* unroll */ for (var turn = 0u; turn < DROP_TURNS; turn++) {
        let own = turn * LANES + lane;
        if (own < ROWS * TILE_VECS) {
          let row = first_row + own / TILE_VECS;
          bits |= dropped(tile.block, head_index, row, tile_key + 4u * (own % TILE_VECS)) << (4u * own);
        }
      }
      bits = or_over_lanes(bits);
    }
`;

/** Turns of {@linkcode DRAW_DROPPED}. Its bits fit a word as rows times vec4s of a tile are at most 8. */
export function dropTurns(
  { rows, tile, lanes }: Record<"rows" | "tile" | "lanes", number>,
): number {
  return Math.ceil(rows * tile / 4 / lanes);
}
