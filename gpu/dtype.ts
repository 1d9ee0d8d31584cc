/** Element types: how they lie in a buffer and how a kernel reads and writes them. */

/** The element type of a tensor. `f16` and `bf16` are named here and follow in a later release. */
export type DType = "f32" | "f16" | "bf16" | "i32" | "u32" | "bool";

/** The element types tensors can have today. */
export type SupportedDType = Exclude<DType, "f16" | "bf16">;

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
}

const ENCODINGS: Record<SupportedDType, Encoding> = {
  f32: { bytes: 4, wgsl: "f32", unpack: "bitcast<f32>(w)", pack: "bitcast<u32>(v)" },
  i32: { bytes: 4, wgsl: "i32", unpack: "bitcast<i32>(w)", pack: "bitcast<u32>(v)" },
  u32: { bytes: 4, wgsl: "u32", unpack: "w", pack: "v" },
  bool: { bytes: 1, wgsl: "u32", unpack: "(w >> (8u * e)) & 1u", pack: "v << (8u * e)" },
};

/** How elements of `dtype` are stored. */
export function encodingOf(dtype: SupportedDType): Encoding {
  return ENCODINGS[dtype];
}

/** Elements in one 32-bit word of a buffer. */
export function elementsPerWord(dtype: SupportedDType): number {
  return 4 / ENCODINGS[dtype].bytes;
}

/** Throws for a name that is no element type, or for one that is not supported yet. */
export function assertDType(dtype: DType, action: string): asserts dtype is SupportedDType {
  if (!Object.hasOwn(ENCODINGS, dtype)) {
    throw new TypeError(
      `Cannot ${action}: dtype ${JSON.stringify(dtype)} is not supported, ` +
        `expected one of ${Object.keys(ENCODINGS).join(", ")}`,
    );
  }
}

/** The typed array over `buffer` that holds elements of `dtype`. */
export function viewAs(dtype: SupportedDType, buffer: ArrayBuffer, length: number): TensorData {
  switch (dtype) {
    case "f32":
      return new Float32Array(buffer, 0, length);
    case "i32":
      return new Int32Array(buffer, 0, length);
    case "u32":
      return new Uint32Array(buffer, 0, length);
    case "bool":
      return new Uint8Array(buffer, 0, length);
  }
}

/** The type that two operands are converted to before they meet: bool, then i32 or u32, then f32. */
export function promote(a: SupportedDType, b: SupportedDType, action: string): SupportedDType {
  if (a === b) return a;
  if (a === "bool") return b;
  if (b === "bool") return a;
  if (a === "f32" || b === "f32") return "f32";
  throw new TypeError(
    `Cannot ${action}: dtypes ${a} and ${b} have no common type, convert one with .to("i32") or .to("u32")`,
  );
}
