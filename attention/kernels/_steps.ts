/**
 * Steps that the query-major kernels share: those whose workgroups own a block of query rows and walk over the
 * keys, which they stage in workgroup memory. They are parts of a kernel's body and use its variables.
 */
import { stagedKeys, type Tiles } from "./_kernel.ts";

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
 * Which rows this thread shares, and which keys they see. Bounds of key ranges never fall from row to row, so
 * the first and the last row give the keys that any row of the block sees, and those that all see.
 */
export const ROWS_AND_KEYS = /* wgsl */ `
  let lane = lane_of(thread);
  let first_row = tile.first_row + group_of(thread) * ROWS;
  let last_row = tile.queries - 1u;
  var range = array<vec2u, OWN>();
  /* unroll */ for (var w = 0u; w < OWN; w++) {
    range[w] = keys_of_row(tile, min(first_row + row_of_lane(lane, w * SHARED), last_row));
  }
  let first_range = keys_of_row(tile, tile.first_row);
  let last_range = keys_of_row(tile, min(tile.first_row + BLOCK_ROWS - 1u, last_row));
  let begin_key = first_range.x;
  let end_key = last_range.y;
  let whole_range = vec2u(last_range.x, first_range.y);
`;

/** Puts the keys from `staged_key` on into workgroup memory; what lies outside is zero, and hidden later on. */
export const STAGE_KEYS = /* wgsl */ `
    /* unroll */ for (var turn = 0u; turn < KEY_TURNS; turn++) {
      let i = turn * THREADS + thread;
      let key = staged_key + i / (K_PARTS * LANES);
      let part = i % (K_PARTS * LANES);
      if (KEY_REST == 0u || i < STAGED * K_PARTS * LANES) {
        var staged = vec4f();
        if (key >= begin_key && key < end_key) {
          staged = load_key(key_origin + key_row(tile, key) * params.key_row, part);
        }
        key_tile[i / (K_PARTS * LANES)][part / LANES][part % LANES] = Four(staged);
      }
    }
`;

/** The same of keys and values, and a barrier. */
export const STAGE_KEYS_AND_VALUES = /* wgsl */ `
    ${STAGE_KEYS}
    /* unroll */ for (var turn = 0u; turn < VALUE_TURNS; turn++) {
      let i = turn * THREADS + thread;
      let key = staged_key + i / (V_PARTS * LANES);
      let part = i % (V_PARTS * LANES);
      if (VALUE_REST == 0u || i < STAGED * V_PARTS * LANES) {
        var staged = vec4f();
        if (key >= begin_key && key < end_key) {
          staged = load_value(value_origin + key_row(tile, key) * params.value_row, part);
        }
        value_tile[i / (V_PARTS * LANES)][part / LANES][part % LANES] = Four(staged);
      }
    }
    workgroupBarrier();
`;

/** Constants of {@linkcode STAGE_KEYS} and {@linkcode STAGE_KEYS_AND_VALUES}. */
export function stagingConstants(
  config: Tiles & Readonly<Record<"kParts" | "vParts", number>>,
): Record<string, number> {
  const { threads, lanes, kParts, vParts } = config;
  const [keyVecs, valueVecs] = [kParts, vParts].map((parts) => stagedKeys(config) * parts * lanes);
  return {
    KEY_TURNS: Math.ceil(keyVecs! / threads),
    VALUE_TURNS: Math.ceil(valueVecs! / threads),
    // Threads of the last turn that have nothing to stage; 0 where every thread has.
    KEY_REST: keyVecs! % threads,
    VALUE_REST: valueVecs! % threads,
  };
}

/**
 * Does something for each tile of what is staged: `tile_<name>` is its first, and `at` how far that is into
 * the staged ones; `is_whole` says whether all rows of the workgroup see all of the tile. With one tile, `at` is
 * a constant, and so are all indices.
 *
 * With `wholeApart` the work is compiled twice, for whole tiles without any masking: a straight run of
 * instructions, which compilers can order freely. That makes GPUs some 5 % faster, but takes the compilers of CPU
 * drivers too long.
 *
 * @param config Tiles, and whether anything else hides weights than the mask.
 * @param name What is staged, `key` or `query`.
 * @param end Where those that matter end.
 * @param body What to do.
 */
export function eachTile(
  config: Tiles & { readonly bias: string; readonly dropout: boolean },
  name: "key" | "query",
  end: string,
  body: string,
): string {
  const wholeTest = `(whole_range.x <= tile_${name}) & (tile_${name} + TILE <= whole_range.y)`;
  const step = config.wholeApart && config.bias === "none" && !config.dropout
    ? /* wgsl */ `
      if (${wholeTest}) {
        const is_whole = true;
        ${body}
      } else {
        const is_whole = false;
        ${body}
      }`
    : /* wgsl */ `
      let is_whole = ${wholeTest};
      ${body}`;
  if (stagedKeys(config) === config.tile) {
    return /* wgsl */ `
    {
      const at = 0u;
      let tile_${name} = staged_${name};
      ${step}
    }`;
  }
  return /* wgsl */ `
    for (var at = 0u; at < min(STAGED, ${end} - staged_${name}); at += TILE) {
      let tile_${name} = staged_${name} + at;
      ${step}
    }`;
}

