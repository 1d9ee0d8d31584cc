/** What the attention kernels have in common: what is compiled in, their parameters, their assembly. */
import type { FloatDType } from "../../gpu/dtype.ts";
import { type Kernel, WORKGROUP_INDEX } from "../../gpu/runtime/kernels.ts";
import { IS_NAN } from "../../gpu/ops/accessors.ts";
import { unroll } from "../../gpu/runtime/unroll.ts";
import { VISIBLE_KEYS } from "../masks/window.ts";
import { shareRows, type Sharing, sharingConstants } from "./_lanes.ts";
import { ATTENTION_PARAMS } from "./_params.ts";
import { declareDecoder, declareOut, declareRows } from "./_rows.ts";
import {
  type BiasKind,
  declareAlibi,
  declareBias,
  DROPOUT,
  HIDDEN,
  KEEP_WEIGHTS,
  MASK_SCORES,
  NO_ALIBI,
  NO_BIAS,
  NO_DROPOUT,
} from "./_scores.ts";
import { KEYS_OF_ROW, TILES, type TileSource } from "./_tiles.ts";

/** How a kernel splits its work: changes speed, and results only by rounding. */
export interface Tiles {
  /** Threads that share rows; a power of two, at most the subgroup size. */
  readonly lanes: number;
  /** Rows that they share; a power of two. */
  readonly rows: number;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Keys that a row takes at a time, a multiple of 4. */
  readonly tile: number;
  /** Keys that are staged in workgroup memory at a time, a multiple of `tile`; default one tile. */
  readonly staged?: number;
  /** Threads from one lane of a group to the next, see `_lanes.ts`; default 1. */
  readonly laneStride?: number;
  /** Whether tiles of which nothing is hidden have code of their own, see `eachTile()`. Default `false`. */
  readonly wholeApart?: boolean;
  /** Whether sums of weights are in workgroup memory, see `weightSums()`. Default `false`. */
  readonly sumsApart?: boolean;
}

/** What decides how much a thread holds. */
export interface TiledDims extends Tiles {
  /** K. */
  readonly headDim: number;
  /** Kv. */
  readonly valueDim: number;
}

/** Everything that is compiled into an attention kernel; sizes, strides and windows are not. */
export interface AttentionKernelConfig extends TiledDims {
  /** Element type of query, key and value. */
  readonly storage: FloatDType;
  /** Whether products are taken, and a few of them summed, in f16, which shaders must have. Default `false`. */
  readonly halfProducts?: boolean;
  /** Element type of the output. */
  readonly output: FloatDType;
  /** Which inputs can be read as vec4: dense in their last axis, all else a multiple of 4. */
  readonly aligned: { readonly query: boolean; readonly key: boolean; readonly value: boolean };
  /** How workgroups find their rows, and keys. */
  readonly tileSource: TileSource;
  /** A tensor bias. */
  readonly bias: BiasKind;
  /** Whether scores fall with distance. */
  readonly alibi: boolean;
  /** Whether weights are dropped. */
  readonly dropout: boolean;
  /** Whether to write the log-sum-exp. */
  readonly lse: boolean;
}

