/**
 * Attention without the scores in memory: out = softmax(scale Q K^T + bias) V, one pass over the keys.
 *
 * A workgroup owns a block of query rows and walks over the keys in tiles staged in workgroup memory.
 * Each row keeps a running maximum m, a running sum l of exponentials and a running output o; a tile
 * that raises the maximum scales l and o down (Milakov and Gimelshein, 2018; Dao et al., "FlashAttention",
 * 2022, https://arxiv.org/abs/2205.14135). The division by l comes once, at the end.
 *
 * Sharing: LANES neighbouring threads share ROWS rows. Lane p holds every LANES-th vec4 of the rows' q
 * and o, so each vec4 it reads from a tile feeds ROWS rows, and neighbouring lanes read neighbouring
 * 16 bytes. The LANES partial dot products of a score are joined by subgroup shuffles. With LANES = 1
 * no subgroups are needed.
 *
 * Exponentials are taken as exp2. Without a bias the factor log2(e) is folded into the scale, so m is in
 * units of log2; with a bias scores stay natural and the factor comes in the exponent.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides: tiles that no row may see are skipped.
 * Memory: the output, and the LSE if it is wanted.
 */
import { type Kernel, WORKGROUP_INDEX } from "../../gpu/runtime/kernels.ts";
import { paramStruct } from "../../gpu/runtime/params.ts";
import { unroll } from "../../gpu/runtime/unroll.ts";
import { BIAS_ORIGIN, declareOut, declareRows, LOAD_BIAS, sumOverLanes } from "./_snippets.ts";

/** Everything that is compiled into the kernel; sizes and strides are not. */
export interface FlashForwardConfig {
  /** K. */
  readonly headDim: number;
  /** Kv. */
  readonly valueDim: number;
  /** Threads that share rows; a power of two, at most the subgroup size. */
  readonly lanes: number;
  /** Rows that they share. */
  readonly rows: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Keys staged at a time, a multiple of 4. */
  readonly tile: number;
  /** Which inputs can be read as vec4: dense in their last axis, all else a multiple of 4. */
  readonly aligned: { readonly query: boolean; readonly key: boolean; readonly value: boolean };
  /** WGSL `fn key_range(row: u32) -> vec2u`: the keys a row may see, from x up to but not including y. */
  readonly keyRange: string;
  /** A tensor bias: none, added, or "may attend". */
  readonly bias: "none" | "added" | "bool";
  /** Whether to write the log-sum-exp. */
  readonly lse: boolean;
}

/** Sizes, strides and offsets (in elements) of one launch; letters as in DESIGN: B M G H K. */
export const FLASH_FORWARD_PARAMS = paramStruct({
  queries: "u32",
  keys: "u32",
  groups: "u32",
  heads: "u32",
  row_blocks: "u32",
  jobs: "u32",
  scale: "f32",
  query_offset: "u32",
  query_batch: "u32",
  query_row: "u32",
  query_group: "u32",
  query_head: "u32",
  query_step: "u32",
  key_offset: "u32",
  key_batch: "u32",
  key_row: "u32",
  key_group: "u32",
  key_head: "u32",
  key_step: "u32",
  value_offset: "u32",
  value_batch: "u32",
  value_row: "u32",
  value_group: "u32",
  value_head: "u32",
  value_step: "u32",
  bias_offset: "u32",
  bias_batch: "u32",
  bias_group: "u32",
  bias_head: "u32",
  bias_row: "u32",
  bias_key: "u32",
});

