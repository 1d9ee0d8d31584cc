/**
 * A kernel's uniform parameters, declared once: the same list gives the WGSL struct and packs the
 * values, so that the two cannot drift apart.
 */
import { MAX_RANK } from "../shape.ts";

/** A scalar, or sizes or strides of up to {@linkcode MAX_RANK} axes. */
export type ParamType = "u32" | "f32" | "axes";

/** The value that a field of each type takes. */
type ParamValue<T extends ParamType> = T extends "axes" ? readonly number[] : number;

/** Fields in order; order decides the layout. */
export type ParamFields = Readonly<Record<string, ParamType>>;

/** The values of all fields. */
export type ParamValues<F extends ParamFields> = { readonly [K in keyof F]: ParamValue<F[K]> };

/** A struct that is known to the host and to WGSL. */
export interface ParamStruct<F extends ParamFields> {
  /** `struct Params { ... }` and its binding, group 1, binding 0. */
  readonly wgsl: string;
  /** The bytes of the struct. */
  pack(values: ParamValues<F>): Uint32Array<ArrayBuffer>;
}

/** `axes` take two `vec4u`, aligned to 16 bytes; the accessors hide that from kernels. */
const AXES_WORDS = MAX_RANK;

/**
 * Declares a parameter struct. Scalars must come before `axes` fields, which need no padding then
 * beyond rounding the scalars up to 16 bytes.
 *
 * @param fields Name (snake_case, as WGSL shows it) and type of each field.
 * @returns The WGSL text and the packing function.
 */
export function paramStruct<const F extends ParamFields>(fields: F): ParamStruct<F> {
  const entries = Object.entries(fields);
  const scalars = entries.filter(([, type]) => type !== "axes").length;
  if (entries.slice(0, scalars).some(([, type]) => type === "axes")) {
    throw new Error("Cannot declare parameters: scalars must come before axes");
  }
  const scalarWords = Math.ceil(scalars / 4) * 4;
  const words = scalarWords + (entries.length - scalars) * AXES_WORDS;
  const members = entries.map(([name, type]) =>
    type === "axes" ? `  ${name}: array<vec4u, ${AXES_WORDS / 4}>,` : `  ${name}: ${type},`
  );
  return {
    wgsl: `struct Params {\n${
      members.join("\n")
    }\n}\n@group(1) @binding(0) var<uniform> params: Params;\n`,
    pack(values) {
      const uints = new Uint32Array(words);
      const floats = new Float32Array(uints.buffer);
      let scalar = 0;
      let axes = scalarWords;
      for (const [name, type] of entries) {
        const value = values[name]!;
        if (type !== "f32") assertWords(name, value);
        if (type === "axes") {
          uints.set(value as readonly number[], axes);
          axes += AXES_WORDS;
        } else if (type === "f32") {
          floats[scalar++] = value as number;
        } else {
          uints[scalar++] = value as number;
        }
      }
      return uints;
    },
  };
}

/**
 * Throws for what kernels, which count in 32 bits, would take modulo 2^32: sizes of views that no memory could
 * hold, as `expand()` makes them.
 */
function assertWords(name: string, value: number | readonly number[]): void {
  const isWord = typeof value === "number" ? value < 2 ** 32 : value.every((x) => x < 2 ** 32);
  if (isWord) return;
  throw new RangeError(
    `Cannot compute with more than 2^32 - 1 elements at a time: ${name} is ${value}; split the tensor`,
  );
}
