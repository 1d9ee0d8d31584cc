/**
 * The gradient of a tensor bias that has a row for each query: dS, see `_backward.ts`, summed over the sequences
 * and heads, and the keys, for all of which it has one element.
 *
 * Laid out as {@linkcode backwardQueryKernel}, but a tile of dS is kept while all sequences and heads that
 * share it go by, so that nothing larger than the gradient is stored; q and dO are read again for each tile.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides. Memory: the gradient.
 */
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { backwardKernel, type BackwardKernelConfig } from "./_backward.ts";
import { partsPerLane } from "./_kernel.ts";
import {
  ADD_AND_MASK,
  DRAW_DROPPED,
  dropTurns,
  GRAD_ORIGIN,
  HEAD_ORIGINS,
  STAGE_KEYS_AND_VALUES,
  stagingConstants,
} from "./_steps.ts";
import { backwardBlockRows } from "./flash_backward_query.ts";

const BODY = /* wgsl */ `
var<workgroup> key_tile: array<array<array<vec4f, LANES>, K_PARTS>, TILE>;
var<workgroup> value_tile: array<array<array<vec4f, LANES>, V_PARTS>, TILE>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  // Which rows of which of the bias's heads.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let head_jobs = params.jobs / params.tiles;
  var tile = tile_of(job / head_jobs);
  let out_heads = params.heads / params.sum_heads;
  let out_head = job % head_jobs % out_heads;
  let out_group = job % head_jobs / out_heads;
  let out_origin = tile.batch * params.out_batch + out_group * params.out_group +
    out_head * params.out_head + tile.query_begin * params.out_row;
  let terms = params.sum_batches * params.sum_groups * params.sum_heads;

  let lane = thread % LANES;
  let first_row = tile.first_row + thread / LANES * ROWS;
  var range = array<vec2u, ROWS>();
  var row_sum = array<f32, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    range[r] = keys_of_row(tile, min(first_row + r, tile.queries - 1u));
  }
  let begin_key = keys_of_row(tile, tile.first_row).x;
  let end_key = keys_of_row(tile, min(tile.first_row + BLOCK_ROWS, tile.queries) - 1u).y;
  for (var tile_key = begin_key / TILE * TILE; tile_key < end_key; tile_key += TILE) {
    var sum = array<array<vec4f, TILE_VECS>, ROWS>();
    for (var term = 0u; term < terms; term++) {
      let head = out_head * params.sum_heads + term % params.sum_heads;
      let group = out_group * params.sum_groups + term / params.sum_heads % params.sum_groups;
      if (params.sum_batches > 1u) {
        tile.batch = term / params.sum_heads / params.sum_groups;
        tile.block = tile.batch;
      }
      ${HEAD_ORIGINS}
      ${GRAD_ORIGIN}
      ${STAGE_KEYS_AND_VALUES}

      // Scores, and gradients of the weights.
      var s = array<array<vec4f, TILE_VECS>, ROWS>();
      var dp = array<array<vec4f, TILE_VECS>, ROWS>();
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        let row = min(first_row + r, tile.queries - 1u);
        for (var n = 0u; n < K_PARTS; n++) {
          let q = load_query(query_origin + row * params.query_row, n * LANES + lane) * params.scale;
          /* unroll */ for (var c = 0u; c < TILE; c++) {
            s[r][c / 4u][c % 4u] += dot(q, key_tile[c][n][lane]);
          }
        }
        for (var n = 0u; n < V_PARTS; n++) {
          let g = load_grad(grad_origin + row * params.grad_row, n * LANES + lane);
          /* unroll */ for (var c = 0u; c < TILE; c++) {
            dp[r][c / 4u][c % 4u] += dot(g, value_tile[c][n][lane]);
          }
        }
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          s[r][v] = sum_over_lanes(s[r][v]);
          dp[r][v] = sum_over_lanes(dp[r][v]);
        }
      }
      ${ADD_AND_MASK}
      ${DRAW_DROPPED}
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        let row = min(first_row + r, tile.queries - 1u);
        let stats = row_stats(stats_position(tile.batch, head_index, tile.query_begin + row));
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          let p = weights_of(s[r][v], vec4f(stats.x));
          if (HAS_DROPOUT) {
            dp[r][v] = keep_weights(dp[r][v] * params.keep_factor, bits >> (4u * (r * TILE_VECS + v)));
          }
          sum[r][v] += select(p * (dp[r][v] - stats.y), vec4f(), p == vec4f());
        }
      }
      workgroupBarrier();
    }

    // Lanes hold the same sums, and each stores its share of them.
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        let four = sum[r][v];
        row_sum[r] += (four.x + four.y) + (four.z + four.w);
        /* unroll */ for (var turn = 0u; turn < BIAS_TURNS; turn++) {
          let own = turn * LANES + lane;
          let key = tile_key + 4u * v + own;
          // Not &&, which is a branch: SwiftShader's compiler takes minutes with it.
          let is_mine = (params.out_key > 0u) & (own < 4u) & (first_row + r < tile.queries) &
            (key >= begin_key) & (key < end_key);
          if (is_mine) {
            let pair = select(four.xz, four.yw, vec2<bool>(own % 2u == 1u));
            let at = out_origin + (first_row + r) * params.out_row + key_row(tile, key) * params.out_key;
            dbias[at] = select(pair.x, pair.y, own >= 2u);
          }
        }
      }
    }
  }
  if (params.out_key == 0u && lane == 0u) {
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      if (first_row + r < tile.queries) {
        dbias[out_origin + (first_row + r) * params.out_row] = row_sum[r];
      }
    }
  }
}
`;

/** WGSL of the output, f32 whatever the bias is. */
export function declareBiasGradient(binding: number): string {
  return `@group(0) @binding(${binding}) var<storage, read_write> dbias: array<f32>;\n`;
}

/**
 * The kernel; see {@linkcode backwardKernel} for its bindings. Output: the gradient, f32, of which it writes
 * what some row may see; the rest is to be zero before.
 */
export function backwardBiasKernel(config: BackwardKernelConfig): Kernel {
  return backwardKernel("flash_backward_bias", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
      DROP_TURNS: dropTurns(config),
    },
    major: "query",
    outputs: [declareBiasGradient],
    body: BODY,
  });
}