/** From SHARED rows' parts of four products each, \`parts\`, to those of the lane's own rows. */
export function joinRows(own: string, parts: string): string {
  return /* wgsl */ `
        /* unroll */ for (var w = 0u; w < OWN; w++) {
          var shared_rows = array<vec4f, SHARED>();
          /* unroll */ for (var j = 0u; j < SHARED; j++) { shared_rows[j] = ${parts}[w * SHARED + j]; }
          ${own}[w][v] = join_rows(shared_rows);
        }
`;
}

/** From products to scores: ALiBi, bias, and the mask unless the tile `is_whole`. */
export const ADD_AND_MASK = /* wgsl */ `
      /* unroll */ for (var w = 0u; w < OWN; w++) {
        let own_row = min(first_row + row_of_lane(lane, w * SHARED), last_row);
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          s[w][v] = add_alibi(s[w][v], slope, tile, own_row, tile_key + 4u * v);
          s[w][v] = add_bias(s[w][v], bias_start + own_row * params.bias_row, tile, tile_key + 4u * v);
        }
      }
      if (!is_whole) {
        /* unroll */ for (var w = 0u; w < OWN; w++) {
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            s[w][v] = mask_scores(s[w][v], tile_key + 4u * v, range[w]);
          }
        }
      }
`;

/**
 * Bits of the own rows' weights that dropout drops, four for each four weights. Lanes that own the same rows
 * draw a share each.
 */
export const DRAW_DROPPED = /* wgsl */ `
      var bits = 0u;
      if (HAS_DROPOUT) {
        /* unroll */ for (var turn = 0u; turn < DROP_TURNS; turn++) {
          let own = turn * TWINS + lane / SHARED;
          if (own < OWN * TILE_VECS) {
            let row = first_row + row_of_lane(lane, own / TILE_VECS * SHARED);
            bits |= dropped(tile.block, head_index, row, tile_key + 4u * (own % TILE_VECS)) << (4u * own);
          }
        }
        bits = or_over_twins(bits);
      }
`;

/** Turns of {@linkcode DRAW_DROPPED}. Its bits fit a word as own rows times vec4s of a tile are at most 8. */
export function dropTurns({ rows, tile, lanes }: Tiles): number {
  const shared = Math.min(rows, lanes);
  return Math.ceil((rows / shared) * (tile / 4) / (lanes / shared));
}

/** Statistics of the own rows, see `_backward.ts`; rows past the end repeat the last. */
export const OWN_STATS = /* wgsl */ `
  var stats = array<vec2f, OWN>();
  /* unroll */ for (var w = 0u; w < OWN; w++) {
    let row = min(first_row + row_of_lane(lane, w * SHARED), last_row);
    stats[w] = row_stats(stats_position(tile.batch, head_index, tile.query_begin + row));
  }
`;

/**
 * Gradients of the own rows' scores, in place of the scores, and the sums of their weights. A hidden value may be
 * NaN: a weight of zero hides it.
 */
export const SCORE_GRADIENTS = /* wgsl */ `
      /* unroll */ for (var w = 0u; w < OWN; w++) {
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          let p = weights_of(s[w][v], vec4f(stats[w].x));
          add_weights(w, thread, (p.x + p.y) + (p.z + p.w));
          if (HAS_DROPOUT) {
            dp[w][v] = keep_weights(dp[w][v] * params.keep_factor, bits >> (4u * (w * TILE_VECS + v)));
          }
          s[w][v] = select(p * (dp[w][v] - stats[w].y), vec4f(), p == vec4f());
        }
      }
`;

/**
 * `add_weights(w, thread, sum)` and `weight_sum(w, thread)`: sums over the keys of the w-th own row's weights. They are
 * private, or apart in workgroup memory, of which each thread has its own words: the threads of GPUs hold so much of
 * rows that for one register more others go to memory, and the kernel takes 9 % longer (H200, K 64).
 */
export function weightSums(tiles: Tiles): string {
  const { threads, sumsApart = false } = tiles;
  const [space, count, at] = sumsApart
    ? ["workgroup", ownRows(tiles) * threads, "w * THREADS + thread"]
    : ["private", ownRows(tiles), "w"];
  return /* wgsl */ `
var<${space}> weight_sums: array<f32, ${count}>;
fn add_weights(w: u32, thread: u32, sum: f32) { weight_sums[${at}] += sum; }
fn weight_sum(w: u32, thread: u32) -> f32 { return weight_sums[${at}]; }
`;
}

/** Bytes of workgroup memory that {@linkcode weightSums} takes. */
export function weightSumsBytes(tiles: Tiles): number {
  return tiles.sumsApart ? 4 * ownRows(tiles) * tiles.threads : 0;
}

function ownRows({ rows, lanes }: Tiles): number {
  return rows / Math.min(rows, lanes);
}

/**
 * Factors of the own rows, `own_factor`, which make the sums of their weights 1, and are stored for `row_factors.ts`;
 * 1 where weights are taken as they come, and for a row that sees no key.
 */
export const FIND_FACTORS = /* wgsl */ `
  var own_factor = array<f32, OWN>();
  /* unroll */ for (var w = 0u; w < OWN; w++) {
    let sum = weight_sum(w, thread);
    let is_known = (params.sums_to_one == 0u) | (sum == 0.0);
    own_factor[w] = 1.0 / select(sum, 1.0, is_known);
    let row = first_row + row_of_lane(lane, w * SHARED);
    if ((lane < SHARED) & (row <= last_row)) {
      store_factor(stats_row(tile.batch, head_index, tile.query_begin + row), own_factor[w]);
    }
  }
`;
