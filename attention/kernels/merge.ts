/**
 * Joins partial results of attention over disjoint sets of keys: with m = max over chunks of lse,
 *
 *     w_c = exp(lse_c - m)    out = sum w_c out_c / sum w_c    lse = m + log sum w_c
 *
 * A log-sum-exp has two words, see `lse_words`, as far as the chunks' have: what the first one's rounding left out
 * comes behind the difference of the first words, which is exact where it matters.
 *
 * A workgroup takes a row: its threads share the chunks' log-sum-exps, then each sums four elements over
 * some of the chunks. Chunks that saw no key have lse = -inf and weigh nothing; where all are, out is 0. Time
 * O(chunks * elements), scratch none.
 */
import type { FloatDType } from "../../gpu/dtype.ts";
import { type Kernel, MAIN, WORKGROUP_INDEX } from "../../gpu/runtime/kernels.ts";
import { paramStruct } from "../../gpu/runtime/params.ts";
import { IS_NAN } from "../../gpu/ops/accessors.ts";
import { LSE_WORDS } from "./_kernel.ts";
import { declareDecoder, declareOut, declareRows } from "./_rows.ts";

/** What is compiled into the kernel. */
export interface MergeConfig {
  /** Kv. */
  readonly valueDim: number;
  /** Element type of the chunks' outputs. */
  readonly storage: FloatDType;
  /** Element type of the merged output. */
  readonly output: FloatDType;
  /** Whether the chunks' rows can be read as vec4. */
  readonly aligned: boolean;
  /** Whether the chunks' log-sum-exps have second words. */
  readonly lowWords: boolean;
  /** Whether to write the merged log-sum-exp. */
  readonly lse: boolean;
}

/**
 * Rows are numbered by query, then group and head, from `query_begin` of the batch's queries one after the
 * other. Strides and offsets in elements; offsets are relative to the bound ranges and wrap around.
 */
export const MERGE_PARAMS = paramStruct({
  chunks: "u32",
  rows: "u32",
  queries: "u32",
  groups: "u32",
  heads: "u32",
  query_begin: "u32",
  group_begin: "u32",
  group_count: "u32",
  head_begin: "u32",
  head_count: "u32",
  part_offset: "u32",
  part_chunk: "u32",
  part_batch: "u32",
  part_row: "u32",
  part_group: "u32",
  part_head: "u32",
  chunk_step: "u32",
  part_lse_offset: "u32",
  part_lse_chunk: "u32",
  part_lse_batch: "u32",
  part_lse_row: "u32",
  part_lse_group: "u32",
  part_lse_head: "u32",
  part_low_offset: "u32",
  out_base: "u32",
  lse_offset: "u32",
});

const THREADS = 64;

