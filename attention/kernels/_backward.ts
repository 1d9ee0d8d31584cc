/**
 * What the backward kernels have in common: configuration, statistics of rows, assembly. With P the weights, Z
 * the factors of dropout (all 1 without it), D = rowsum(dO o O):
 *
 *     P = exp(S - lse)    dV = (P Z)^T dO    dS = P o (dO V^T Z - D)    dQ = scale dS K    dK = scale dS^T Q
 *
 * Scores and lse are rounded, the more the farther they are from zero: at 1e7 exp(S - lse) may be off by more than
 * its own size, by one factor for all keys of a row. So each row has a factor that its weights are to be multiplied
 * by; dO and D are instead, once a row, since weights stand beside them everywhere. Where lse is that of these keys,
 * the factor is 1 / rowsum(exp(S - lse)): the kernel of dQ, which meets all keys of a row, adds them up on the way,
 * and goes first. All kernels add the products of a score in one order, over as many lanes, so that it has the same
 * bits in each.
 *
 * Scores are computed again, tile by tile, so that nothing of size Mq x Mkv is stored (Dao et al.,
 * "FlashAttention", 2022, https://arxiv.org/abs/2205.14135). Every output element is summed by one thread, in
 * one order: reruns are bit-identical.
 */
import type { FloatDType } from "../../gpu/dtype.ts";
import { type Kernel, WORKGROUP_INDEX } from "../../gpu/runtime/kernels.ts";
import { unroll } from "../../gpu/runtime/unroll.ts";
import { VISIBLE_KEYS, VISIBLE_QUERIES } from "../masks/window.ts";
import {
  ADD_DOT,
  type AttentionKernelConfig,
  declareConstants,
  declareFour,
  declareInputs,
  declareTable,
  declareTerms,
  partsPerLane,
  sharingOf,
  tileConstants,
} from "./_kernel.ts";
import { KEY_TILES, type KeyTileSource } from "./_key_tiles.ts";
import { shareRows } from "./_lanes.ts";
import { BACKWARD_PARAMS } from "./_params.ts";
import { declareDecoder, declareOut, declareRows } from "./_rows.ts";
import {
  ADD_ALIBI,
  ADD_BIAS_OF_ROWS,
  declareBias,
  DROPOUT,
  KEEP_WEIGHTS,
  MASK_SCORES,
  NO_ALIBI,
  NO_BIAS,
  NO_BIAS_OF_ROWS,
  NO_DROPOUT,
  WEIGHTS_OF,
} from "./_scores.ts";
import { KEYS_OF_ROW, TILES, type TileSource } from "./_tiles.ts";

/** Everything that is compiled into a backward kernel. */
export interface BackwardKernelConfig extends
  Pick<
    AttentionKernelConfig,
    | "headDim"
    | "valueDim"
    | "lanes"
    | "rows"
    | "threads"
    | "tile"
    | "staged"
    | "laneStride"
    | "wholeApart"
    | "sumsApart"
    | "storage"
    | "output"
    | "bias"
    | "alibi"
    | "dropout"
  > {
  /** Element type of the output's gradient. */
  readonly gradStorage: FloatDType;
  /** Which inputs can be read as vec4. */
  readonly aligned: Readonly<Record<"query" | "key" | "value" | "grad", boolean>>;
  /** How workgroups find their rows. */
  readonly tileSource: TileSource;
}

/** What a kernel writes: WGSL at a binding. */
export type OutputDeclaration = (binding: number) => string;

/** Words of a row's statistics: log-sum-exp, D times its factor, the factor, and with ALiBi the slope of its head. */
export function statsWords({ alibi }: { readonly alibi: boolean }): number {
  return alibi ? 4 : 3;
}

/** Statistics of a row, which stand in the table behind the tiles. */
const STATS = /* wgsl */ `
fn stats_row(batch: u32, head_index: u32, query: u32) -> u32 {
  return (batch * params.groups * params.heads + head_index) * params.queries + query;
}
fn stats_position(batch: u32, head_index: u32, query: u32) -> u32 {
  return params.stats_offset + STATS_WORDS * stats_row(batch, head_index, query);
}
fn row_stats(position: u32) -> vec2f {
  return bitcast<vec2f>(vec2u(table[position], table[position + 1u]));
}
fn row_factor(position: u32) -> f32 { return bitcast<f32>(table[position + 2u]); }
`;

