/**
 * The gradient of the query: dQ = scale dS K, see `_backward.ts` for dS.
 *
 * Laid out as {@linkcode flashForwardKernel}: a workgroup owns a block of query rows and walks over the keys in
 * tiles staged in workgroup memory; LANES threads share ROWS rows, of which each holds a part of q, dO and dQ in
 * registers. There is no running maximum: the log-sum-exp is known. The rows' factors are found on the way, and
 * applied at the end, see `_backward.ts`.
 *
 * Time O(B H Mq Mkv (2 K + Kv)), less what the mask hides. Memory: the gradient.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import {
  backwardKernel,
  type BackwardKernelConfig,
  declareFactors,
  gradientRows,
} from "./_backward.ts";
import { partsPerLane, stagedBytes, type TiledDims, type Tiles } from "./_kernel.ts";
import {
  ADD_AND_MASK,
  DRAW_DROPPED,
  dropTurns,
  eachTile,
  FIND_FACTORS,
  GRAD_ORIGIN,
  HEAD_ORIGINS,
  joinRows,
  OWN_STATS,
  ROWS_AND_KEYS,
  SCORE_GRADIENTS,
  STAGE_KEYS_AND_VALUES,
  stagingConstants,
  weightSums,
  weightSumsBytes,
} from "./_steps.ts";

const body = (config: BackwardKernelConfig) => /* wgsl */ `
// Staged as [key][part][lane]: no index but the lane and the tile is not a constant.
var<workgroup> key_tile: array<array<array<vec4f, LANES>, K_PARTS>, STAGED>;
var<workgroup> value_tile: array<array<array<vec4f, LANES>, V_PARTS>, STAGED>;
${weightSums(config)}

${MAIN}
  // Which rows of which head; the tiles with the most keys first, of all heads.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let head_jobs = params.jobs / params.tiles;
  let tile = tile_of(job / head_jobs);
  let head = job % head_jobs % params.heads;
  let group = job % head_jobs / params.heads;
  ${HEAD_ORIGINS}
  ${GRAD_ORIGIN}
  ${ROWS_AND_KEYS}

  // This lane's part of the rows; rows past the end repeat the last and are not stored.
  var q = array<array<vec4f, K_PARTS>, ROWS>();
  var g = array<array<vec4f, V_PARTS>, ROWS>();
  var dq = array<array<vec4f, K_PARTS>, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(first_row + row_of_lane(lane, r), last_row);
    let factor = row_factor(stats_position(tile.batch, head_index, tile.query_begin + row));
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      q[r][n] = load_query(query_origin + row * params.query_row, n * LANES + lane) * params.scale;
    }
    /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
      g[r][n] = load_grad(grad_origin + row * params.grad_row, n * LANES + lane) * factor;
    }
  }
  ${OWN_STATS}

  for (var staged_key = begin_key / TILE * TILE; staged_key < end_key; staged_key += STAGED) {
    ${STAGE_KEYS_AND_VALUES}
    ${eachTile(config, "key", "end_key", TILE_STEP)}
    workgroupBarrier();
  }

  ${FIND_FACTORS}
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = first_row + row_of_lane(lane, r);
    let factor = factor_of_row(own_factor[r / SHARED], r);
    if (row <= last_row) {
      let query = tile.batch * params.queries + tile.query_begin + row;
      let position = (query * params.groups * params.heads + head_index) * HEAD_DIM;
      /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
        store_dq(position, n * LANES + lane, dq[r][n] * (params.scale * factor));
      }
    }
  }
}
`;

/** What a tile of keys adds to dQ. */
const TILE_STEP = /* wgsl */ `
      // Products of the own rows with keys, and of their gradients with values.
      var s = array<array<vec4f, TILE_VECS>, OWN>();
      var dp = array<array<vec4f, TILE_VECS>, OWN>();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        var score_parts = array<vec4f, ROWS>();
        var grad_parts = array<vec4f, ROWS>();
        /* unroll */ for (var c = 0u; c < 4; c++) {
          /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
            let k = key_tile[at + 4u * v + c][n][lane];
            /* unroll */ for (var r = 0u; r < ROWS; r++) {
              score_parts[r][c] = add_dot(score_parts[r][c], q[r][n], k);
            }
          }
          /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
            let value = value_tile[at + 4u * v + c][n][lane];
            /* unroll */ for (var r = 0u; r < ROWS; r++) {
              grad_parts[r][c] = add_dot(grad_parts[r][c], g[r][n], value);
            }
          }
        }
        ${joinRows("s", "score_parts")}
        ${joinRows("dp", "grad_parts")}
      }
      ${ADD_AND_MASK}
      ${DRAW_DROPPED}
      ${SCORE_GRADIENTS}

      // A hidden key may be NaN as well.
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        var ds = array<vec4f, ROWS>();
        /* unroll */ for (var r = 0u; r < ROWS; r++) { ds[r] = of_row(s[r / SHARED][v], r); }
        if (is_whole && !HAS_BIAS) {
          /* unroll */ for (var c = 0u; c < 4; c++) {
            /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
              let k = key_tile[at + 4u * v + c][n][lane];
              /* unroll */ for (var r = 0u; r < ROWS; r++) { dq[r][n] += ds[r][c] * k; }
            }
          }
        } else {
          /* unroll */ for (var c = 0u; c < 4; c++) {
            /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
              let k = key_tile[at + 4u * v + c][n][lane];
              /* unroll */ for (var r = 0u; r < ROWS; r++) {
                dq[r][n] += select(ds[r][c] * k, vec4f(), ds[r][c] == 0.0);
              }
            }
          }
        }
      }
`;

/** Rows, of queries or of keys, that a workgroup of any backward kernel owns. */
export function backwardBlockRows({ threads, lanes, rows }: Tiles): number {
  return threads / lanes * rows;
}

/** Bytes of workgroup memory that the query-major kernels take. */
export function queryMajorWorkgroupBytes(config: TiledDims): number {
  return stagedBytes(config) + weightSumsBytes(config);
}

/** The kernel; see {@linkcode backwardKernel} for its bindings. Outputs: dQ, dense `[B, Mq, G, H, K]`, and factors. */
export function backwardQueryKernel(config: BackwardKernelConfig): Kernel {
  return backwardKernel("flash_backward_query", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      HEAD_DIM: config.headDim,
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
      DROP_TURNS: dropTurns(config),
    },
    major: "query",
    outputs: [gradientRows("dq", config, "headDim"), declareFactors],
    body: body(config),
  });
}
