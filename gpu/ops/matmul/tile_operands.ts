/**
 * How the tiled matrix product reads an operand: in blocks of 4 lines by 4 k. A block is a `mat4x4f` whose
 * columns are four neighbouring k, each with its four lines, as workgroup memory wants it, wherever the
 * operand is dense. Where four neighbours can be read at once, they are.
 */
import { type FloatDType, isHalf } from "../../dtype.ts";
import { declareElements, type MatmulOperand } from "./problem.ts";

/**
 * How four neighbours are read: at once along k, at once across lines, or, for any strides, one by one.
 */
export type Reading = "vec_k" | "vec_lines" | "elements";

/** Elements that one index stands for. */
export function unitOf(reading: Reading): number {
  return reading === "elements" ? 1 : 4;
}

/** The fastest way to read an operand of `k` elements along k. */
export function readingOf(operand: MatmulOperand, k: number, dtype: FloatDType): Reading {
  const { binding, offset, line, step, batchStrides } = operand;
  const isAligned = (strides: number[]) =>
    [offset, ...strides, ...batchStrides].every((value) => value % 4 === 0);
  // A window on a large storage may end within a vec4; whole storages do not.
  const size = "storage" in binding ? binding.size : binding.buffer.size;
  if (size % (isHalf(dtype) ? 8 : 16) !== 0) return "elements";
  // Beyond the last line nothing counts, beyond the last k all must be zero.
  if (step === 1 && k % 4 === 0 && isAligned([line])) return "vec_k";
  if (line === 1 && isAligned([step])) return "vec_lines";
  return "elements";
}

/**
 * Declares operand `a` or `b` and two functions:
 *
 * - `fetch_<name>(origin, line, k, k_end)`: the block of lines from `line` on and of k from `k` on, both multiples
 *   of 4. It is zero from `k_end` on; beyond the last line it is anything.
 * - `place_<name>(i)`: lines and k of the `i`-th block of a tile, in blocks. Neighbouring threads take
 *   neighbouring memory. Along k only two, and four across lines, so that the eight vec4s that they write at
 *   once, see `swizzled`, fall into different banks.
 *
 * @param lines WGSL for the number of lines.
 * @param lineBlocks WGSL for the tile's lines, in blocks.
 */
export function declareBlocks(
  { name, binding, dtype, reading, lines, lineBlocks }: {
    readonly name: "a" | "b";
    readonly binding: number;
    readonly dtype: FloatDType;
    readonly reading: Reading;
    readonly lines: string;
    readonly lineBlocks: string;
  },
): string {
  const isDenseInK = reading === "elements"
    ? `params.${name}_dense_in_k != 0u`
    : `${reading === "vec_k"}`;
  return [
    reading === "elements"
      ? declareElements(name, binding, dtype) + FOUR.replaceAll("NAME", name)
      : declareVecs(name, binding, dtype),
    `fn fetch_${name}(origin: u32, line: u32, k: u32, k_end: u32) -> mat4x4f {`,
    FETCH[reading].replaceAll("NAME", name).replaceAll("LINES", lines),
    "}\n",
    PLACE.replaceAll("NAME", name).replaceAll("LINE_BLOCKS", lineBlocks)
      .replaceAll("DENSE_IN_K", isDenseInK),
  ].join("");
}

const FOUR = /* wgsl */ `
fn four_NAME(at: vec4u) -> vec4f {
  return vec4f(load_NAME(at.x), load_NAME(at.y), load_NAME(at.z), load_NAME(at.w));
}
`;

const PLACE = /* wgsl */ `
fn place_NAME(i: u32) -> vec2u {
  let along = vec2u(i / 2u % 4u + i / (4u * K_BLOCKS) * 4u, i % 2u + i / 8u % (K_BLOCKS / 2u) * 2u);
  return select(vec2u(i % LINE_BLOCKS, i / LINE_BLOCKS), along, DENSE_IN_K);
}
`;

/** Bodies of `fetch_<name>`. An index counts vec4s where these are read, so do offsets and strides then. */
const FETCH: Readonly<Record<Reading, string>> = {
  vec_k: /* wgsl */ `
  var block = mat4x4f();
  if (k < k_end) {
    let at = vec4u(origin + k / 4u) +
      min(vec4u(line) + vec4u(0u, 1u, 2u, 3u), vec4u(LINES - 1u)) * params.NAME_line;
    block = mat4x4f(load_NAME(at.x), load_NAME(at.y), load_NAME(at.z), load_NAME(at.w));
  }
  return transpose(block);
`,
  vec_lines: /* wgsl */ `
  let at = origin + min(line, LINES - 1u) / 4u + k * params.NAME_step;
  var block = mat4x4f();
  if (k < k_end) { block[0] = load_NAME(at); }
  if (k + 1u < k_end) { block[1] = load_NAME(at + params.NAME_step); }
  if (k + 2u < k_end) { block[2] = load_NAME(at + 2u * params.NAME_step); }
  if (k + 3u < k_end) { block[3] = load_NAME(at + 3u * params.NAME_step); }
  return block;
`,
  elements: /* wgsl */ `
  let at = vec4u(origin) +
    min(vec4u(line) + vec4u(0u, 1u, 2u, 3u), vec4u(LINES - 1u)) * params.NAME_line;
  let by_k = vec4u(k, k + 1u, k + 2u, k + 3u) * params.NAME_step;
  var block = mat4x4f();
  if (k < k_end) { block[0] = four_NAME(at + by_k.x); }
  if (k + 1u < k_end) { block[1] = four_NAME(at + by_k.y); }
  if (k + 2u < k_end) { block[2] = four_NAME(at + by_k.z); }
  if (k + 3u < k_end) { block[3] = four_NAME(at + by_k.w); }
  return block;
`,
};

/** Declares an operand with `load_<name>(position)`, which reads four neighbours at a position in fours. */
function declareVecs(name: string, binding: number, dtype: FloatDType): string {
  const declare = (type: string) =>
    `@group(0) @binding(${binding}) var<storage, read> ${name}: array<${type}>;\n`;
  if (!isHalf(dtype)) {
    return declare("vec4f") + /* wgsl */ `
fn load_${name}(position: u32) -> vec4f { return ${name}[position]; }
`;
  }
  return declare("vec2u") + /* wgsl */ `
fn load_${name}(position: u32) -> vec4f {
  let words = ${name}[position].xxyy >> vec4u(0u, 16u, 0u, 16u);
  return decode_half_${dtype}(words & vec4u(0xffffu));
}
`;
}
