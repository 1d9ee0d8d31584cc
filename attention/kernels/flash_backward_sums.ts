/**
 * The factors of rows alone, 1 / rowsum(exp(S - lse)), see `_backward.ts`: for where no gradient of the query is
 * wanted, whose kernel finds them on the way.
 *
 * Laid out as {@linkcode backwardQueryKernel}, and adds the products of a score in its order.
 *
 * Time O(B H Mq Mkv K), less what the mask hides. Memory: the factors.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import { backwardKernel, type BackwardKernelConfig, declareFactors } from "./_backward.ts";
import { partsPerLane } from "./_kernel.ts";
import {
  ADD_AND_MASK,
  eachTile,
  FIND_FACTORS,
  HEAD_ORIGINS,
  joinRows,
  OWN_STATS,
  ROWS_AND_KEYS,
  STAGE_KEYS,
  stagingConstants,
  weightSums,
} from "./_steps.ts";
import { backwardBlockRows } from "./flash_backward_query.ts";

const body = (config: BackwardKernelConfig) => /* wgsl */ `
var<workgroup> key_tile: array<array<array<vec4f, LANES>, K_PARTS>, STAGED>;
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
  ${ROWS_AND_KEYS}

  var q = array<array<vec4f, K_PARTS>, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(first_row + row_of_lane(lane, r), last_row);
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      q[r][n] = load_query(query_origin + row * params.query_row, n * LANES + lane) * params.scale;
    }
  }
  ${OWN_STATS}

  for (var staged_key = begin_key / TILE * TILE; staged_key < end_key; staged_key += STAGED) {
    ${STAGE_KEYS}
    workgroupBarrier();
    ${eachTile(config, "key", "end_key", TILE_STEP)}
    workgroupBarrier();
  }
  ${FIND_FACTORS}
}
`;

/** What a tile of keys adds to the sums. */
const TILE_STEP = /* wgsl */ `
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
      ${ADD_AND_MASK}
      /* unroll */ for (var w = 0u; w < OWN; w++) {
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          let p = weights_of(s[w][v], vec4f(stats[w].x));
          add_weights(w, thread, (p.x + p.y) + (p.z + p.w));
        }
      }
`;

/** The kernel; see {@linkcode backwardKernel} for its bindings. Output: factors. */
export function backwardSumsKernel(config: BackwardKernelConfig): Kernel {
  return backwardKernel("flash_backward_sums", config, {
    constants: {
      BLOCK_ROWS: backwardBlockRows(config),
      ...stagingConstants({ ...config, ...partsPerLane(config) }),
    },
    major: "query",
    outputs: [declareFactors],
    body: body(config),
  });
}
