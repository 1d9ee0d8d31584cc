/** WGSL that the flash kernels are put together from: how they read, write, and join what lanes hold. */

/** `load_bias(row_bias, key)`: what is added to a score; HIDDEN where the query may not attend. */
export const LOAD_BIAS = {
  none: /* wgsl */ `
const HAS_BIAS = false;
fn bias_origin_of(batch: u32, group: u32, head: u32) -> u32 { return 0u; }
fn load_bias(row_bias: u32, key: u32) -> f32 { return 0.0; }
`,
  // -inf hides. Any other bias below LOWEST counts as LOWEST, so that no visible score is HIDDEN. Both
  // are told by the bits, which grow as a negative float falls: compilers turn a comparison of floats
  // into a maximum, and that would drop a NaN.
  added: /* wgsl */ `
const HAS_BIAS = true;
const LOWEST = -2.2e38;
fn load_bias(row_bias: u32, key: u32) -> f32 {
  let bits = bias[row_bias + key * params.bias_key];
  let is_low = bits > bitcast<u32>(LOWEST) && bits < 0xff800000u;
  return select(select(bitcast<f32>(bits), LOWEST, is_low), HIDDEN, bits == 0xff800000u);
}
`,
  bool: /* wgsl */ `
const HAS_BIAS = true;
fn load_bias(row_bias: u32, key: u32) -> f32 {
  let position = row_bias + key * params.bias_key;
  return select(HIDDEN, 0.0, ((bias[position / 4u] >> (8u * (position % 4u))) & 1u) == 1u);
}
`,
};

/** `bias_origin_of(batch, group, head)`: where a head's biases begin. */
export const BIAS_ORIGIN = /* wgsl */ `
fn bias_origin_of(batch: u32, group: u32, head: u32) -> u32 {
  return params.bias_offset + batch * params.bias_batch + group * params.bias_group +
    head * params.bias_head;
}
`;

/** `load_<name>(position, part)`: the part-th vec4 of the row that starts at a position. */
export function declareRows(
  name: string,
  binding: number,
  dim: number,
  vecs: number,
  aligned: boolean,
): string {
  if (aligned) {
    const guard = vecs * 4 > dim ? `if (part >= ${dim / 4}u) { return vec4f(); }` : "";
    return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> ${name}: array<vec4f>;
fn load_${name}(position: u32, part: u32) -> vec4f {
  ${guard}
  return ${name}[position / 4u + part];
}
`;
  }
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> ${name}: array<f32>;
fn load_${name}(position: u32, part: u32) -> vec4f {
  var vec = vec4f();
  for (var e = 0u; e < 4u; e++) {
    let d = 4u * part + e;
    if (d < ${dim}u) { vec[e] = ${name}[position + d * params.${name}_step]; }
  }
  return vec;
}
`;
}

/** `store_out(row, part, vec)`: the part-th vec4 of a dense output row. */
export function declareOut(binding: number, dim: number, vecs: number): string {
  if (dim % 4 === 0) {
    const guard = vecs * 4 > dim ? `if (part >= ${dim / 4}u) { return; }` : "";
    return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> out: array<vec4f>;
fn store_out(row: u32, part: u32, vec: vec4f) {
  ${guard}
  out[row * ${dim / 4}u + part] = vec;
}
`;
  }
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> out: array<f32>;
fn store_out(row: u32, part: u32, vec: vec4f) {
  for (var e = 0u; e < 4u; e++) {
    let d = 4u * part + e;
    if (d < ${dim}u) { out[row * ${dim}u + d] = vec[e]; }
  }
}
`;
}

/** The sum of what neighbouring lanes hold, by a butterfly of shuffles. */
export function sumOverLanes(lanes: number): string {
  let steps = "";
  for (let distance = 1; distance < lanes; distance *= 2) {
    steps += `  sum += subgroupShuffleXor(sum, ${distance}u);\n`;
  }
  return `fn sum_over_lanes(value: vec4f) -> vec4f {\n  var sum = value;\n${steps}  return sum;\n}\n`;
}
