/**
 * The element types of safetensors files as those of tensors: which are the same bit by bit, which become wider or
 * narrower ones that hold the same numbers, and what is said of all others.
 */
import type { DType } from "../../gpu/dtype.ts";
import { numel } from "../../gpu/shape.ts";
import { unravel } from "../../gpu/testing/unravel.ts";
import type { TensorEntry } from "./safetensors_header.ts";
import { quote } from "./safetensors_json.ts";

/** The format's names of our element types, in the order that the format's own library writes them. */
export const TYPES: readonly (readonly [type: string, dtype: DType])[] = [
  ["F32", "f32"],
  ["U32", "u32"],
  ["I32", "i32"],
  ["BF16", "bf16"],
  ["F16", "f16"],
  ["BOOL", "bool"],
];

/** A type whose elements are converted. */
interface Conversion {
  readonly dtype: DType;
  /** From bytes of a memory of their own. */
  readonly convert: (bytes: ArrayBuffer) => Int32Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;
  /** Of types of 64 bits: whether an element is its lower word alone. */
  readonly fits?: (low: number, high: number) => boolean;
}

/** The lower words of elements of 64 bits. */
const lowWords = (bytes: ArrayBuffer) => new Int32Array(bytes).filter((_, i) => i % 2 === 0);

const CONVERSIONS: Readonly<Record<string, Conversion>> = {
  I64: { dtype: "i32", convert: lowWords, fits: (low, high) => high === low >> 31 },
  U64: { dtype: "u32", convert: lowWords, fits: (_, high) => high === 0 },
  I16: { dtype: "i32", convert: (bytes) => Int32Array.from(new Int16Array(bytes)) },
  I8: { dtype: "i32", convert: (bytes) => Int32Array.from(new Int8Array(bytes)) },
  U16: { dtype: "u32", convert: (bytes) => Uint32Array.from(new Uint16Array(bytes)) },
  U8: { dtype: "u32", convert: (bytes) => Uint32Array.from(new Uint8Array(bytes)) },
};

/** Tensors that an error names before it counts the rest. */
const MAX_NAMED = 100;

/**
 * The types of the tensors to load, in their order. What has no elements is of type f32, whatever the file says: there
 * is nothing to convert.
 *
 * @throws {TypeError} Naming all tensors of types that are none of ours.
 */
export function dtypesOf(entries: readonly TensorEntry[], roundF64: boolean): DType[] {
  const found = entries.map((entry) => dtypeOf(entry, roundF64));
  const others = entries.filter((_, i) => found[i] === undefined);
  if (others.length === 0) return found as DType[];
  const named = others.slice(0, MAX_NAMED).map(({ name, type }) => `${quote(name)} of ${type}`);
  if (others.length > MAX_NAMED) named.push(`${others.length - MAX_NAMED} more`);
  const types = [...new Set(others.map(({ type }) => type))];
  const known = [...TYPES.map(([type]) => type), ...Object.keys(CONVERSIONS)].join(", ");
  throw new TypeError(
    `Cannot load safetensors: the file has ${
      named.join(", ")
    }, expected ${known}; leave others out by ` +
      `filter: (name, { dtype }) => !${JSON.stringify(types)}.includes(dtype)` +
      (types.includes("F64") ? ", or take F64 rounded to f32 by roundF64: true" : ""),
  );
}

function dtypeOf({ type, shape, begin, end }: TensorEntry, roundF64: boolean): DType | undefined {
  const own = TYPES.find(([name]) => name === type)?.[1] ?? conversionOf(type)?.dtype;
  if (own) return own;
  const isEmpty = begin === end && numel(shape) === 0;
  return isEmpty || (type === "F64" && roundF64) ? "f32" : undefined;
}

function conversionOf(type: string): Conversion | undefined {
  return Object.hasOwn(CONVERSIONS, type) ? CONVERSIONS[type] : undefined;
}

/** Throws `RangeError` for an element of 64 bits that 32 bits do not hold, naming it. */
export function assertFits({ name, type, shape }: TensorEntry, bytes: Uint8Array): void {
  const conversion = conversionOf(type);
  if (!conversion?.fits) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length; at += 8) {
    if (conversion.fits(view.getInt32(at, true), view.getInt32(at + 4, true))) continue;
    const value = type === "I64" ? view.getBigInt64(at, true) : view.getBigUint64(at, true);
    throw new RangeError(
      `Cannot load safetensors: tensor ${quote(name)} of ${type} is ${value}n at ` +
        `[${unravel(at / 8, shape).join(", ")}], expected numbers that fit ${conversion.dtype}; ` +
        "leave it out by filter",
    );
  }
}

/** Bytes of a file as a buffer takes them: converted, filled up to whole words, a bool 0 or 1. */
export function wholeWords(bytes: Uint8Array, type: string): Uint8Array<ArrayBuffer> {
  const conversion = conversionOf(type);
  if (conversion) return new Uint8Array(conversion.convert(copied(bytes)).buffer);
  if (type === "F64") {
    return new Uint8Array(Float32Array.from(new Float64Array(copied(bytes))).buffer);
  }
  const isBool = type === "BOOL";
  if (bytes.length % 4 === 0 && !isBool && bytes.buffer instanceof ArrayBuffer) {
    return bytes as Uint8Array<ArrayBuffer>;
  }
  const words = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  words.set(isBool ? bytes.map((byte) => byte === 0 ? 0 : 1) : bytes);
  return words;
}

/** A memory of their own, where any type of array may begin. */
function copied(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
