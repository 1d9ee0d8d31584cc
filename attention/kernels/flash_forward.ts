/**
 * Attention without the scores in memory: out = softmax(scale Q K^T + bias) V, one pass over the keys.
 *
 * A workgroup owns a block of query rows and walks over the keys in tiles staged in workgroup memory.
 * Each row keeps a running maximum m, a running sum l of exponentials and a running output o; a tile
 * that raises the maximum scales l and o down (Milakov and Gimelshein, 2018; Dao et al., "FlashAttention",
 * 2022, https://arxiv.org/abs/2205.14135). The division by l comes once, at the end.
 *
 * Sharing: LANES neighbouring threads share ROWS rows. Lane p holds every LANES-th vec4 of the rows' q
 * and o, so each vec4 it reads from a tile feeds ROWS rows, and neighbouring lanes read neighbouring
 * 16 bytes. The LANES partial dot products of a score are joined by subgroup shuffles. With LANES = 1
 * no subgroups are needed.
 *
 * Exponentials are taken as exp2. Without a bias the factor log2(e) is folded into the scale, so m is in
 * units of log2; with a bias scores stay natural and the factor comes in the exponent.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides: tiles that no row may see are skipped.
 * Memory: the output, and the LSE if it is wanted.
 */
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import {
  attentionKernel,
  type AttentionKernelConfig,
  partsPerLane,
  type TiledDims,
  type Tiles,
} from "./_kernel.ts";
import {
  ADD_AND_MASK,
  DRAW_DROPPED,
  dropTurns,
  HEAD_ORIGINS,
  STAGE_KEYS_AND_VALUES,
  stagingConstants,
} from "./_steps.ts";