/** The output of kernels that find the factors of rows. */
export function declareFactors(binding: number): string {
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> factors: array<f32>;
fn store_factor(row: u32, factor: f32) { factors[row] = factor; }
`;
}

const STATS_SLOPE = /* wgsl */ `
fn alibi_slope(batch: u32, group: u32, head: u32) -> f32 {
  return bitcast<f32>(table[stats_position(batch, group * params.heads + head, 0u) + 3u]);
}
`;

const kernels = new Map<string, Kernel>();

/**
 * Puts a backward kernel together, once for each configuration.
 *
 * Bindings: query, key, value, grad, table, bias if there is one, outputs. At most 8.
 *
 * @param label What the kernel is called.
 * @param config What is compiled in.
 * @param parts Further constants of the body, all u32; where its tiles are from; its outputs; the body.
 */
export function backwardKernel(
  label: string,
  config: BackwardKernelConfig,
  parts: {
    readonly constants: Readonly<Record<string, number>>;
    readonly major: "query" | "key";
    readonly outputs: readonly OutputDeclaration[];
    readonly body: string;
  },
): Kernel {
  const id = label + JSON.stringify([config, parts.constants]);
  let kernel = kernels.get(id);
  if (!kernel) kernels.set(id, kernel = buildKernel(label, config, parts));
  return kernel;
}

function buildKernel(
  label: string,
  config: BackwardKernelConfig,
  { constants, major, outputs, body }: Parameters<typeof backwardKernel>[2],
): Kernel {
  const { valueDim, lanes, storage, gradStorage, output, aligned } = config;
  const all = { ...tileConstants(config), STATS_WORDS: statsWords(config), ...constants };
  const bias = declareBias(config.bias);
  const gradVecs = partsPerLane(config).vParts * lanes;
  const inputs = [
    ...declareInputs(config),
    declareRows("grad", gradStorage, valueDim, gradVecs, aligned.grad, { suffix: "_grad" }),
    (binding: number) => declareTable(binding),
    ...(bias ? [bias] : []),
  ];
  const source = [
    BACKWARD_PARAMS.wgsl,
    declareConstants(all),
    declareFour({}),
    declareTerms(config),
    declareDecoder(storage, ""),
    declareDecoder(gradStorage, "_grad"),
    declareDecoder(output, "_out"),
    major === "query" ? TILES[config.tileSource] : KEY_TILES[keyTileSource(config.tileSource)],
    major === "query" ? VISIBLE_KEYS + KEYS_OF_ROW : VISIBLE_QUERIES,
    shareRows(sharingOf(config)),
    ADD_DOT,
    ...[...inputs, ...outputs].map((declare, binding) => declare(binding)),
    STATS,
    bias ? ADD_BIAS_OF_ROWS : NO_BIAS + NO_BIAS_OF_ROWS,
    config.alibi ? STATS_SLOPE + ADD_ALIBI : NO_ALIBI,
    MASK_SCORES,
    WEIGHTS_OF,
    config.dropout ? DROPOUT : NO_DROPOUT,
    KEEP_WEIGHTS,
    WORKGROUP_INDEX,
    body,
  ].join("");
  return {
    label,
    source: unroll(source, all),
    subgroups: lanes > 1,
    bindings: [...inputs.map(() => "read" as const), ...outputs.map(() => "write" as const)],
  };
}

function keyTileSource(source: TileSource): KeyTileSource {
  return source === "computed" ? "computed" : "listed";
}

/** Rows of one of the outputs, `store_<name>(position, part, vec)`. */
export function gradientRows(
  name: string,
  { output, lanes, ...dims }: BackwardKernelConfig,
  which: "headDim" | "valueDim",
): OutputDeclaration {
  const dim = dims[which];
  const { kParts, vParts } = partsPerLane({ ...dims, lanes });
  return declareOut(output, dim, (which === "headDim" ? kParts : vParts) * lanes, name);
}
