/**
 * WGSL that reads and writes four neighbouring elements at once, of any element type: 16 bytes of f32 are one
 * access to memory, and the parts of a word need no atomics.
 */
import { type DType, encodingOf } from "../dtype.ts";

/** Elements of a vector. */
export const LANES = 4;

interface VectorEncoding {
  /** The WGSL type of four elements in a buffer. */
  readonly stored: "vec4u" | "vec2u" | "u32";
  /** WGSL that turns them, `w`, into a `vec4` of values. */
  readonly unpack: string;
  /** WGSL that turns a `vec4` of values, `v`, into them. */
  readonly pack: string;
}

const VECTORS: Record<DType, VectorEncoding> = {
  f32: { stored: "vec4u", unpack: "bitcast<vec4f>(w)", pack: "bitcast<vec4u>(v)" },
  i32: { stored: "vec4u", unpack: "bitcast<vec4i>(w)", pack: "bitcast<vec4u>(v)" },
  u32: { stored: "vec4u", unpack: "w", pack: "v" },
  f16: halves("f16"),
  bf16: halves("bf16"),
  bool: {
    stored: "u32",
    unpack: "(vec4u(w) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(1u)",
    pack: "v.x | (v.y << 8u) | (v.z << 16u) | (v.w << 24u)",
  },
};

function halves(dtype: "f16" | "bf16"): VectorEncoding {
  const bits = `encode_half_${dtype}(v)`;
  return {
    stored: "vec2u",
    unpack: `decode_half_${dtype}(vec4u(w.x & 0xffffu, w.x >> 16u, w.y & 0xffffu, w.y >> 16u))`,
    pack: `${bits}.xz | (${bits}.yw << vec2u(16u))`,
  };
}

/** Whether vectors of an operand begin where four of its elements lie in one access: at multiples of four. */
export function isAligned(offset: number, strides: readonly number[]): boolean {
  return offset % LANES === 0 && strides.every((stride) => stride % LANES === 0);
}

/**
 * Declares operand `name` at a binding, with `vector_<name>(i)`, which gives elements 4 i to 4 i + 3 of its
 * storage. Needs `accessorHelpers` of its type.
 */
export function declareVectors(name: string, binding: number, dtype: DType): string {
  const { stored, unpack } = VECTORS[dtype];
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read> ${name}: array<${stored}>;
fn vector_${name}(i: u32) -> vec4<${encodingOf(dtype).wgsl}> {
  let w = ${name}[i];
  return ${unpack};
}
`;
}

/** Declares output `name` at a binding, with `write_<name>(i, values)`, the way back. */
export function declareVectorOutput(name: string, binding: number, dtype: DType): string {
  const { stored, pack } = VECTORS[dtype];
  return /* wgsl */ `
@group(0) @binding(${binding}) var<storage, read_write> ${name}: array<${stored}>;
fn write_${name}(i: u32, v: vec4<${encodingOf(dtype).wgsl}>) { ${name}[i] = ${pack}; }
`;
}

/** `vector_<name>(i)` of an output, for kernels that change what is there. */
export function readBack(name: string, dtype: DType): string {
  return /* wgsl */ `
fn vector_${name}(i: u32) -> vec4<${encodingOf(dtype).wgsl}> {
  let w = ${name}[i];
  return ${VECTORS[dtype].unpack};
}
`;
}
