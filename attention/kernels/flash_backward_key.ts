/**
 * The gradients of key and value: dK = scale dS^T Q and dV = (P Z)^T dO, see `_backward.ts` for P, Z and dS.
 *
 * A workgroup owns a block of rows of key and value and walks over the queries that see them, in tiles staged in
 * workgroup memory: of each block of queries that has these rows among its keys, and of each head that shares
 * them (grouped-query attention sums here, nothing is repeated). LANES threads share ROWS rows, of which each holds a
 * part of k, v, dK and dV in registers.
 *
 * Time O(B H Mq Mkv (2 K + 2 Kv)), less what the mask hides. Memory: the gradients.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import { backwardKernel, type BackwardKernelConfig, gradientRows } from "./_backward.ts";
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
import { eachTile, joinRows, stagingConstants } from "./_steps.ts";
import { backwardBlockRows } from "./flash_backward_query.ts";

const body = (config: BackwardKernelConfig) => /* wgsl */ `
${stagedQueries(config)}
${MAIN}
  // Which rows of which key head. The first keys have the most queries under a causal mask, so they go first.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let head_jobs = params.jobs / params.tiles;
  let key_tile = key_tile_of(job / head_jobs);
  let key_heads = params.heads / params.sum_heads;
  let key_head = job % head_jobs % key_heads;
  let group = job % head_jobs / key_heads;
  ${KEY_ROWS}

  var k = array<array<vec4f, K_PARTS>, ROWS>();
  var v_row = array<array<vec4f, V_PARTS>, ROWS>();
  var dk = array<array<vec4f, K_PARTS>, ROWS>();
  var dv = array<array<vec4f, V_PARTS>, ROWS>();
  let key_origin = params.key_offset + key_tile.batch * params.key_batch +
    group * params.key_group + key_head * params.sum_heads * params.key_head;
  let value_origin = params.value_offset + key_tile.batch * params.value_batch +
    group * params.value_group + key_head * params.sum_heads * params.value_head;
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(first_row + row_of_lane(lane, r), last_row);
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      k[r][n] = load_key(key_origin + row * params.key_row, n * LANES + lane);
    }
    /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
      v_row[r][n] = load_value(value_origin + row * params.value_row, n * LANES + lane);
    }
  }

  for (var entry = key_tile.first_entry; entry < key_tile.end_entry; entry += ENTRY_WORDS) {
    let tile = entry_of(key_tile, entry);
    ${QUERIES_OF_ROWS}
    for (var shared_head = 0u; shared_head < params.sum_heads; shared_head++) {
      let head = key_head * params.sum_heads + shared_head;
      ${QUERY_ORIGINS}
      for (var staged_query = begin_query; staged_query < end_query; staged_query += STAGED) {
        ${STAGE_QUERIES}
        ${eachTile(config, "query", "end_query", TILE_STEP)}
        workgroupBarrier();
      }
    }
  }

  // The queries were staged with their scale.
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = first_row + row_of_lane(lane, r);
    if (row <= last_row) {
      let out_row = ((key_tile.batch * params.keys + row) * params.groups + group) * key_heads + key_head;
      /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
        store_dk(out_row * HEAD_DIM, n * LANES + lane, dk[r][n]);
      }
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
        store_dv(out_row * VALUE_DIM, n * LANES + lane, dv[r][n]);
      }
    }
  }
}
`;

/** What a tile of queries adds to dK and dV. */
const TILE_STEP = /* wgsl */ `
          // Products of the own rows with queries, and of their values with gradients.
          var s = array<array<vec4f, TILE_VECS>, OWN>();
          var dp = array<array<vec4f, TILE_VECS>, OWN>();
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            var score_parts = array<vec4f, ROWS>();
            var grad_parts = array<vec4f, ROWS>();
            /* unroll */ for (var c = 0u; c < 4; c++) {
              /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
                let q = query_tile[at + 4u * v + c][n][lane];
                /* unroll */ for (var r = 0u; r < ROWS; r++) {
                  score_parts[r][c] = add_dot(score_parts[r][c], k[r][n], q);
                }
              }
              /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
                let g = grad_tile[at + 4u * v + c][n][lane];
                /* unroll */ for (var r = 0u; r < ROWS; r++) {
                  grad_parts[r][c] = add_dot(grad_parts[r][c], v_row[r][n], g);
                }
              }
            }
            ${joinRows("s", "score_parts")}
            ${joinRows("dp", "grad_parts")}
          }
          ${WEIGHTS_AND_GRADIENTS}

          // A hidden query, or the gradient of its output, may be NaN: what is zero hides it.
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            var p = array<vec4f, ROWS>();
            var ds = array<vec4f, ROWS>();
            /* unroll */ for (var r = 0u; r < ROWS; r++) {
              p[r] = of_row(s[r / SHARED][v], r);
              ds[r] = of_row(dp[r / SHARED][v], r);
            }
            if (is_whole && !HAS_BIAS && !HAS_DROPOUT) {
              /* unroll */ for (var c = 0u; c < 4; c++) {
                /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
                  let q = query_tile[at + 4u * v + c][n][lane];
                  /* unroll */ for (var r = 0u; r < ROWS; r++) { dk[r][n] += ds[r][c] * q; }
                }
                /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
                  let g = grad_tile[at + 4u * v + c][n][lane];
                  /* unroll */ for (var r = 0u; r < ROWS; r++) { dv[r][n] += p[r][c] * g; }
                }
              }
            } else {
              /* unroll */ for (var c = 0u; c < 4; c++) {
                /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
                  let q = query_tile[at + 4u * v + c][n][lane];
                  /* unroll */ for (var r = 0u; r < ROWS; r++) {
                    dk[r][n] += select(ds[r][c] * q, vec4f(), ds[r][c] == 0.0);
                  }
                }
                /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
                  let g = grad_tile[at + 4u * v + c][n][lane];
                  /* unroll */ for (var r = 0u; r < ROWS; r++) {
                    dv[r][n] += select(p[r][c] * g, vec4f(), p[r][c] == 0.0);
                  }
                }
              }
            }
          }
`;

/**
 * The kernel; see {@linkcode backwardKernel} for its bindings. Outputs: dK, dense `[B, Mkv, G, H, K]`, and dV,
 * where H is 1 if the heads of a group share theirs.
 */
export function backwardKeyKernel(config: BackwardKernelConfig): Kernel {
  return backwardKernel("flash_backward_key", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      HEAD_DIM: config.headDim,
      VALUE_DIM: config.valueDim,
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
      WORD_TURNS: wordTurns(config.lanes),
    },
    major: "key",
    outputs: [gradientRows("dk", config, "headDim"), gradientRows("dv", config, "valueDim")],
    body: body(config),
  });
}