const BODY = /* wgsl */ `
// Tiles lie as [key][part][lane]: constant indices but for the lane.
var<workgroup> key_tile: array<array<array<vec4f, LANES>, K_PARTS>, TILE>;
var<workgroup> value_tile: array<array<array<vec4f, LANES>, V_PARTS>, TILE>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  // Which rows of which head. The first tiles have the most keys, so theirs go first in all heads: workgroups
  // that run side by side then have like work, and the last to begin have the least.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let head_jobs = params.jobs / params.tiles / params.splits;
  let tile = tile_of(job / head_jobs / params.splits);
  let split = job / head_jobs % params.splits;
  let head_job = job % head_jobs;
  let head = params.head_begin + head_job % params.head_count;
  let group = params.group_begin + head_job / params.head_count;
  ${HEAD_ORIGINS}

  let lane = thread % LANES;
  let first_row = tile.first_row + thread / LANES * ROWS;

  // This lane's part of the rows' queries; rows past the end repeat the last and are not stored.
  var q = array<array<vec4f, K_PARTS>, ROWS>();
  var o = array<array<vec4f, V_PARTS>, ROWS>();
  var m = array<f32, ROWS>();
  var l = array<f32, ROWS>();
  var range = array<vec2u, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(first_row + r, tile.queries - 1u);
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      q[r][n] = load_query(query_origin + row * params.query_row, n * LANES + lane) * params.scale;
    }
    m[r] = HIDDEN;
    range[r] = keys_of_row(tile, row);
  }

  // Bounds of key ranges never fall from row to row, so the first and last row give the block's.
  let begin_key = keys_of_row(tile, tile.first_row).x;
  let end_key = keys_of_row(tile, min(tile.first_row + BLOCK_ROWS, tile.queries) - 1u).y;
  // This part of them, if they are split: a run of whole tiles.
  let first_key = begin_key / TILE * TILE;
  let part_tiles = (max(end_key, first_key) - first_key + TILE * params.splits - 1u) /
    (TILE * params.splits);
  let from_key = first_key + split * part_tiles * TILE;
  let to_key = min(end_key, from_key + part_tiles * TILE);
  for (var tile_key = from_key; tile_key < to_key; tile_key += TILE) {
    // Stage keys and values.
    ${STAGE_KEYS_AND_VALUES}
    // Scores: partial dot products, then their sums over the lanes.
    var s = array<array<vec4f, TILE_VECS>, ROWS>();
    /* unroll */ for (var c = 0u; c < TILE; c++) {
      /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
        let k = key_tile[c][n][lane];
        /* unroll */ for (var r = 0u; r < ROWS; r++) {
          s[r][c / 4u][c % 4u] += dot(q[r][n], k);
        }
      }
    }
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) { s[r][v] = sum_over_lanes(s[r][v]); }
    }

    // What is added to them; mask.
    ${ADD_AND_MASK}
    // Softmax so far: scores become weights relative to the new maximum.
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      var top = s[r][0];
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) { top = max(top, s[r][v]); }
      let new_m = max(max(m[r], max(top.x, top.y)), max(top.z, top.w));
      // While a row has seen nothing, any finite reference gives weights of zero, and the maximum would not.
      let reference = select(new_m, 0.0, new_m == HIDDEN);
      let rescale = exp2((m[r] - reference) * TO_LOG2);
      m[r] = new_m;
      var sum = vec4f();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        s[r][v] = exp2((s[r][v] - reference) * TO_LOG2);
        sum += s[r][v];
      }
      l[r] = l[r] * rescale + (sum.x + sum.y) + (sum.z + sum.w);
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) { o[r][n] *= rescale; }
    }

    // Dropout, of weights and not of their sum.
    ${DRAW_DROPPED}
    if (HAS_DROPOUT) {
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          s[r][v] = keep_weights(s[r][v], bits >> (4u * (r * TILE_VECS + v)));
        }
      }
    }

    // Output so far. A hidden value may be NaN, which a weight of zero would let through.
    if (is_whole && !HAS_BIAS && !HAS_DROPOUT) {
      /* unroll */ for (var c = 0u; c < TILE; c++) {
        /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
          let value = value_tile[c][n][lane];
          /* unroll */ for (var r = 0u; r < ROWS; r++) { o[r][n] += s[r][c / 4u][c % 4u] * value; }
        }
      }
    } else {
      /* unroll */ for (var c = 0u; c < TILE; c++) {
        /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
          let value = value_tile[c][n][lane];
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            let weight = s[r][c / 4u][c % 4u];
            o[r][n] += select(weight * value, vec4f(), weight == 0.0);
          }
        }
      }
    }
    workgroupBarrier();
  }

  // A row that saw no key has l = 0 and o = 0.
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = first_row + r;
    if (row < tile.queries) {
      let sum = checked_sum(l[r]);
      let normalizer = params.keep_factor / select(sum, 1.0, sum == 0.0);
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
        let position = out_position(tile, group, head, row) + split * params.out_split;
        store_out(position, n * LANES + lane, o[r][n] * normalizer);
      }
      let position = lse_position(tile, group, head, row) + split * params.lse_split;
      if (lane == 0u) { store_lse(position, lse_bits(m[r], sum)); }
    }
  }
}
`;

/** Bytes of workgroup memory that a configuration takes. */
export function flashForwardWorkgroupBytes(config: TiledDims): number {
  const { kParts, vParts } = partsPerLane(config);
  return config.tile * (kParts + vParts) * config.lanes * 16;
}

/** Query rows of one workgroup. */
export function flashForwardBlockRows({ threads, lanes, rows }: Tiles): number {
  return threads / lanes * rows;
}

/** The kernel; see {@linkcode attentionKernel} for its bindings. */
export function flashForwardKernel(config: AttentionKernelConfig): Kernel {
  const constants = {
    BLOCK_ROWS: flashForwardBlockRows(config),
    ...stagingConstants({ ...config, ...partsPerLane(config) }),
    DROP_TURNS: dropTurns(config),
  };
  return attentionKernel("flash_forward", config, constants, BODY);
}
