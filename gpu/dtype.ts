/** Element types: how they lie in a buffer and how a kernel reads and writes them. */
import { told } from "./checks.ts";
import { decodeHalves, type HalfDType, halfWgsl, roundToHalf } from "./half.ts";

/**
 * The element type of a tensor. `f16` (IEEE half precision) and `bf16` (the upper half of an f32) save
 * memory; kernels compute with them in f32 and round results to the nearest, ties to even.
 */
export type DType = "f32" | "f16" | "bf16" | "i32" | "u32" | "bool";

/** The element types that are floating-point numbers. */
export type FloatDType = "f32" | HalfDType;

/** Any of the arrays that `data()` may give. */
export type TensorData =
  | Float32Array<ArrayBuffer>
  | Int32Array<ArrayBuffer>
  | Uint32Array<ArrayBuffer>
  | Uint8Array<ArrayBuffer>;

interface Encoding {
  /** Bytes of one element in a buffer. */
  readonly bytes: number;
  /** The WGSL type a kernel computes with. A bool is `u32` 0 or 1 there: bool is not storable. */
  readonly wgsl: "f32" | "i32" | "u32";
  /** WGSL that turns word `w` and the element's place `e` within it into a value. */
  readonly unpack: string;
  /** WGSL that turns a value `v` into its bits within a word, at place `e`. */
  readonly pack: string;
  /** WGSL functions that `unpack` and `pack` call; a module wants them once. */
  readonly helpers: string;
}

const ENCODINGS: Record<DType, Encoding> = {
  f32: { bytes: 4, wgsl: "f32", unpack: "bitcast<f32>(w)", pack: "bitcast<u32>(v)", helpers: "" },
  f16: halfEncoding("f16"),
  bf16: halfEncoding("bf16"),
  i32: { bytes: 4, wgsl: "i32", unpack: "bitcast<i32>(w)", pack: "bitcast<u32>(v)", helpers: "" },
  u32: { bytes: 4, wgsl: "u32", unpack: "w", pack: "v", helpers: "" },
  bool: {
    bytes: 1,
    wgsl: "u32",
    unpack: "(w >> (8u * e)) & 1u",
    pack: "v << (8u * e)",
    helpers: "",
  },
};

function halfEncoding(dtype: HalfDType): Encoding {
  return {
    bytes: 2,
    wgsl: "f32",
    unpack: `decode_half_${dtype}(vec4u((w >> (16u * e)) & 0xffffu)).x`,
    pack: `encode_half_${dtype}(vec4f(v)).x << (16u * e)`,
    helpers: halfWgsl(dtype, `_${dtype}`),
  };
}

/** How elements of `dtype` are stored. */
export function encodingOf(dtype: DType): Encoding {
  return ENCODINGS[dtype];
}

/** Elements in one 32-bit word of a buffer. The first lies in the word's lowest bits. */
export function elementsPerWord(dtype: DType): number {
  return 4 / ENCODINGS[dtype].bytes;
}

/** Whether elements are floating-point numbers. */
export function isFloat(dtype: DType): dtype is FloatDType {
  return dtype === "f32" || isHalf(dtype);
}

/** Whether elements are floating-point numbers of 16 bits. */
export function isHalf(dtype: DType): dtype is HalfDType {
  return dtype === "f16" || dtype === "bf16";
}

/** The element type that kernels compute in: f32 for all floats, else the type itself. */
export function computeType(dtype: DType): Exclude<DType, HalfDType> {
  return isHalf(dtype) ? "f32" : dtype;
}

/** The type of 32 bits that holds the elements of another type: what they are where each has a word. */
export function wordType(dtype: DType): DType {
  return elementsPerWord(dtype) === 1 ? dtype : encodingOf(dtype).wgsl;
}

/** A number as an element of a 16-bit type will hold it, rounded once; for other types as it is. */
export function roundedTo(dtype: DType, value: number): number {
  return isHalf(dtype) ? roundToHalf(dtype, value) : value;
}

/** Throws for a name that is no element type. */
export function assertDType(dtype: DType, action: string): void {
  // A list of one name would be taken for the name.
  if (typeof dtype !== "string" || !Object.hasOwn(ENCODINGS, dtype)) {
    throw new TypeError(
      `Cannot ${action}: dtype ${told(dtype)} is not supported, ` +
        `expected one of ${Object.keys(ENCODINGS).join(", ")}`,
    );
  }
}

/** The elements that bytes of a buffer stand for; only those of 16 bits are copied to be widened. */
export function decodeElements(
  dtype: DType,
  buffer: ArrayBuffer,
  length: number,
): TensorData {
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, 0, length);
    case "f16":
    case "bf16":
      return decodeHalves(dtype, new Uint16Array(buffer, 0, length));
    case "i32":
      return new Int32Array(buffer, 0, length);
    case "u32":
      return new Uint32Array(buffer, 0, length);
    case "bool":
      return new Uint8Array(buffer, 0, length);
  }
}

/**
 * The type that two operands are converted to before they meet: bool, then i32 or u32, then a float.
 * A float meets an integer in its own type; f16 and bf16, of which neither holds the other, meet in f32.
 */
export function promote(a: DType, b: DType, action: string): DType {
  if (a === b) return a;
  if (a === "bool") return b;
  if (b === "bool") return a;
  if (isFloat(a) && isFloat(b)) return "f32";
  if (isFloat(a)) return a;
  if (isFloat(b)) return b;
  throw new TypeError(
    `Cannot ${action}: dtypes ${a} and ${b} have no common type, convert one with .to("i32") or .to("u32")`,
  );
}
