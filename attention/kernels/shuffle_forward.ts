/**
 * Attention without the scores in memory, as in flash_forward.ts, for adapters with narrow subgroups, above all CPU
 * drivers: keys and values are handed round by the subgroup instead of workgroup memory.
 *
 * Sharing: a lane owns ROWS whole rows, q and o, of which no other lane knows, so that the softmax needs no
 * joining. The subgroup reads a tile of TILE keys together, each lane a share of one key: lane j * TILE + c reads
 * parts j, j + LANES, j + 2 LANES... of key c. Broadcasts from lanes that are constants hand each part to all; on
 * a CPU they stay in registers, where a read of memory is one read for each lane. So ROWS, the multiply-adds for
 * each number read, decides on speed; the code grows with it. There are no barriers. Subgroups may be wider than
 * LANES * TILE: their lanes then read each key more than once.
 *
 * Queries are read, and outputs written, in loops that select the part at hand: reads and writes are what CPU
 * drivers take longest to compile.
 *
 * Time O(B H Mq Mkv (K + Kv)), less what the mask hides: tiles that no row may see are skipped.
 * Memory: the output, and the LSE if it is wanted.
 */
import { type Kernel, MAIN } from "../../gpu/runtime/kernels.ts";
import {
  attentionKernel,
  type AttentionKernelConfig,
  partsPerLane,
  type Tiles,
} from "./_kernel.ts";
import { HEAD_ORIGINS } from "./_steps.ts";

/** WGSL that reads this lane's share of a key, and of its value; the n-th part of each. */
interface Reads {
  readonly keys: string;
  readonly key: string;
  readonly values: string;
  readonly value: string;
}

/** Each part where it is used. */
const AT_ONCE: Reads = {
  keys: "",
  key: "load_key(key_position, n * LANES + own_part)",
  values: "",
  value: "load_value(value_position, n * LANES + own_part)",
};

/**
 * All parts beforehand, a few a turn. Where a read of eight lanes is eight branches, as on lavapipe, the code of all
 * parts is larger than what a core keeps of instructions, and runs half as fast.
 */
const IN_TURNS: Reads = {
  keys: readInTurns("key", "KEY", "K_PARTS"),
  key: "own_keys[n]",
  values: readInTurns("value", "VALUE", "V_PARTS"),
  value: "own_values[n]",
};

function readInTurns(what: string, prefix: string, parts: string): string {
  return /* wgsl */ `
    var own_${what}s = array<vec4f, ${prefix}_TURNS * ${prefix}_LOADS>();
    for (var turn = 0u; turn < ${prefix}_TURNS * one; turn++) {
      /* unroll */ for (var i = 0u; i < ${prefix}_LOADS; i++) {
        let part = min(turn * ${prefix}_LOADS + i, ${parts} - 1u);
        let loaded = load_${what}(${what}_position, part * LANES + own_part);
        /* unroll */ for (var n = 0u; n < ${prefix}_TURNS; n++) {
          own_${what}s[n * ${prefix}_LOADS + i] =
            select(own_${what}s[n * ${prefix}_LOADS + i], loaded, turn == n);
        }
      }
    }
`;
}