const BODY = /* wgsl */ `
// Tiles lie as [key][part][lane]: constant indices but for the lane.
var<workgroup> key_tile: array<array<array<vec4f, LANES>, K_PARTS>, TILE>;
var<workgroup> value_tile: array<array<array<vec4f, LANES>, V_PARTS>, TILE>;

// A score that no row sees. Far below any real one, yet finite in either unit: WGSL promises nothing
// about infinities.
const HIDDEN = -2.3e38;
const LN_2 = 0.6931471805599453;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) workgroup: vec3u,
  @builtin(num_workgroups) workgroups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  // Which rows of which head. Later blocks see more keys under a causal mask, so they go first.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let block = params.row_blocks - 1u - job % params.row_blocks;
  let head_job = job / params.row_blocks;
  let head = head_job % params.heads;
  let group = head_job / params.heads % params.groups;
  let batch = head_job / params.heads / params.groups;
  let query_origin = params.query_offset + batch * params.query_batch +
    group * params.query_group + head * params.query_head;
  let key_origin = params.key_offset + batch * params.key_batch +
    group * params.key_group + head * params.key_head;
  let value_origin = params.value_offset + batch * params.value_batch +
    group * params.value_group + head * params.value_head;
  let bias_origin = bias_origin_of(batch, group, head);

  let lane = thread % LANES;
  let block_row = block * BLOCK_ROWS;
  let first_row = block_row + thread / LANES * ROWS;

  // This lane's part of the rows' queries; rows past the end repeat the last and are not stored.
  var q = array<array<vec4f, K_PARTS>, ROWS>();
  var o = array<array<vec4f, V_PARTS>, ROWS>();
  var m = array<f32, ROWS>();
  var l = array<f32, ROWS>();
  var range = array<vec2u, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(first_row + r, params.queries - 1u);
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      q[r][n] = load_query(query_origin + row * params.query_row, n * LANES + lane) * params.scale;
    }
    m[r] = HIDDEN;
    range[r] = key_range(row);
  }

  // Bounds of key ranges never fall from row to row, so the first and last row give the block's.
  let last_row = min(block_row + BLOCK_ROWS, params.queries) - 1u;
  let begin_key = key_range(block_row).x / TILE * TILE;
  let end_key = key_range(last_row).y;
  for (var tile_key = begin_key; tile_key < end_key; tile_key += TILE) {
    // Stage keys and values; what lies past the end is zero and hidden.
    /* unroll */ for (var turn = 0u; turn < KEY_TURNS; turn++) {
      let i = turn * THREADS + thread;
      let key = tile_key + i / (K_PARTS * LANES);
      let part = i % (K_PARTS * LANES);
      if (KEYS_FILL_TURNS || i < TILE * K_PARTS * LANES) {
        var staged = vec4f();
        if (key < end_key) { staged = load_key(key_origin + key * params.key_row, part); }
        key_tile[i / (K_PARTS * LANES)][part / LANES][part % LANES] = staged;
      }
    }
    /* unroll */ for (var turn = 0u; turn < VALUE_TURNS; turn++) {
      let i = turn * THREADS + thread;
      let key = tile_key + i / (V_PARTS * LANES);
      let part = i % (V_PARTS * LANES);
      if (VALUES_FILL_TURNS || i < TILE * V_PARTS * LANES) {
        var staged = vec4f();
        if (key < end_key) { staged = load_value(value_origin + key * params.value_row, part); }
        value_tile[i / (V_PARTS * LANES)][part / LANES][part % LANES] = staged;
      }
    }
    workgroupBarrier();

    // Scores: partial dot products, then their sums over the lanes.
    var s = array<array<vec4f, TILE_VECS>, ROWS>();
    /* unroll */ for (var c = 0u; c < TILE; c++) {
      /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
        let k = key_tile[c][n][lane];
        /* unroll */ for (var r = 0u; r < ROWS; r++) {
          s[r][c / 4u][c % 4u] += dot(q[r][n], k);
        }
      }
    }
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) { s[r][v] = sum_over_lanes(s[r][v]); }
    }

    // Bias. Each lane reads its share of the keys' biases; sums over the lanes hand them round.
    if (HAS_BIAS) {
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        let row_bias = bias_origin + min(first_row + r, params.queries - 1u) * params.bias_row;
        var b = array<vec4f, TILE_VECS>();
        /* unroll */ for (var turn = 0u; turn < BIAS_TURNS; turn++) {
          let own = turn * LANES + lane;
          let loaded = load_bias(row_bias, tile_key + own);
          /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
            b[v] += select(vec4f(), vec4f(loaded), 4u * v + vec4u(0u, 1u, 2u, 3u) == vec4u(own));
          }
        }
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          let all = sum_over_lanes(b[v]);
          s[r][v] = select(s[r][v] + all, vec4f(HIDDEN), all == vec4f(HIDDEN));
        }
      }
    }

    // Mask, unless every row sees the whole tile.
    var is_whole = true;
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      is_whole = is_whole && range[r].x <= tile_key && tile_key + TILE <= range[r].y;
    }
    if (!is_whole) {
      /* unroll */ for (var r = 0u; r < ROWS; r++) {
        /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
          let keys = tile_key + 4u * v + vec4u(0u, 1u, 2u, 3u);
          let is_visible = (keys >= vec4u(range[r].x)) & (keys < vec4u(range[r].y));
          s[r][v] = select(vec4f(HIDDEN), s[r][v], is_visible);
        }
      }
    }

    // Softmax so far: scores become weights relative to the new maximum.
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      var top = s[r][0];
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) { top = max(top, s[r][v]); }
      let new_m = max(max(m[r], max(top.x, top.y)), max(top.z, top.w));
      // While a row has seen nothing, any finite reference gives weights of zero, and the maximum would not.
      let reference = select(new_m, 0.0, new_m == HIDDEN);
      let rescale = exp2((m[r] - reference) * TO_LOG2);
      m[r] = new_m;
      var sum = vec4f();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        s[r][v] = exp2((s[r][v] - reference) * TO_LOG2);
        sum += s[r][v];
      }
      l[r] = l[r] * rescale + (sum.x + sum.y) + (sum.z + sum.w);
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) { o[r][n] *= rescale; }
    }

    // Output so far. A hidden value may be NaN, which a weight of zero would let through.
    if (is_whole && !HAS_BIAS) {
      /* unroll */ for (var c = 0u; c < TILE; c++) {
        /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
          let value = value_tile[c][n][lane];
          /* unroll */ for (var r = 0u; r < ROWS; r++) { o[r][n] += s[r][c / 4u][c % 4u] * value; }
        }
      }
    } else {
      /* unroll */ for (var c = 0u; c < TILE; c++) {
        /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
          let value = value_tile[c][n][lane];
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            let weight = s[r][c / 4u][c % 4u];
            o[r][n] += select(weight * value, vec4f(), weight == 0.0);
          }
        }
      }
    }
    workgroupBarrier();
  }

  // A row that saw no key has l = 0 and o = 0.
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = first_row + r;
    if (row < params.queries) {
      let out_row = ((batch * params.queries + row) * params.groups + group) * params.heads + head;
      let normalizer = 1.0 / max(l[r], 1e-37);
      /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
        store_out(out_row, n * LANES + lane, o[r][n] * normalizer);
      }
      if (lane == 0u) {
        let natural = m[r] * TO_NATURAL + log2(l[r]) * LN_2;
        // -inf by its bits: WGSL has no literal for it.
        let bits = select(bitcast<u32>(natural), 0xff800000u, l[r] == 0.0);
        store_lse(((batch * params.groups + group) * params.heads + head) * params.queries + row, bits);
      }
    }
  }
}
`;

