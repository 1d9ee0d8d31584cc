/**
 * The gradient of a tensor bias that has a row for each query: dS, see `_backward.ts`, summed over the sequences
 * and heads, and the keys, for all of which it has one element.
 *
 * Laid out as {@linkcode backwardQueryKernel}, but a tile of dS is kept while all sequences and heads that
 * share it go by, so that nothing larger than the gradient is stored; q and dO are read again for each tile.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides. Memory: the gradient.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import { backwardKernel, type BackwardKernelConfig } from "./_backward.ts";
import { partsPerLane } from "./_kernel.ts";
import {
  ADD_AND_MASK,
  DRAW_DROPPED,
  dropTurns,
  GRAD_ORIGIN,
  HEAD_ORIGINS,
  joinRows,
  OWN_STATS,
  ROWS_AND_KEYS,
  SCORE_GRADIENTS,
  STAGE_KEYS_AND_VALUES,
  stagingConstants,
  weightSums,
} from "./_steps.ts";
import { backwardBlockRows } from "./flash_backward_query.ts";

const body = (config: BackwardKernelConfig) => /* wgsl */ `
${weightSums(config)}
var<workgroup> key_tile: array<array<array<vec4f, LANES>, K_PARTS>, STAGED>;
var<workgroup> value_tile: array<array<array<vec4f, LANES>, V_PARTS>, STAGED>;

${MAIN}
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

  ${ROWS_AND_KEYS}
  var row_sum = array<f32, OWN>();
  for (var staged_key = begin_key / TILE * TILE; staged_key < end_key; staged_key += TILE) {
    let tile_key = staged_key;
    let is_whole = (whole_range.x <= tile_key) & (tile_key + TILE <= whole_range.y);
    var sum = array<array<vec4f, TILE_VECS>, OWN>();
    for (var term = 0u; term < terms; term++) {
      let head = out_head * params.sum_heads + term % params.sum_heads;
      let group = out_group * params.sum_groups + term / params.sum_heads % params.sum_groups;
      if (params.sum_batches > 1u) {
        tile.batch = term / params.sum_heads / params.sum_groups;
        tile.block = tile.batch;
      }
      ${HEAD_ORIGINS}
      ${GRAD_ORIGIN}
      ${OWN_STATS}
      ${STAGE_KEYS_AND_VALUES}

      // Products of the own rows with keys, and of their gradients with values.
      var s = array<array<vec4f, TILE_VECS>, OWN>();
      var dp = array<array<vec4f, TILE_VECS>, OWN>();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        var score_parts = array<vec4f, ROWS>();
        var grad_parts = array<vec4f, ROWS>();
        /* unroll */ for (var r = 0u; r < ROWS; r++) {
          let row = min(first_row + row_of_lane(lane, r), last_row);
          let factor = row_factor(stats_position(tile.batch, head_index, tile.query_begin + row));
          for (var n = 0u; n < K_PARTS; n++) {
            let q = load_query(query_origin + row * params.query_row, n * LANES + lane) * params.scale;
            /* unroll */ for (var c = 0u; c < 4; c++) {
              score_parts[r][c] = add_dot(score_parts[r][c], q, key_tile[4u * v + c][n][lane]);
            }
          }
          for (var n = 0u; n < V_PARTS; n++) {
            let g = load_grad(grad_origin + row * params.grad_row, n * LANES + lane) * factor;
            /* unroll */ for (var c = 0u; c < 4; c++) {
              grad_parts[r][c] = add_dot(grad_parts[r][c], g, value_tile[4u * v + c][n][lane]);
            }
          }
        }
        ${joinRows("s", "score_parts")}
        ${joinRows("dp", "grad_parts")}
      }
      ${ADD_AND_MASK}
      ${DRAW_DROPPED}
      ${SCORE_GRADIENTS}
      /* unroll */ for (var w = 0u; w < OWN; w++) {
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) { sum[w][v] += s[w][v]; }
      }
      workgroupBarrier();
    }

    // Each row's sums are stored by the first of the lanes that own it.
    /* unroll */ for (var w = 0u; w < OWN; w++) {
      let row = first_row + row_of_lane(lane, w * SHARED);
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        let four = sum[w][v];
        row_sum[w] += (four.x + four.y) + (four.z + four.w);
        // A loop, as many stores written out take SwiftShader's compiler minutes.
        for (var c = 0u; c < 4u; c++) {
          let key = tile_key + 4u * v + c;
          // Not &&, which is a branch: SwiftShader's compiler takes minutes with it.
          let is_mine = (params.out_key > 0u) & (lane < SHARED) & (row <= last_row) &
            (key >= begin_key) & (key < end_key);
          if (is_mine) {
            dbias[out_origin + row * params.out_row + key_row(tile, key) * params.out_key] = four[c];
          }
        }
      }
    }
  }
  if ((params.out_key == 0u) & (lane < SHARED)) {
    /* unroll */ for (var w = 0u; w < OWN; w++) {
      let row = first_row + row_of_lane(lane, w * SHARED);
      if (row <= last_row) { dbias[out_origin + row * params.out_row] = row_sum[w]; }
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
export function backwardBiasKernel(choice: BackwardKernelConfig): Kernel {
  const config = { ...choice, staged: choice.tile, sumsApart: false };
  return backwardKernel("flash_backward_bias", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
      DROP_TURNS: dropTurns(config),
    },
    major: "query",
    outputs: [declareBiasGradient],
    body: body(config),
  });
}
