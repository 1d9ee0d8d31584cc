/** WGSL for what happens to scores besides the product: bias, ALiBi, mask, dropout. Four keys at a time. */
import type { FloatDType } from "../../gpu/dtype.ts";
import { PHILOX } from "../../gpu/random/philox.ts";

/** A tensor bias: none, "may attend", or added. */
export type BiasKind = "none" | "bool" | FloatDType;

/**
 * A score that no row sees: the lowest number, since every other is one that a row may have. It is finite, as WGSL
 * promises nothing about infinities.
 */
export const HIDDEN = /* wgsl */ `
const HIDDEN = -3.4028234663852886e38;
`;

const ORIGIN = /* wgsl */ `
fn bias_origin(batch: u32, group: u32, head: u32) -> u32 {
  return params.bias_offset + batch * params.bias_batch + group * params.bias_group +
    head * params.bias_head;
}
`;

/**
 * -inf hides. The lowest number, which PyTorch's masks often hold, does not: it counts as LOWEST, the next one, so
 * that no visible score is HIDDEN. Both are told by the bits, which grow as a negative float falls: compilers turn
 * a comparison of floats into a maximum, and that would drop a NaN.
 */
const LOAD_ADDED = /* wgsl */ `
const LOWEST = -3.4028232635611926e38;
fn load_bias(position: u32) -> f32 {
  let bits = bias_bits(position);
  // Not &&, which is a branch: SwiftShader's compiler takes 15 times as long for the kernel with it.
  let is_low = (bits > bitcast<u32>(LOWEST)) & (bits < 0xff800000u);
  return select(select(bitcast<f32>(bits), LOWEST, is_low), HIDDEN, bits == 0xff800000u);
}
`;

const LOAD: Readonly<Record<Exclude<BiasKind, "none">, string>> = {
  f32: /* wgsl */ `
fn bias_bits(position: u32) -> u32 { return bias[position]; }
${LOAD_ADDED}`,
  f16: loadHalf(),
  bf16: loadHalf(),
  bool: /* wgsl */ `
fn load_bias(position: u32) -> f32 {
  return select(HIDDEN, 0.0, ((bias[position / 4u] >> (8u * (position % 4u))) & 1u) == 1u);
}
`,
};

function loadHalf(): string {
  return /* wgsl */ `
fn bias_bits(position: u32) -> u32 {
  let bits = (bias[position / 2u] >> (16u * (position % 2u))) & 0xffffu;
  return bitcast<u32>(decode_half_bias(vec4u(bits)).x);
}
${LOAD_ADDED}`;
}

/** `add_bias(scores, ...)`: four scores of one row with their biases. Halves need `decode_half_bias`. */
export function declareBias(kind: BiasKind): ((binding: number) => string) | undefined {
  if (kind === "none") return undefined;
  return (binding) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> bias: array<u32>;
${ORIGIN}${LOAD[kind]}
fn with_biases(scores: vec4f, positions: vec4u) -> vec4f {
  let all = vec4f(
    load_bias(positions.x), load_bias(positions.y), load_bias(positions.z), load_bias(positions.w),
  );
  return select(scores + all, vec4f(HIDDEN), all == vec4f(HIDDEN));
}
fn add_bias(scores: vec4f, row_origin: u32, tile: Tile, key: u32) -> vec4f {
  let rows = vec4u(
    key_row(tile, key), key_row(tile, key + 1u), key_row(tile, key + 2u), key_row(tile, key + 3u),
  );
  return with_biases(scores, row_origin + rows * params.bias_key);
}
`;
}

/**
 * `add_bias_of_rows(scores, first)`: the same for scores of four query rows with one key, of which the first
 * one's bias stands at a position.
 */
export const ADD_BIAS_OF_ROWS = /* wgsl */ `
fn add_bias_of_rows(scores: vec4f, first: u32) -> vec4f {
  return with_biases(scores, first + vec4u(0u, 1u, 2u, 3u) * params.bias_row);
}
`;

/** What stands for {@linkcode declareBias} where there is none. */
export const NO_BIAS = /* wgsl */ `
fn bias_origin(batch: u32, group: u32, head: u32) -> u32 { return 0u; }
fn add_bias(scores: vec4f, row_origin: u32, tile: Tile, key: u32) -> vec4f { return scores; }
`;

/** What stands for {@linkcode ADD_BIAS_OF_ROWS} where there is no bias. */
export const NO_BIAS_OF_ROWS = /* wgsl */ `
fn add_bias_of_rows(scores: vec4f, first: u32) -> vec4f { return scores; }
`;

/**
 * `alibi_slope(batch, group, head)` and `add_alibi(scores, slope, ...)`, after Press et al., "Train short,
 * test long" (2022, https://arxiv.org/abs/2108.12409): scores fall with the distance of the key from the
 * query, where both are aligned at their ends.
 */
export function declareAlibi(binding: number): string {
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> alibi: array<f32>;
fn alibi_slope(batch: u32, group: u32, head: u32) -> f32 {
  return alibi[params.alibi_offset + batch * params.alibi_batch + group * params.alibi_group +
    head * params.alibi_head];
}
${ADD_ALIBI}`;
}

