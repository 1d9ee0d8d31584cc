/**
 * The gradient of a tensor bias that has one row for all queries, as a mask of padded keys has: dS, see
 * `_backward.ts`, summed over the queries, and over the sequences and heads for all of which the bias has one
 * element.
 *
 * Laid out as {@linkcode backwardKeyKernel}, with one sum a row; k and v are read again for each tile.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides. Memory: the gradient.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import { backwardKernel, type BackwardKernelConfig } from "./_backward.ts";
import {
  KEY_ROWS,
  QUERIES_OF_ROWS,
  QUERY_ORIGINS,
  STAGE_QUERIES,
  stagedQueries,
  WEIGHTS_AND_GRADIENTS,
  wordTurns,
} from "./_key_steps.ts";
import { partsPerLane } from "./_kernel.ts";
import { joinRows, stagingConstants } from "./_steps.ts";
import { declareBiasGradient } from "./flash_backward_bias.ts";
import { backwardBlockRows } from "./flash_backward_query.ts";

const body = (config: BackwardKernelConfig) => /* wgsl */ `
${stagedQueries(config)}
${MAIN}
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

  var sum = array<f32, OWN>();
  for (var term = 0u; term < terms; term++) {
    let head = out_head * params.sum_heads + term % params.sum_heads;
    let group = out_group * params.sum_groups + term / params.sum_heads % params.sum_groups;
    if (params.sum_batches > 1u) { key_tile.batch = term / params.sum_heads / params.sum_groups; }
    let key_origin = params.key_offset + key_tile.batch * params.key_batch +
      group * params.key_group + head * params.key_head;
    let value_origin = params.value_offset + key_tile.batch * params.value_batch +
      group * params.value_group + head * params.value_head;
    for (var entry = key_tile.first_entry; entry < key_tile.end_entry; entry += ENTRY_WORDS) {
      let tile = entry_of(key_tile, entry);
      ${QUERIES_OF_ROWS}
      ${QUERY_ORIGINS}
      for (var staged_query = begin_query; staged_query < end_query; staged_query += TILE) {
        const at = 0u;
        let tile_query = staged_query;
    let is_whole = (whole_range.x <= tile_query) & (tile_query + TILE <= whole_range.y);
        ${STAGE_QUERIES}

        // Products of the own rows with queries, and of their values with gradients.
        var s = array<array<vec4f, TILE_VECS>, OWN>();
        var dp = array<array<vec4f, TILE_VECS>, OWN>();
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          var score_parts = array<vec4f, ROWS>();
          var grad_parts = array<vec4f, ROWS>();
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            let row = min(first_row + row_of_lane(lane, r), last_row);
            for (var n = 0u; n < K_PARTS; n++) {
              let k = load_key(key_origin + row * params.key_row, n * LANES + lane);
              /* unroll */ for (var c = 0u; c < 4; c++) {
                score_parts[r][c] = add_dot(score_parts[r][c], k, query_tile[4u * v + c][n][lane]);
              }
            }
            for (var n = 0u; n < V_PARTS; n++) {
              let value = load_value(value_origin + row * params.value_row, n * LANES + lane);
              /* unroll */ for (var c = 0u; c < 4; c++) {
                grad_parts[r][c] = add_dot(grad_parts[r][c], value, grad_tile[4u * v + c][n][lane]);
              }
            }
          }
          ${joinRows("s", "score_parts")}
          ${joinRows("dp", "grad_parts")}
        }
        ${WEIGHTS_AND_GRADIENTS}
        /* unroll */ for (var w = 0u; w < OWN; w++) {
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            sum[w] += (dp[w][v].x + dp[w][v].y) + (dp[w][v].z + dp[w][v].w);
          }
        }
        workgroupBarrier();
      }
    }
  }
  if (lane < SHARED) {
    /* unroll */ for (var w = 0u; w < OWN; w++) {
      let row = first_row + row_of_lane(lane, w * SHARED);
      if (row <= last_row) { dbias[out_origin + row * params.out_key] = sum[w]; }
    }
  }
}
`;

/**
 * The kernel; see {@linkcode backwardKernel} for its bindings. Output: the gradient, f32, `[B, G, H, 1, Mkv]`
 * where B, G and H may be 1.
 */
export function backwardRowBiasKernel(choice: BackwardKernelConfig): Kernel {
  const config = { ...choice, staged: choice.tile };
  return backwardKernel("flash_backward_row_bias", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
      WORD_TURNS: wordTurns(config.lanes),
    },
    major: "key",
    outputs: [declareBiasGradient],
    body: body(config),
  });
}
