/**
 * Attention without the scores in memory: out = softmax(scale Q K^T + bias) V, one pass over the keys.
 *
 * A workgroup owns a block of query rows and walks over the keys in tiles staged in workgroup memory.
 * Each row keeps a running maximum m, a running sum l of exponentials and a running output o; a tile
 * that raises the maximum scales l and o down (Milakov and Gimelshein, 2018; Dao et al., "FlashAttention",
 * 2022, https://arxiv.org/abs/2205.14135). The division by l comes once, at the end.
 *
 * Sharing: LANES threads share ROWS rows. Lane p holds every LANES-th vec4 of the rows' q and o, so each vec4
 * it reads from workgroup memory feeds ROWS rows. The partial products are joined by shuffles so that each
 * lane owns some of the rows, for which alone it takes exponentials; see `_lanes.ts`. With LANES = 1 no
 * subgroups are needed.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides: tiles that no row may see are skipped.
 * Memory: the output, and the LSE if it is wanted.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import {
  attentionKernel,
  type AttentionKernelConfig,
  partsPerLane,
  type Tiles,
} from "./_kernel.ts";
import {
  ADD_AND_MASK,
  DRAW_DROPPED,
  dropTurns,
  eachTile,
  HEAD_ORIGINS,
  joinRows,
  ROWS_AND_KEYS,
  STAGE_KEYS_AND_VALUES,
  stagingConstants,
} from "./_steps.ts";
import { HALF_OUTPUT, HALF_SCORES } from "./_half_steps.ts";

const body = (config: AttentionKernelConfig) => /* wgsl */ `
// Staged as [key][part][lane]: no index but the lane and the tile is not a constant.
var<workgroup> key_tile: array<array<array<Four, LANES>, K_PARTS>, STAGED>;
var<workgroup> value_tile: array<array<array<Four, LANES>, V_PARTS>, STAGED>;

${MAIN}
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
  ${ROWS_AND_KEYS}

  // This lane's part of the rows' queries and outputs; rows past the end repeat the last and are not stored.
  var q = array<array<Four, K_PARTS>, ROWS>();
  var o = array<array<vec4f, V_PARTS>, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(first_row + row_of_lane(lane, r), last_row);
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      let loaded = load_query(query_origin + row * params.query_row, n * LANES + lane);
      q[r][n] = Four(loaded * params.scale);
    }
  }
  // Running maximum and sum of the rows that it owns.
  var m = array<f32, OWN>();
  var l = array<f32, OWN>();
  /* unroll */ for (var w = 0u; w < OWN; w++) { m[w] = HIDDEN; }

  // This part of the keys, if they are split: a run of whole tiles.
  let first_key = begin_key / TILE * TILE;
  let part_tiles = (max(end_key, first_key) - first_key + TILE * params.splits - 1u) /
    (TILE * params.splits);
  let from_key = first_key + split * part_tiles * TILE;
  let to_key = min(end_key, from_key + part_tiles * TILE);
  for (var staged_key = from_key; staged_key < to_key; staged_key += STAGED) {
    ${STAGE_KEYS_AND_VALUES}
    ${eachTile(config, "key", "to_key", tileStep(config))}
    workgroupBarrier();
  }

  // A row that saw no key has l = 0 and o = 0.
  var normalizer = array<f32, OWN>();
  /* unroll */ for (var w = 0u; w < OWN; w++) {
    let sum = checked_sum(l[w]);
    normalizer[w] = params.keep_factor / select(sum, 1.0, sum == 0.0);
    let row = first_row + row_of_lane(lane, w * SHARED);
    if ((lane < SHARED) & (row <= last_row)) {
      let position = lse_position(tile, group, head, row) + split * params.lse_split;
      store_lse(position, m[w], sum);
    }
  }
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let factor = factor_of_row(normalizer[r / SHARED], r);
    let row = first_row + row_of_lane(lane, r);
    if (row <= last_row) {
      let position = out_position(tile, group, head, row) + split * params.out_split;
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
        store_out(position, n * LANES + lane, o[r][n] * factor);
      }
    }
  }
}
`;

/** What a tile of keys does to m, l and o. */
const tileStep = ({ halfProducts = false }: AttentionKernelConfig) => /* wgsl */ `
      ${halfProducts ? HALF_SCORES : SCORES}
      ${ADD_AND_MASK}

      // Softmax so far: scores become weights relative to the new maximum.
      var rescale = array<f32, OWN>();
      /* unroll */ for (var w = 0u; w < OWN; w++) {
        var top = s[w][0];
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) { top = max(top, s[w][v]); }
        let new_m = max(max(m[w], max(top.x, top.y)), max(top.z, top.w));
        // While a row has seen nothing, any finite reference gives weights of zero, and the maximum would not.
        let reference = select(new_m, 0.0, new_m == HIDDEN);
        rescale[w] = exp(m[w] - reference);
        m[w] = new_m;
        var sum = vec4f();
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          s[w][v] = exp(s[w][v] - reference);
          sum += s[w][v];
        }
        l[w] = l[w] * rescale[w] + (sum.x + sum.y) + (sum.z + sum.w);
      }
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        let factor = factor_of_row(rescale[r / SHARED], r);
        /* unroll */ for (var n = 0u; n < V_PARTS; n++) { o[r][n] *= factor; }
      }

      // Dropout, of weights and not of their sum.
      ${DRAW_DROPPED}
      if (HAS_DROPOUT) {
        /* unroll */ for (var w = 0u; w < OWN; w++) {
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            s[w][v] = keep_weights(s[w][v], bits >> (4u * (w * TILE_VECS + v)));
          }
        }
      }

      ${halfProducts ? HALF_OUTPUT : OUTPUT}
`;

/** Scores: this lane's part of the products, joined to those of the rows that it owns. */
const SCORES = /* wgsl */ `
      var s = array<array<vec4f, TILE_VECS>, OWN>();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        var parts = array<vec4f, ROWS>();
        /* unroll */ for (var c = 0u; c < 4; c++) {
          /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
            let k = key_tile[at + 4u * v + c][n][lane];
            /* unroll */ for (var r = 0u; r < ROWS; r++) {
              parts[r][c] = add_dot(parts[r][c], q[r][n], k);
            }
          }
        }
        ${joinRows("s", "parts")}
      }
`;

/** Output so far. A hidden value may be NaN, which a weight of zero would let through. */
const OUTPUT = /* wgsl */ `
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        var p = array<vec4f, ROWS>();
        /* unroll */ for (var r = 0u; r < ROWS; r++) { p[r] = of_row(s[r / SHARED][v], r); }
        if (is_whole && !HAS_BIAS && !HAS_DROPOUT) {
          /* unroll */ for (var c = 0u; c < 4; c++) {
            /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
              let value = value_tile[at + 4u * v + c][n][lane];
              /* unroll */ for (var r = 0u; r < ROWS; r++) { o[r][n] += p[r][c] * value; }
            }
          }
        } else {
          /* unroll */ for (var c = 0u; c < 4; c++) {
            /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
              let value = value_tile[at + 4u * v + c][n][lane];
              /* unroll */ for (var r = 0u; r < ROWS; r++) {
                o[r][n] += select(p[r][c] * value, vec4f(), p[r][c] == 0.0);
              }
            }
          }
        }
      }
`;

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
  return attentionKernel("flash_forward", config, constants, body(config));
}