const body = (read: Reads) => /* wgsl */ `
${MAIN}
  // Which rows of which head. The first tiles have the most keys, the last the fewest: they alternate, since CPU
  // drivers give each core a run of neighbouring workgroups beforehand.
  let job = workgroup_index(workgroup, workgroups);
  if (job >= params.jobs) { return; }
  let head_jobs = params.jobs / params.tiles / params.splits;
  let place = job / head_jobs / params.splits;
  let tile = tile_of(select(place / 2u, params.tiles - 1u - place / 2u, place % 2u == 1u));
  let split = job / head_jobs % params.splits;
  let head_job = job % head_jobs;
  let head = params.head_begin + head_job % params.head_count;
  let group = params.group_begin + head_job / params.head_count;
  ${HEAD_ORIGINS}

  let one = min(params.jobs, 1u); // Compilers do not know its value: loops that it bounds stay loops.
  // Rows past the end repeat the last and are not stored.
  let last_row = tile.queries - 1u;
  var q = array<array<vec4f, KEY_PARTS>, ROWS>();
  var o = array<array<vec4f, VALUE_PARTS>, ROWS>();
  var m = array<f32, ROWS>();
  var l = array<f32, ROWS>();
  var range = array<vec2u, ROWS>();
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = min(tile.first_row + r * THREADS + thread, last_row);
    m[r] = HIDDEN;
    range[r] = keys_of_row(tile, row);
    for (var part = 0u; part < KEY_PARTS * one; part++) {
      let loaded = load_query(query_origin + row * params.query_row, part) * params.scale;
      /* unroll */ for (var n = 0u; n < KEY_PARTS; n++) { q[r][n] = select(q[r][n], loaded, part == n); }
    }
  }

  // Bounds of key ranges never fall from row to row, so the first and last row give the block's.
  let begin_key = keys_of_row(tile, tile.first_row).x;
  let end_key = keys_of_row(tile, min(tile.first_row + BLOCK_ROWS - 1u, last_row)).y;
  // This part of them, if they are split: a run of whole tiles.
  let first_key = begin_key / TILE * TILE;
  let part_tiles = (max(end_key, first_key) - first_key + TILE * params.splits - 1u) /
    (TILE * params.splits);
  let from_key = first_key + split * part_tiles * TILE;
  let to_key = min(end_key, from_key + part_tiles * TILE);
  for (var tile_key = from_key; tile_key < to_key; tile_key += TILE) {
    // Keys outside repeat the first or last one, and are hidden later on.
    let own_row = key_row(tile, clamp(tile_key + thread % TILE, begin_key, end_key - 1u));
    let own_part = thread / TILE % LANES;
    let key_position = key_origin + own_row * params.key_row;
    let value_position = value_origin + own_row * params.value_row;

    // Scores.
    var s = array<array<vec4f, TILE_VECS>, ROWS>();
    ${read.keys}
    /* unroll */ for (var n = 0u; n < K_PARTS; n++) {
      let own = ${read.key};
      /* unroll */ for (var j = 0u; j < LANES; j++) {
        /* unroll */ for (var c = 0u; c < TILE; c++) {
          let k = subgroupBroadcast(own, j * TILE + c);
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            s[r][c / 4u][c % 4u] += dot(q[r][n * LANES + j], k);
          }
        }
      }
    }

    // What is added to them; mask. Softmax so far: scores become weights relative to the new maximum.
    /* unroll */ for (var r = 0u; r < ROWS; r++) {
      let row = min(tile.first_row + r * THREADS + thread, last_row);
      let bias_row = bias_start + row * params.bias_row;
      var top = vec4f(HIDDEN);
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        let key = tile_key + 4u * v;
        s[r][v] = add_alibi(s[r][v], slope, tile, row, key);
        s[r][v] = add_bias(s[r][v], bias_row, tile, key);
        s[r][v] = mask_scores(s[r][v], key, range[r]);
        top = max(top, s[r][v]);
      }
      let new_m = max(max(m[r], max(top.x, top.y)), max(top.z, top.w));
      // While a row has seen nothing, any finite reference gives weights of zero, and the maximum would not.
      let reference = select(new_m, 0.0, new_m == HIDDEN);
      let rescale = exp(m[r] - reference);
      m[r] = new_m;
      var sum = vec4f();
      /* unroll */ for (var v = 0u; v < TILE_VECS; v++) {
        s[r][v] = exp(s[r][v] - reference);
        sum += s[r][v];
        // Dropout, of weights and not of their sum.
        if (HAS_DROPOUT) {
          s[r][v] = keep_weights(s[r][v], dropped(tile.block, head_index, row, tile_key + 4u * v));
        }
      }
      l[r] = l[r] * rescale + (sum.x + sum.y) + (sum.z + sum.w);
      /* unroll */ for (var n = 0u; n < VALUE_PARTS; n++) { o[r][n] *= rescale; }
    }

    // Output so far. A hidden value may be NaN, which a weight of zero would let through.
    ${read.values}
    /* unroll */ for (var n = 0u; n < V_PARTS; n++) {
      let own = ${read.value};
      /* unroll */ for (var j = 0u; j < LANES; j++) {
        /* unroll */ for (var c = 0u; c < TILE; c++) {
          let value = subgroupBroadcast(own, j * TILE + c);
          /* unroll */ for (var r = 0u; r < ROWS; r++) {
            let weight = s[r][c / 4u][c % 4u];
            o[r][n * LANES + j] += select(weight * value, vec4f(), weight == 0.0);
          }
        }
      }
    }
  }

  // A row that saw no key has l = 0 and o = 0.
  /* unroll */ for (var r = 0u; r < ROWS; r++) {
    let row = tile.first_row + r * THREADS + thread;
    if (row <= last_row) {
      let sum = checked_sum(l[r]);
      let normalizer = params.keep_factor / select(sum, 1.0, sum == 0.0);
      let position = out_position(tile, group, head, row) + split * params.out_split;
      for (var part = 0u; part < VALUE_PARTS * one; part++) {
        var stored = vec4f();
        /* unroll */ for (var n = 0u; n < VALUE_PARTS; n++) { stored = select(stored, o[r][n], part == n); }
        store_out(position, part, stored * normalizer);
      }
      let lse_at = lse_position(tile, group, head, row) + split * params.lse_split;
      store_lse(lse_at, m[r], sum);
    }
  }
}
`;