const BODY = /* wgsl */ `
const NEGATIVE_INFINITY = 0xff800000u;
const LOWEST = -3.4028234663852886e38;

var<workgroup> shared_top: array<f32, THREADS>;
var<workgroup> shared_total: array<f32, THREADS>;
var<workgroup> shared_sum: array<vec4f, THREADS>;

// The weight of a chunk relative to the greatest lse of all; by bits, because WGSL promises nothing of -inf.
fn weight_of(place: u32, top: f32) -> f32 {
  let bits = part_lse[params.part_lse_offset + place];
  let difference = (bitcast<f32>(bits) - top) + low_word(place);
  let weight = select(exp(difference), difference, is_nan(difference));
  return select(weight, 0.0, bits == NEGATIVE_INFINITY);
}

${MAIN}
  let row = workgroup_index(workgroup, workgroups);
  if (row >= params.rows) { return; }
  let head = params.head_begin + row % params.head_count;
  let group = params.group_begin + row / params.head_count % params.group_count;
  let query = params.query_begin + row / params.head_count / params.group_count;
  let batch = query / params.queries;
  let position = params.part_offset + batch * params.part_batch +
    query % params.queries * params.part_row + group * params.part_group + head * params.part_head;
  let lse_place = batch * params.part_lse_batch + query % params.queries * params.part_lse_row +
    group * params.part_lse_group + head * params.part_lse_head;

  // The greatest lse, and the sum of weights relative to it.
  var top = LOWEST;
  for (var c = thread; c < params.chunks; c += THREADS) {
    let bits = part_lse[params.part_lse_offset + lse_place + c * params.part_lse_chunk];
    top = select(max(top, bitcast<f32>(bits)), top, bits == NEGATIVE_INFINITY);
  }
  shared_top[thread] = top;
  workgroupBarrier();
  for (var other = 0u; other < THREADS; other++) { top = max(top, shared_top[other]); }
  var total = 0.0;
  for (var c = thread; c < params.chunks; c += THREADS) {
    total += weight_of(lse_place + c * params.part_lse_chunk, top);
  }
  shared_total[thread] = total;
  workgroupBarrier();
  total = 0.0;
  for (var other = 0u; other < THREADS; other++) { total += shared_total[other]; }

  // Weighted sums: LANES threads run through the row, SLICES of them through the chunks.
  for (var first_vec = 0u; first_vec < OUT_VECS; first_vec += LANES) {
    let vec = first_vec + thread % LANES;
    var sum = vec4f();
    if (vec < OUT_VECS && thread < LANES * SLICES) {
      for (var c = thread / LANES; c < params.chunks; c += SLICES) {
        let weight = weight_of(lse_place + c * params.part_lse_chunk, top);
        let values = load_chunk(position + c * params.part_chunk, vec);
        sum += select(weight * values, vec4f(), weight == 0.0);
      }
    }
    shared_sum[thread] = sum;
    workgroupBarrier();
    if (vec < OUT_VECS && thread < LANES) {
      for (var slice = 1u; slice < SLICES; slice++) { sum += shared_sum[slice * LANES + thread]; }
      let out_row = (query * params.groups + group) * params.heads + head;
      let normalizer = 1.0 / select(total, 1.0, total == 0.0);
      store_out(out_row * VALUE_DIM - params.out_base, vec, sum * normalizer);
    }
    workgroupBarrier();
  }
  if (thread == 0u) {
    let head_row = (batch * params.groups + group) * params.heads + head;
    store_lse(params.lse_offset + head_row * params.queries + query % params.queries, top, total);
  }
}
`;

const kernels = new Map<string, Kernel>();

const LOW_WORDS = (binding: number) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> part_low: array<f32>;
fn low_word(place: u32) -> f32 { return part_low[params.part_low_offset + place]; }
`;

const NO_LOW_WORDS = /* wgsl */ `
fn low_word(place: u32) -> f32 { return 0.0; }
`;

const STORE_LSE = (binding: number) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> lse: array<vec2u>;
fn store_lse(position: u32, m: f32, l: f32) { lse[position] = lse_words(m, l, min(params.rows, 1u)); }
`;

const NO_LSE = /* wgsl */ `
fn store_lse(position: u32, m: f32, l: f32) {}
`;

/** The kernel; bindings: chunks' outputs, chunks' lse, its low words if any, out, lse if it is wanted. */
export function mergeKernel(config: MergeConfig): Kernel {
  const id = JSON.stringify(config);
  let kernel = kernels.get(id);
  if (!kernel) kernels.set(id, kernel = buildKernel(config));
  return kernel;
}

function outVecs(valueDim: number): number {
  return Math.max(1, Math.ceil(valueDim / 4));
}

function buildKernel(config: MergeConfig): Kernel {
  const { valueDim, storage, output, aligned, lowWords, lse } = config;
  const vecs = outVecs(valueDim);
  const lanes = Math.min(vecs, THREADS);
  const outBinding = lowWords ? 3 : 2;
  const source = [
    MERGE_PARAMS.wgsl,
    `const THREADS = ${THREADS}u;\nconst OUT_VECS = ${vecs}u;\nconst VALUE_DIM = ${valueDim}u;\n`,
    `const LANES = ${lanes}u;\nconst SLICES = ${Math.floor(THREADS / lanes)}u;\n`,
    IS_NAN,
    declareDecoder(storage, ""),
    declareDecoder(output, "_out"),
    declareRows("chunk", storage, valueDim, vecs, aligned)(0),
    "@group(0) @binding(1) var<storage, read> part_lse: array<u32>;\n",
    lowWords ? LOW_WORDS(2) : NO_LOW_WORDS,
    declareOut(output, valueDim, vecs)(outBinding),
    lse ? STORE_LSE(outBinding + 1) : NO_LSE,
    LSE_WORDS,
    WORKGROUP_INDEX,
    BODY,
  ].join("");
  const read = ["read", "read", ...(lowWords ? ["read"] : [])];
  const bindings = [...read, "write", ...(lse ? ["write"] : [])] as Kernel["bindings"];
  return { label: "merge_attentions", source, bindings };
}
