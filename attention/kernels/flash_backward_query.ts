/**
 * The gradient of the query: dQ = scale dS K, see `_backward.ts` for dS.
 *
 * Laid out as {@linkcode flashForwardKernel}: a workgroup owns a block of query rows and walks over the keys in
 * tiles staged in workgroup memory; LANES neighbouring threads share ROWS rows, of which each holds a part of
 * q, dO and dQ in registers. There is no running maximum: the log-sum-exp is known.
 *
 * Time O(B H Mq Mkv (2 K + Kv)), less what the mask hides. Memory: the gradient.
 */
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { backwardKernel, type BackwardKernelConfig, gradientRows } from "./_backward.ts";
import { partsPerLane, type TiledDims, type Tiles } from "./_kernel.ts";
import {
  ADD_AND_MASK,
  DRAW_DROPPED,
  dropTurns,
  GRAD_ORIGIN,
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
  // Which rows of which head; the tiles with the most keys first, of all heads.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let head_jobs = params.jobs / params.tiles;
  let tile = tile_of(job / head_jobs);
  let head = job % head_jobs % params.heads;
  let group = job % head_jobs / params.heads;
  ${HEAD_ORIGINS}
  ${GRAD_ORIGIN}

  let lane = thread % LANES;
  let first_row = tile.first_row + thread / LANES * ROWS;

  // This lane's part of the rows; rows past the end repeat the last and are not stored.
  var q = array<array<vec4f, K_PARTS>, ROWS>();
  var g = array<array<vec4f, V_PARTS>, ROWS>();
  var dq = array<array<vec4f, K_PARTS>, ROWS>();
  var stats = array<vec2f, ROWS>();
  var range = array<vec2u, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(first_row + r, tile.queries - 1u);
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      q[r][n] = load_query(query_origin + row * params.query_row, n * LANES + lane) * params.scale;
    }
    /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
      g[r][n] = load_grad(grad_origin + row * params.grad_row, n * LANES + lane);
    }
    stats[r] = row_stats(stats_position(tile.batch, head_index, tile.query_begin + row));
    range[r] = keys_of_row(tile, row);
  }

  // Bounds of key ranges never fall from row to row, so the first and last row give the block's.
  let begin_key = keys_of_row(tile, tile.first_row).x;
  let end_key = keys_of_row(tile, min(tile.first_row + BLOCK_ROWS, tile.queries) - 1u).y;
  for (var tile_key = begin_key / TILE * TILE; tile_key < end_key; tile_key += TILE) {
    ${STAGE_KEYS_AND_VALUES}

    // Scores, and gradients of the weights.
    var s = array<array<vec4f, TILE_VECS>, ROWS>();
    var dp = array<array<vec4f, TILE_VECS>, ROWS>();
    /* unroll */ for (var c = 0u; c < TILE; c++) {
      /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
        let k = key_tile[c][n][lane];
        /* unroll */ for (var r = 0u; r < ROWS; r++) { s[r][c / 4u][c % 4u] += dot(q[r][n], k); }
      }
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
        let v = value_tile[c][n][lane];
        /* unroll */ for (var r = 0u; r < ROWS; r++) { dp[r][c / 4u][c % 4u] += dot(g[r][n], v); }
      }
    }
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        s[r][v] = sum_over_lanes(s[r][v]);
        dp[r][v] = sum_over_lanes(dp[r][v]);
      }
    }
    ${ADD_AND_MASK}
    ${DRAW_DROPPED}

    // Gradients of the scores, in place of the scores. A hidden value may be NaN: a weight of zero hides it.
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        let p = weights_of(s[r][v], vec4f(stats[r].x));
        if (HAS_DROPOUT) {
          dp[r][v] = keep_weights(dp[r][v] * params.keep_factor, bits >> (4u * (r * TILE_VECS + v)));
        }
        s[r][v] = select(p * (dp[r][v] - stats[r].y), vec4f(), p == vec4f());
      }
    }

    // A hidden key may be NaN as well.
    if (is_whole && !HAS_BIAS) {
      /* unroll */ for (var c = 0u; c < TILE; c++) {
        /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
          let k = key_tile[c][n][lane];
          /* unroll */ for (var r = 0u; r < ROWS; r++) { dq[r][n] += s[r][c / 4u][c % 4u] * k; }
        }
      }
    } else {
      /* unroll */ for (var c = 0u; c < TILE; c++) {
        /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
          let k = key_tile[c][n][lane];
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            let ds = s[r][c / 4u][c % 4u];
            dq[r][n] += select(ds * k, vec4f(), ds == 0.0);
          }
        }
      }
    }
    workgroupBarrier();
  }

  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = first_row + r;
    if (row < tile.queries) {
      let query = tile.batch * params.queries + tile.query_begin + row;
      let position = (query * params.groups * params.heads + head_index) * HEAD_DIM;
      /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
        store_dq(position, n * LANES + lane, dq[r][n] * (params.scale * TO_NATURAL));
      }
    }
  }
}
`;

/** Bytes of workgroup memory that a backward kernel of any kind takes. */
export function backwardWorkgroupBytes(config: TiledDims): number {
  const { kParts, vParts } = partsPerLane(config);
  return config.tile * (kParts + vParts) * config.lanes * 16;
}

/** Rows, of queries or of keys, that a workgroup of any backward kernel owns. */
export function backwardBlockRows({ threads, lanes, rows }: Tiles): number {
  return threads / lanes * rows;
}

/** The kernel; see {@linkcode backwardKernel} for its bindings. Output: dQ, dense `[B, Mq, G, H, K]`. */
export function backwardQueryKernel(config: BackwardKernelConfig): Kernel {
  return backwardKernel("flash_backward_query", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      HEAD_DIM: config.headDim,
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
      DROP_TURNS: dropTurns(config),
    },
    major: "query",
    outputs: [gradientRows("dq", config, "headDim")],
    body: BODY,
  });
}
