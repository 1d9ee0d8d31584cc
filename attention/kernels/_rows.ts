/** WGSL that reads rows of query, key and value, and writes rows of the output, four elements at a time. */
import type { FloatDType } from "../../gpu/dtype.ts";
import { halfWgsl } from "../../gpu/half.ts";

/** `decode(bits)` of a float type; nothing for f32. */
export function declareDecoder(dtype: FloatDType, suffix: string): string {
  return dtype === "f32" ? "" : halfWgsl(dtype, suffix);
}

/**
 * `load_<name>(position, part)`: the part-th vec4 of the row that starts at a position. Halves need
 * `decode_half`, with a suffix if it is given, unless they are read as the device's own type.
 */
export function declareRows(
  name: string,
  dtype: FloatDType,
  dim: number,
  vecs: number,
  aligned: boolean,
  { suffix = "", nativeHalves = false }: { suffix?: string; nativeHalves?: boolean } = {},
): (binding: number) => string {
  const isHalf = dtype !== "f32";
  const declare = (element: string, load: string) => (binding: number) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> ${name}: array<${element}>;
fn load_${name}(position: u32, part: u32) -> vec4f {${load}}
`;
  if (aligned) {
    const guard = vecs * 4 > dim ? `\n  if (part >= ${dim / 4}u) { return vec4f(); }` : "";
    if (!isHalf || (nativeHalves && dtype === "f16")) {
      const element = isHalf ? "vec4<f16>" : "vec4f";
      return declare(element, `${guard}\n  return vec4f(${name}[position / 4u + part]);\n`);
    }
    return declare(
      "vec2u",
      `${guard}
  let w = ${name}[position / 4u + part].xxyy;
  return decode_half${suffix}((w >> vec4u(0u, 16u, 0u, 16u)) & vec4u(0xffffu));
`,
    );
  }
  if (!isHalf) {
    return declare(
      "f32",
      `
  var vec = vec4f();
  for (var e = 0u; e < 4u; e++) {
    let d = 4u * part + e;
    if (d < ${dim}u) { vec[e] = ${name}[position + d * params.${name}_step]; }
  }
  return vec;
`,
    );
  }
  return declare(
    "u32",
    `
  var bits = vec4u();
  for (var e = 0u; e < 4u; e++) {
    let d = 4u * part + e;
    let at = position + d * params.${name}_step;
    if (d < ${dim}u) { bits[e] = (${name}[at / 2u] >> (16u * (at % 2u))) & 0xffffu; }
  }
  return decode_half${suffix}(bits);
`,
  );
}

/** Whether a kernel can write rows of an output: halves share words, so a row must be whole words. */
export function canStore(dtype: FloatDType, dim: number): boolean {
  return dtype === "f32" || dim % 2 === 0;
}

/**
 * `store_<name>(position, part, vec)`: the part-th vec4 of the dense output row that starts at a position.
 * Halves need `encode_half_out`.
 */
export function declareOut(
  dtype: FloatDType,
  dim: number,
  vecs: number,
  name = "out",
): (binding: number) => string {
  const declare = (element: string, store: string) => (binding: number) => /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${element}>;
fn store_${name}(position: u32, part: u32, vec: vec4f) {${store}}
`;
  const guard = vecs * 4 > dim ? `\n  if (part >= ${Math.ceil(dim / 4)}u) { return; }` : "";
  const words =
    "let bits = encode_half_out(vec);\n  let words = bits.xz | (bits.yw << vec2u(16u));";
  if (dim % 4 === 0) {
    return dtype === "f32"
      ? declare("vec4f", `${guard}\n  ${name}[position / 4u + part] = vec;\n`)
      : declare("vec2u", `${guard}\n  ${words}\n  ${name}[position / 4u + part] = words;\n`);
  }
  if (dtype !== "f32") {
    return declare(
      "u32",
      `${guard}
  ${words}
  let at = position / 2u + 2u * part;
  ${name}[at] = words.x;
  if (2u * part + 1u < ${dim / 2}u) { ${name}[at + 1u] = words.y; }
`,
    );
  }
  return declare(
    "f32",
    `
  for (var e = 0u; e < 4u; e++) {
    let d = 4u * part + e;
    if (d < ${dim}u) { ${name}[position + d] = vec[e]; }
  }
`,
  );
}
