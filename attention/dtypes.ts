/** The element types that attention takes. */
import { type DType, encodingOf } from "../gpu/dtype.ts";

/** Element types of query, key, value and output. */
export type FloatDType = Extract<DType, "f32" | "f16" | "bf16">;

/** Whether a tensor of this type can be a query. */
export function isFloatDType(dtype: DType): dtype is FloatDType {
  return dtype === "f32" || dtype === "f16" || dtype === "bf16";
}

/** Bytes of an element. */
export function bytesOf(dtype: DType): number {
  return encodingOf(dtype).bytes;
}