const LSE = {
  none: /* wgsl */ `
fn store_lse(position: u32, m: f32, l: f32) {}
`,
  declare: (binding: number) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> lse: array<vec2u>;
fn store_lse(position: u32, m: f32, l: f32) { lse[position] = lse_words(m, l, min(params.jobs, 1u)); }
`,
};

/** Where rows of the outputs lie, and what a row's sum must be. */
const OUTPUTS = /* wgsl */ `
fn out_position(tile: Tile, group: u32, head: u32, row: u32) -> u32 {
  let query = tile.batch * params.queries + tile.query_begin + row;
  return ((query * params.groups + group) * params.heads + head) * VALUE_DIM - params.out_base;
}
fn lse_position(tile: Tile, group: u32, head: u32, row: u32) -> u32 {
  return params.lse_offset + tile.batch * params.lse_batch +
    (tile.query_begin + row) * params.lse_row + (group * params.heads + head) * params.lse_head;
}
// A row's sum of weights, none of which is above 1, is finite unless a score was not. Then it is NaN here:
// drivers differ in what their exp2 makes of NaN, and maxima may drop one.
fn checked_sum(l: f32) -> f32 {
  let bits = bitcast<u32>(l);
  return bitcast<f32>(select(bits, 0x7fc00000u, (bits & 0x7f800000u) == 0x7f800000u));
}
`;

/**
 * `lse_words(m, l, one)`: the maximum m of a row and the sum l of exponentials relative to it, checked, as bits of
 * m + log(l), rounded to f32, and of what the rounding left out. Far from zero the first word alone has lost the
 * logarithm: weights would be off by its last place. -inf has no literal in WGSL.
 *
 * `one` is 1, but not to compilers: fast mathematics would make (m + x) - m an x, and the second word 0.
 */
export const LSE_WORDS = /* wgsl */ `
fn lse_words(m: f32, l: f32, one: u32) -> vec2u {
  if (l == 0.0) { return vec2u(0xff800000u, 0u); }
  if (is_nan(l)) { return vec2u(bitcast<u32>(l), 0u); }
  let log_l = log(l);
  let high = bitcast<f32>(bitcast<u32>(m + log_l) * one);
  let is_sum_less = abs(log_l) <= abs(m);
  let low = (select(log_l, m, is_sum_less) - high) + select(m, log_l, is_sum_less);
  return bitcast<vec2u>(vec2f(high, low));
}
`;

/** vec4s that each lane holds of a query row and of an output row. */
export function partsPerLane(
  { headDim, valueDim, lanes }: TiledDims,
): { kParts: number; vParts: number } {
  const perLane = (dim: number) => Math.max(1, Math.ceil(dim / 4 / lanes));
  return { kParts: perLane(headDim), vParts: perLane(valueDim) };
}

/** A binding of a kernel: how it is declared, and whether it is written. */
interface Binding {
  readonly access: "read" | "write";
  readonly declare: (binding: number) => string;
}

const kernels = new Map<string, Kernel>();

/**
 * Puts a kernel together, once for each configuration.
 *
 * Bindings, where they are there: query, key, value, bias, alibi, table, out, lse.
 *
 * @param label What the kernel is called.
 * @param config What is compiled in.
 * @param constants Further constants of the body, all u32.
 * @param body The kernel itself: plain WGSL with marked loops; the same for all kernels of a label.
 */
export function attentionKernel(
  label: string,
  config: AttentionKernelConfig,
  constants: Readonly<Record<string, number>>,
  body: string,
): Kernel {
  const id = label + JSON.stringify(config);
  let kernel = kernels.get(id);
  if (!kernel) kernels.set(id, kernel = buildKernel(label, config, constants, body));
  return kernel;
}

function buildKernel(
  label: string,
  config: AttentionKernelConfig,
  constants: Readonly<Record<string, number>>,
  body: string,
): Kernel {
  const { valueDim, lanes, storage, output } = config;
  const all = { ...tileConstants(config), VALUE_DIM: valueDim, ...constants };
  const bias = declareBias(config.bias);
  const read = (declare: Binding["declare"]): Binding => ({ access: "read", declare });
  const write = (declare: Binding["declare"]): Binding => ({ access: "write", declare });
  const bindings: Binding[] = [
    ...declareInputs(config).map(read),
    ...(bias ? [read(bias)] : []),
    ...(config.alibi ? [read(declareAlibi)] : []),
    ...(config.tileSource === "computed" ? [] : [read((binding) => declareTable(binding))]),
    write(declareOut(output, valueDim, partsPerLane(config).vParts * lanes)),
    ...(config.lse ? [write(LSE.declare)] : []),
  ];
  const source = [
    enableHalves(config),
    ATTENTION_PARAMS.wgsl,
    declareConstants(all),
    declareFour(config),
    declareTerms(config),
    declareDecoder(storage, ""),
    declareDecoder(output, "_out"),
    TILES[config.tileSource],
    VISIBLE_KEYS,
    KEYS_OF_ROW,
    shareRows(sharingOf(config)),
    ADD_DOT,
    ...bindings.map(({ declare }, binding) => declare(binding)),
    bias ? "" : NO_BIAS,
    config.alibi ? "" : NO_ALIBI,
    MASK_SCORES,
    config.dropout ? DROPOUT : NO_DROPOUT,
    KEEP_WEIGHTS,
    config.lse ? "" : LSE.none,
    IS_NAN,
    LSE_WORDS,
    OUTPUTS,
    WORKGROUP_INDEX,
    body,
  ].join("");
  return {
    label,
    source: unroll(source, all),
    subgroups: lanes > 1,
    bindings: bindings.map(({ access }) => access),
  };
}

/** The line before everything else that shaders with the type f16 need. */
function enableHalves({ halfProducts = false }: AttentionKernelConfig): string {
  return halfProducts ? "enable f16;\n" : "";
}

/** `Four`: four elements of a row as kernels hold and stage them. */
export function declareFour({ halfProducts = false }: { readonly halfProducts?: boolean }): string {
  return `alias Four = ${halfProducts ? "vec4<f16>" : "vec4f"};\n`;
}

/** What kernels look up: tiles, and what belongs to them. */
export function declareTable(binding: number, access: "read" | "read_write" = "read"): string {
  return `@group(0) @binding(${binding}) var<storage, ${access}> table: array<u32>;\n`;
}

/** Rows, of keys or of queries, that are staged in workgroup memory at a time. */
export function stagedKeys({ tile, staged = tile }: Tiles): number {
  return staged;
}

/** Bytes of workgroup memory that staged rows of both kinds take. */
export function stagedBytes(config: TiledDims): number {
  const { kParts, vParts } = partsPerLane(config);
  return stagedKeys(config) * (kParts + vParts) * config.lanes * 16;
}

/** How threads share rows. */
export function sharingOf({ lanes, rows, laneStride = 1 }: Tiles): Sharing {
  return { lanes, rows, laneStride };
}

/**
 * `add_dot(sum, a, b)`: the sum with the products added one by one, so that each is one fused multiply-add;
 * a product by `dot()` costs an addition more.
 */
export const ADD_DOT = /* wgsl */ `
fn add_dot(sum: f32, a: vec4f, b: vec4f) -> f32 {
  return (((sum + a.x * b.x) + a.y * b.y) + a.z * b.z) + a.w * b.w;
}
`;

/** How the work is split, as constants of the body. */
export function tileConstants(config: TiledDims): Record<string, number> {
  const { threads, tile } = config;
  const { kParts, vParts } = partsPerLane(config);
  return {
    ...sharingConstants(sharingOf(config)),
    THREADS: threads,
    TILE: tile,
    TILE_VECS: tile / 4,
    STAGED: stagedKeys(config),
    K_PARTS: kParts,
    V_PARTS: vParts,
  };
}

/** WGSL of constants, all u32. */
export function declareConstants(constants: Readonly<Record<string, number>>): string {
  return Object.entries(constants).map(([name, value]) => `const ${name} = ${value}u;\n`).join("");
}

/** What is done to scores: which terms there are, and how a bias is decoded. */
export function declareTerms(
  { bias, alibi, dropout }: Pick<AttentionKernelConfig, "bias" | "alibi" | "dropout">,
): string {
  return [
    `const HAS_BIAS = ${bias !== "none"};\nconst HAS_ALIBI = ${alibi};\n`,
    `const HAS_DROPOUT = ${dropout};\n`,
    HIDDEN,
    bias === "f16" || bias === "bf16" ? declareDecoder(bias, "_bias") : "",
  ].join("");
}

/** Query, key and value, in the order of their bindings. */
export function declareInputs(
  config: TiledDims & Pick<AttentionKernelConfig, "storage" | "aligned" | "halfProducts">,
): ((binding: number) => string)[] {
  const { headDim, valueDim, lanes, storage, aligned, halfProducts = false } = config;
  const { kParts, vParts } = partsPerLane(config);
  return [
    declareRows("query", storage, headDim, kParts * lanes, aligned.query, {
      nativeHalves: halfProducts,
    }),
    declareRows("key", storage, headDim, kParts * lanes, aligned.key, {
      nativeHalves: halfProducts,
    }),
    declareRows("value", storage, valueDim, vParts * lanes, aligned.value, {
      nativeHalves: halfProducts,
    }),
  ];
}
