/**
 * What backward kernels need to know of each row, besides its query and the gradient of its output:
 *
 *     lse; 0 for a row without keys, all of whose scores are hidden
 *     D = rowsum(dO o O) - dLse = sum over keys of P o dP, less the gradient of the log-sum-exp if there is one
 *     the slope of its head, with ALiBi
 *
 * LANES threads share a row. Time O(B H Mq Kv), memory O(B H Mq).
 */
import type { FloatDType } from "../../gpu/dtype.ts";
import { type Kernel, MAIN, WORKGROUP_INDEX } from "../../gpu/runtime/kernels.ts";
import { STATS_PARAMS } from "./_params.ts";
import { declareDecoder, declareRows } from "./_rows.ts";
import { statsWords } from "./_backward.ts";

/** What is compiled in. */
export interface RowStatsConfig {
  /** Kv. */
  readonly valueDim: number;
  /** Element type of the output's gradient. */
  readonly gradStorage: FloatDType;
  /** Element type of the output. */
  readonly outputStorage: FloatDType;
  /** Which of the two can be read as vec4. */
  readonly aligned: Readonly<Record<"grad" | "output", boolean>>;
  /** Whether to take what the rounding of lse left out, which stands beside it, for the factor of the row's weights. */
  readonly lowWords: boolean;
  /** Whether scores fall with distance. */
  readonly alibi: boolean;
  /** Whether the log-sum-exp has a gradient. */
  readonly lseGradient: boolean;
}

const THREADS = 64;
const LANES = 8;

/** Rows of one workgroup. */
export const STATS_BLOCK_ROWS: number = THREADS / LANES;

const BODY = /* wgsl */ `
var<workgroup> partial: array<f32, THREADS>;

${MAIN}
  let number = workgroup_index(workgroup, workgroups) * (THREADS / LANES) + thread / LANES;
  let row = min(number, params.rows - 1u);
  let query = row % params.queries;
  let head = row / params.queries % params.heads;
  let group = row / params.queries / params.heads % params.groups;
  let batch = row / params.queries / params.heads / params.groups;
  let grad_position = params.grad_offset + batch * params.grad_batch + query * params.grad_row +
    group * params.grad_group + head * params.grad_head;
  let output_position = params.output_offset + batch * params.output_batch +
    query * params.output_row + group * params.output_group + head * params.output_head;

  var sum = 0.0;
  for (var part = thread % LANES; part < VALUE_VECS; part += LANES) {
    sum += dot(load_grad(grad_position, part), load_output(output_position, part));
  }
  partial[thread] = sum;
  workgroupBarrier();
  if (thread % LANES != 0u || number >= params.rows) { return; }
  for (var lane = 1u; lane < LANES; lane++) { sum += partial[thread + lane]; }
  sum -= lse_gradient(batch, group, head, query);

  let lse_position = params.lse_offset + batch * params.lse_batch + group * params.lse_group +
    head * params.lse_head + query * params.lse_row;
  let bits = lse[lse_position];
  let at = params.stats_offset + row * STATS_WORDS;
  table[at] = select(bits, 0u, bits == 0xff800000u);
  var factor = 1.0;
  if (HAS_LOW_WORDS) { factor = exp(-bitcast<f32>(lse[lse_position + 1u])); }
  table[at + 1u] = bitcast<u32>(sum * factor);
  table[at + 2u] = bitcast<u32>(factor);
  store_slope(at + 3u, batch, group, head);
}
`;

const LSE_GRADIENT = (binding: number) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> lse_grad: array<f32>;
fn lse_gradient(batch: u32, group: u32, head: u32, query: u32) -> f32 {
  return lse_grad[params.lse_grad_offset + batch * params.lse_grad_batch +
    group * params.lse_grad_group + head * params.lse_grad_head + query * params.lse_grad_row];
}
`;

const NO_LSE_GRADIENT = /* wgsl */ `
fn lse_gradient(batch: u32, group: u32, head: u32, query: u32) -> f32 { return 0.0; }
`;

const SLOPE = (binding: number) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> alibi: array<f32>;
fn store_slope(at: u32, batch: u32, group: u32, head: u32) {
  table[at] = bitcast<u32>(alibi[params.alibi_offset + batch * params.alibi_batch +
    group * params.alibi_group + head * params.alibi_head]);
}
`;

const NO_SLOPE = /* wgsl */ `
fn store_slope(at: u32, batch: u32, group: u32, head: u32) {}
`;

const kernels = new Map<string, Kernel>();

/** The kernel; bindings: grad, output, lse, the gradient of lse if any, slopes if any, table. */
export function rowStatsKernel(config: RowStatsConfig): Kernel {
  const id = JSON.stringify(config);
  let kernel = kernels.get(id);
  if (!kernel) kernels.set(id, kernel = buildKernel(config));
  return kernel;
}

function buildKernel(config: RowStatsConfig): Kernel {
  const { valueDim, gradStorage, outputStorage, aligned, lowWords, alibi, lseGradient } = config;
  const vecs = Math.ceil(valueDim / 4);
  const declarations: ((binding: number) => string)[] = [
    declareRows("grad", gradStorage, valueDim, vecs, aligned.grad, { suffix: "_grad" }),
    declareRows("output", outputStorage, valueDim, vecs, aligned.output),
    (binding) => `@group(0) @binding(${binding}) var<storage, read> lse: array<u32>;\n`,
    ...(lseGradient ? [LSE_GRADIENT] : []),
    ...(alibi ? [SLOPE] : []),
    (binding) => `@group(0) @binding(${binding}) var<storage, read_write> table: array<u32>;\n`,
  ];
  const source = [
    STATS_PARAMS.wgsl,
    `const THREADS = ${THREADS}u;\nconst LANES = ${LANES}u;\nconst VALUE_VECS = ${vecs}u;\n`,
    `const STATS_WORDS = ${statsWords(config)}u;\n`,
    `const HAS_LOW_WORDS = ${lowWords};\n`,
    declareDecoder(gradStorage, "_grad"),
    declareDecoder(outputStorage, ""),
    ...declarations.map((declare, binding) => declare(binding)),
    lseGradient ? "" : NO_LSE_GRADIENT,
    alibi ? "" : NO_SLOPE,
    WORKGROUP_INDEX,
    BODY,
  ].join("");
  const bindings = declarations.map((_, i) => i + 1 < declarations.length ? "read" : "write");
  return { label: "row_stats", source, bindings: bindings as Kernel["bindings"] };
}
