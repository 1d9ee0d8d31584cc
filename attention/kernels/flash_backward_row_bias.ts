/**
 * The gradient of a tensor bias that has one row for all queries, as a mask of padded keys has: dS, see
 * `_backward.ts`, summed over the queries, and over the sequences and heads for all of which the bias has one
 * element.
 *
 * Laid out as {@linkcode backwardKeyKernel}, with one sum a row; k and v are read again for each tile.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides. Memory: the gradient.
 */
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import { backwardKernel, type BackwardKernelConfig } from "./_backward.ts";
import {
  KEY_ROWS,
  QUERIES_OF_ROWS,
  QUERY_ORIGINS,
  STAGE_QUERIES,
  WEIGHTS_AND_GRADIENTS,
  wordTurns,
} from "./_key_steps.ts";
import { partsPerLane } from "./_kernel.ts";
import { stagingConstants } from "./_steps.ts";
import { declareBiasGradient } from "./flash_backward_bias.ts";
import { backwardBlockRows } from "./flash_backward_query.ts";

const BODY = /* wgsl */ `
var<workgroup> query_tile: array<array<array<vec4f, LANES>, K_PARTS>, TILE>;
var<workgroup> grad_tile: array<array<array<vec4f, LANES>, V_PARTS>, TILE>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  // Which keys of which of the bias's heads.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let head_jobs = params.jobs / params.tiles;
  var key_tile = key_tile_of(job / head_jobs);
  let out_heads = params.heads / params.sum_heads;
  let out_head = job % head_jobs % out_heads;
  let out_group = job % head_jobs / out_heads;
  let out_origin = key_tile.batch * params.out_batch + out_group * params.out_group +
    out_head * params.out_head;
  let terms = params.sum_batches * params.sum_groups * params.sum_heads;
  ${KEY_ROWS}

  var sum = array<f32, ROWS>();
  for (var term = 0u; term < terms; term++) {
    let head = out_head * params.sum_heads + term % params.sum_heads;
    let group = out_group * params.sum_groups + term / params.sum_heads % params.sum_groups;
    if (params.sum_batches > 1u) { key_tile.batch = term / params.sum_heads / params.sum_groups; }
    let key_origin = params.key_offset + key_tile.batch * params.key_batch +
      group * params.key_group + head * params.key_head;
    let value_origin = params.value_offset + key_tile.batch * params.value_batch +
      group * params.value_group + head * params.value_head;
    for (var at = key_tile.first_entry; at < key_tile.end_entry; at += ENTRY_WORDS) {
      let tile = entry_of(key_tile, at);
      ${QUERIES_OF_ROWS}
      ${QUERY_ORIGINS}
      for (var tile_query = begin_query; tile_query < end_query; tile_query += TILE) {
        ${STAGE_QUERIES}

        // Scores, and gradients of the weights.
        var s = array<array<vec4f, TILE_VECS>, ROWS>();
        var dp = array<array<vec4f, TILE_VECS>, ROWS>();
        /* unroll */ for (var r = 0u; r < ROWS; r++) {
          let row = min(first_row + r, last_row);
          for (var n = 0u; n < K_PARTS; n++) {
            let k = load_key(key_origin + row * params.key_row, n * LANES + lane);
            /* unroll */ for (var c = 0u; c < TILE; c++) {
              s[r][c / 4u][c % 4u] += dot(k, query_tile[c][n][lane]);
            }
          }
          for (var n = 0u; n < V_PARTS; n++) {
            let v = load_value(value_origin + row * params.value_row, n * LANES + lane);
            /* unroll */ for (var c = 0u; c < TILE; c++) {
              dp[r][c / 4u][c % 4u] += dot(v, grad_tile[c][n][lane]);
            }
          }
        }
        ${WEIGHTS_AND_GRADIENTS}
        /* unroll */ for (var r = 0u; r < ROWS; r++) {
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            sum[r] += (dp[r][v].x + dp[r][v].y) + (dp[r][v].z + dp[r][v].w);
          }
        }
        workgroupBarrier();
      }
    }
  }
  if (lane == 0u) {
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      if (first_row + r <= last_row) { dbias[out_origin + (first_row + r) * params.out_key] = sum[r]; }
    }
  }
}
`;

/**
 * The kernel; see {@linkcode backwardKernel} for its bindings. Output: the gradient, f32, `[B, G, H, 1, Mkv]`
 * where B, G and H may be 1.
 */
export function backwardRowBiasKernel(config: BackwardKernelConfig): Kernel {
  return backwardKernel("flash_backward_row_bias", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
      WORD_TURNS: wordTurns(config.lanes),
    },
    major: "key",
    outputs: [declareBiasGradient],
    body: BODY,
  });
}
