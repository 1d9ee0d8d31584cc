/**
 * Attention for few queries against many keys, as in decoding: the keys are cut into parts, and workgroups
 * of their own take each part and give its output and log-sum-exp, which a second kernel merges ("Flash-
 * Decoding", Dao et al., 2023, https://crfm.stanford.edu/2023/10/12/flashdecoding.html).
 *
 * With few rows there is no reuse to stage keys for, and time goes into reading them once. So here all
 * groups of LANES threads work on the same ROWS rows, and each group reads keys of its own, TILE at a
 * time, from storage right into registers; what it holds of m, l and o is joined through workgroup memory
 * at the end. The rows are those of all heads that share a key head, so that grouped-query attention reads
 * it once.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides. Memory: the output; with several parts, an output
 * and a log-sum-exp for each part.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import {
  attentionKernel,
  type AttentionKernelConfig,
  partsPerLane,
  type TiledDims,
} from "./_kernel.ts";

const BODY = /* wgsl */ `
var<workgroup> m_of: array<f32, KEY_GROUPS>;
var<workgroup> l_of: array<f32, KEY_GROUPS>;
var<workgroup> o_of: array<array<vec4f, OUT_VECS>, KEY_GROUPS>;

${MAIN}
  // Which part of the keys, for which rows. Rows run through the heads of a group, then the queries.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let tile = tile_of(job % params.tiles);
  let split = job / params.tiles % params.splits;
  let head_job = job / params.tiles / params.splits;
  let first_head = params.head_begin + head_job % params.head_count;
  let group = params.group_begin + head_job / params.head_count;
  let end_row = tile.queries * params.row_heads;
  let key_origin = params.key_offset + tile.batch * params.key_batch +
    group * params.key_group + first_head * params.key_head;
  let value_origin = params.value_offset + tile.batch * params.value_batch +
    group * params.value_group + first_head * params.value_head;
  let lane = thread % LANES;
  let key_group = thread / LANES;
  // KEY_GROUPS, but not to compilers: these write out loops of a known length, and with eight rows that
  // takes lavapipe's more than a minute.
  let key_groups = select(0u, KEY_GROUPS, params.jobs > 0u);

  var q = array<array<vec4f, K_PARTS>, ROWS>();
  var o = array<array<vec4f, V_PARTS>, ROWS>();
  var m = array<f32, ROWS>();
  var l = array<f32, ROWS>();
  var query = array<u32, ROWS>();
  var head = array<u32, ROWS>();
  var range = array<vec2u, ROWS>();
  var bias_row = array<u32, ROWS>();
  var slope = array<f32, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(tile.first_row + r, end_row - 1u);
    query[r] = row / params.row_heads;
    head[r] = first_head + row % params.row_heads;
    let origin = params.query_offset + tile.batch * params.query_batch +
      (tile.query_begin + query[r]) * params.query_row + group * params.query_group +
      head[r] * params.query_head;
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      q[r][n] = load_query(origin, n * LANES + lane) * params.scale;
    }
    m[r] = HIDDEN;
    range[r] = keys_of_row(tile, query[r]);
    bias_row[r] = bias_origin(tile.batch, group, head[r]) +
      (tile.query_begin + query[r]) * params.bias_row;
    slope[r] = alibi_slope(tile.batch, group, head[r]);
  }

  // This part: a run of whole steps, of which each group of threads takes one tile.
  let begin_key = range[0].x;
  let end_key = range[ROWS - 1u].y;
  let first_key = begin_key / TILE * TILE;
  let steps = (max(end_key, first_key) - first_key + STEP - 1u) / STEP;
  let part_keys = (steps + params.splits - 1u) / params.splits * STEP;
  let from_key = first_key + split * part_keys;
  let to_key = min(end_key, from_key + part_keys);
  for (var step_key = from_key; step_key < to_key; step_key += STEP) {
    let tile_key = step_key + key_group * TILE;
    var s = array<vec4f, ROWS>();
    /* unroll */ for (var c = 0u; c < TILE; c++) {
      let key = tile_key + c;
      if (key >= begin_key && key < to_key) {
        let position = key_origin + key_row(tile, key) * params.key_row;
        /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
          let k = load_key(position, n * LANES + lane);
          /* unroll */ for (var r = 0u; r < ROWS; r++) { s[r][c] += dot(q[r][n], k); }
        }
      }
    }

    // What is added to the scores; mask; softmax so far.
    var bits = 0u;
    if (HAS_DROPOUT) {
      /* unroll */ for (var turn = 0u; turn < DROP_TURNS; turn++) {
        let own = turn * LANES + lane;
        if (own < ROWS) {
          let row = min(tile.first_row + own, end_row - 1u);
          let head_index = group * params.heads + first_head + row % params.row_heads;
          bits |= dropped(tile.block, head_index, row / params.row_heads, tile_key) << (4u * own);
        }
      }
      bits = or_over_lanes(bits);
    }
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      s[r] = sum_over_lanes(s[r]);
      s[r] = add_alibi(s[r], slope[r], tile, query[r], tile_key);
      s[r] = add_bias(s[r], bias_row[r], tile, tile_key);
      s[r] = mask_scores(s[r], tile_key, range[r]); // Parts are whole steps: none ends within one.
      let new_m = max(max(m[r], max(s[r].x, s[r].y)), max(s[r].z, s[r].w));
      // While a row has seen nothing, any finite reference gives weights of zero, and the maximum would not.
      let reference = select(new_m, 0.0, new_m == HIDDEN);
      let rescale = exp(m[r] - reference);
      m[r] = new_m;
      s[r] = exp(s[r] - reference);
      l[r] = l[r] * rescale + (s[r].x + s[r].y) + (s[r].z + s[r].w);
      s[r] = keep_weights(s[r], bits >> (4u * r));
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) { o[r][n] *= rescale; }
    }

    // Output so far. A hidden value may be NaN, which a weight of zero would let through.
    /* unroll */ for (var c = 0u; c < TILE; c++) {
      let key = tile_key + c;
      if (key >= begin_key && key < to_key) {
        let position = value_origin + key_row(tile, key) * params.value_row;
        /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
          let value = load_value(position, n * LANES + lane);
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            o[r][n] += select(s[r][c] * value, vec4f(), s[r][c] == 0.0);
          }
        }
      }
    }
  }

  // Join the groups of threads, row by row, and write. A row that saw no key has l = 0 and o = 0.
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    if (lane == 0u) {
      m_of[key_group] = m[r];
      l_of[key_group] = l[r];
    }
    workgroupBarrier();
    var top = HIDDEN;
    for (var g = 0u; g < key_groups; g++) { top = max(top, m_of[g]); }
    let reference = select(top, 0.0, top == HIDDEN);
    var total = 0.0;
    for (var g = 0u; g < key_groups; g++) {
      total += l_of[g] * exp(m_of[g] - reference);
    }
    total = checked_sum(total);
    let factor = exp(m[r] - reference);
    /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
      o_of[key_group][n * LANES + lane] = o[r][n] * factor;
    }
    workgroupBarrier();
    if (tile.first_row + r < end_row) {
      let normalizer = params.keep_factor / select(total, 1.0, total == 0.0);
      for (var part = thread; part < OUT_VECS; part += THREADS) {
        var sum = vec4f();
        for (var g = 0u; g < key_groups; g++) { sum += o_of[g][part]; }
        let position = out_position(tile, group, head[r], query[r]) + split * params.out_split;
        store_out(position, part, sum * normalizer);
      }
      if (thread == 0u) {
        let position = lse_position(tile, group, head[r], query[r]) + split * params.lse_split;
        store_lse(position, top, total);
      }
    }
    workgroupBarrier();
  }
}
`;

/** Bytes of workgroup memory that a configuration takes. */
export function splitForwardWorkgroupBytes(config: TiledDims): number {
  const groups = config.threads / config.lanes;
  return groups * (8 + 16 * partsPerLane(config).vParts * config.lanes);
}

/** The kernel; see {@linkcode attentionKernel} for its bindings. Tiles have as many rows as the config. */
export function splitForwardKernel(config: AttentionKernelConfig): Kernel {
  const constants = {
    BLOCK_ROWS: config.rows,
    KEY_GROUPS: config.threads / config.lanes,
    STEP: config.threads / config.lanes * config.tile, // Keys that a workgroup takes at a time.
    OUT_VECS: partsPerLane(config).vParts * config.lanes,
    DROP_TURNS: Math.ceil(config.rows / config.lanes),
  };
  return attentionKernel("split_forward", config, constants, BODY);
}