/** The second function of {@linkcode declareAlibi} alone. */
export const ADD_ALIBI = /* wgsl */ `
fn add_alibi(scores: vec4f, slope: f32, tile: Tile, row: u32, key: u32) -> vec4f {
  let own = i32(row) + i32(tile.keys) - i32(tile.queries);
  let distances = abs(vec4i(own - i32(key)) - vec4i(0, 1, 2, 3));
  return scores - slope * vec4f(distances);
}
`;

/** What stands for {@linkcode declareAlibi} where there is none. */
export const NO_ALIBI = /* wgsl */ `
fn alibi_slope(batch: u32, group: u32, head: u32) -> f32 { return 0.0; }
fn add_alibi(scores: vec4f, slope: f32, tile: Tile, row: u32, key: u32) -> vec4f { return scores; }
`;

/** \`mask_scores(scores, key, range)\`: HIDDEN in place of scores of keys outside a row's range. */
export const MASK_SCORES = /* wgsl */ `
fn mask_scores(scores: vec4f, key: u32, range: vec2u) -> vec4f {
  let keys = key + vec4u(0u, 1u, 2u, 3u);
  return select(vec4f(HIDDEN), scores, (keys >= vec4u(range.x)) & (keys < vec4u(range.y)));
}
`;

/**
 * `dropped(block, head_index, row, key)`: bit e says whether the weight of key + e is dropped, for a key
 * that is a multiple of 4. A pure function of the seed and of places in the block, so that it is the same
 * in every kernel, whatever its tiles.
 */
export const DROPOUT = /* wgsl */ `
${PHILOX}
fn dropped(block: u32, head_index: u32, row: u32, key: u32) -> u32 {
  let words = philox(
    vec4u(key / 4u, row, head_index, block),
    vec2u(params.seed_low, params.seed_high),
  );
  let bits = select(vec4u(), vec4u(1u, 2u, 4u, 8u), words <= vec4u(params.drop_limit));
  return bits.x | bits.y | bits.z | bits.w;
}
`;

/** What stands for {@linkcode DROPOUT} where there is none. */
export const NO_DROPOUT = /* wgsl */ `
fn dropped(block: u32, head_index: u32, row: u32, key: u32) -> u32 { return 0u; }
`;

/**
 * `weights_of(scores, lse)`, where the log-sum-exp is known; each is still to be multiplied by its row's factor, see
 * `_backward.ts`. A hidden key has weight 0, even if lse is NaN.
 */
export const WEIGHTS_OF = /* wgsl */ `
fn weights_of(scores: vec4f, lse: vec4f) -> vec4f {
  return select(exp(scores - lse), vec4f(), scores == vec4f(HIDDEN));
}
`;

/** `keep_weights(weights, bits)`: 0 in place of dropped weights. */
export const KEEP_WEIGHTS = /* wgsl */ `
fn keep_weights(weights: vec4f, bits: u32) -> vec4f {
  return select(weights, vec4f(), (vec4u(bits) & vec4u(1u, 2u, 4u, 8u)) != vec4u());
}
`;