/** Bytes of workgroup memory that a configuration takes. */
export function flashForwardWorkgroupBytes(config: FlashForwardConfig): number {
  const { kParts, vParts } = parts(config);
  return config.tile * (kParts + vParts) * config.lanes * 16;
}

/** Query rows of one workgroup. */
export function flashForwardBlockRows({ threads, lanes, rows }: FlashForwardConfig): number {
  return threads / lanes * rows;
}

/** The factor that makes scores: the scale, in units of log2 where the kernel wants that. */
export function flashForwardScale(config: FlashForwardConfig, scale: number): number {
  return config.bias === "none" ? scale * Math.LOG2E : scale;
}

const kernels = new Map<string, Kernel>();

/** The kernel; bindings: query, key, value, the bias if there is one, out, the LSE if wanted. */
export function flashForwardKernel(config: FlashForwardConfig): Kernel {
  const id = JSON.stringify(config);
  let kernel = kernels.get(id);
  if (!kernel) kernels.set(id, kernel = buildKernel(config));
  return kernel;
}

/** vec4s that each lane holds of a query row and of an output row. */
function parts({ headDim, valueDim, lanes }: FlashForwardConfig) {
  const perLane = (dim: number) => Math.max(1, Math.ceil(dim / 4 / lanes));
  return { kParts: perLane(headDim), vParts: perLane(valueDim) };
}

function buildKernel(config: FlashForwardConfig): Kernel {
  const { headDim, valueDim, lanes, rows, threads, tile, aligned } = config;
  const { kParts, vParts } = parts(config);
  const constants = {
    LANES: lanes,
    ROWS: rows,
    THREADS: threads,
    TILE: tile,
    TILE_VECS: tile / 4,
    BIAS_TURNS: Math.ceil(tile / lanes),
    KEY_TURNS: Math.ceil(tile * kParts * lanes / threads),
    VALUE_TURNS: Math.ceil(tile * vParts * lanes / threads),
    K_PARTS: kParts,
    V_PARTS: vParts,
    BLOCK_ROWS: flashForwardBlockRows(config),
  };
  const hasBias = config.bias !== "none";
  const outBinding = hasBias ? 4 : 3;
  const source = [
    FLASH_FORWARD_PARAMS.wgsl,
    ...Object.entries(constants).map(([name, value]) => `const ${name} = ${value}u;\n`),
    `const KEYS_FILL_TURNS = ${tile * kParts * lanes % threads === 0};\n`,
    `const VALUES_FILL_TURNS = ${tile * vParts * lanes % threads === 0};\n`,
    `const TO_LOG2 = ${hasBias ? Math.LOG2E : "1.0"};\n`,
    `const TO_NATURAL = ${hasBias ? "1.0" : Math.LN2};\n`,
    declareRows("query", 0, headDim, kParts * lanes, aligned.query),
    declareRows("key", 1, headDim, kParts * lanes, aligned.key),
    declareRows("value", 2, valueDim, vParts * lanes, aligned.value),
    hasBias ? `@group(0) @binding(3) var<storage, read> bias: array<u32>;${BIAS_ORIGIN}` : "",
    LOAD_BIAS[config.bias],
    declareOut(outBinding, valueDim, vParts * lanes),
    config.lse
      ? `@group(0) @binding(${outBinding + 1}) var<storage, read_write> lse: array<u32>;
fn store_lse(position: u32, bits: u32) { lse[position] = bits; }\n`
      : "fn store_lse(position: u32, bits: u32) {}\n",
    sumOverLanes(lanes),
    config.keyRange,
    WORKGROUP_INDEX,
    unroll(BODY, constants),
  ].join("");
  return {
    label: "flash_forward",
    source,
    subgroups: lanes > 1,
    bindings: [
      "read",
      "read",
      "read",
      ...(hasBias ? ["read" as const] : []),
      "write",
      ...(config.lse ? ["write" as const] : []),
    ],
  };
}