/** Reads in one turn: few enough for the cache, enough for a loop to pay. */
const MOST_LOADS = 4;

/** Query rows of one workgroup. */
export function shuffleForwardBlockRows({ threads, rows }: Tiles): number {
  return threads * rows;
}

/**
 * The kernel; see {@linkcode attentionKernel} for its bindings. Here `lanes` are the lanes that share a key when
 * they read it, so that a subgroup has `lanes * tile` lanes.
 */
export function shuffleForwardKernel(config: AttentionKernelConfig): Kernel {
  const { kParts, vParts } = partsPerLane(config);
  const turns = (parts: number) => Math.ceil(parts / MOST_LOADS);
  const constants = {
    BLOCK_ROWS: shuffleForwardBlockRows(config),
    KEY_PARTS: kParts * config.lanes,
    VALUE_PARTS: vParts * config.lanes,
    KEY_TURNS: turns(kParts),
    KEY_LOADS: Math.ceil(kParts / turns(kParts)),
    VALUE_TURNS: turns(vParts),
    VALUE_LOADS: Math.ceil(vParts / turns(vParts)),
  };
  // With a lane to a key the subgroup has TILE lanes, as SwiftShader's: its reads are short and its loops slow.
  const isShort = config.lanes === 1 || Math.max(kParts, vParts) <= MOST_LOADS;
  const read = isShort ? AT_ONCE : IN_TURNS;
  return { ...attentionKernel("shuffle_forward", config, constants, body(read)), subgroups: true };
}

/**
 * How to split the work, where this form applies: subgroups of 4 to 16 lanes, and rows that one lane can hold.
 *
 * @param headDim K.
 * @param valueDim Kv.
 * @param subgroupSize Lanes of a subgroup, 0 where there are none.
 */
export function shuffleForwardTiles(
  headDim: number,
  valueDim: number,
  subgroupSize: number,
): Tiles | undefined {
  const dim = Math.max(headDim, valueDim);
  const tiles = { lanes: subgroupSize / 4, threads: 32, tile: 4 };
  // CPU drivers keep rows in memory that is near. Twice the rows make SwiftShader half as fast again, and take its
  // compiler twice as long; on lavapipe they make the code too large for the cache, and win nothing.
  if (subgroupSize === 4 && dim <= 64) return { ...tiles, rows: 4 };
  if (subgroupSize === 4 || subgroupSize === 8) {
    return dim <= 256 ? { ...tiles, rows: dim <= 128 ? 2 : 1 } : undefined;
  }
  // Registers of a GPU hold one row.
  return subgroupSize === 16 && dim <= 64 ? { ...tiles, rows: 1 } : undefined;
}
