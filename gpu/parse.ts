/** From what callers pass to `device.tensor()` to bytes: nested arrays, typed arrays, numbers. */
import { byteSize } from "./array.ts";
import { assertDType, type DType, isHalf } from "./dtype.ts";
import { encodeHalves } from "./half.ts";
import { assertShape, formatShape, numel, sameShape } from "./shape.ts";

/** Numbers or booleans, nested to any depth. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** What a tensor can be made from. */
export type TensorSource =
  | NestedArray
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | Uint8Array;

/** Values ready to be uploaded. */
export interface Parsed {
  readonly shape: number[];
  readonly dtype: DType;
  /** The elements in row-major order, filled up to whole words: the caller's own memory, if it can be used as it is. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Checks and encodes the values; see {@linkcode TensorSource}. */
export function parseSource(
  source: TensorSource,
  wantedShape: readonly number[] | undefined,
  wantedDType: DType | undefined,
): Parsed {
  if (wantedShape !== undefined) assertShape(wantedShape, "create a tensor");
  const isTyped = ArrayBuffer.isView(source);
  const found = isTyped ? [source.length] : nestedShape(source);
  const values = isTyped ? source : flatten(source, found, wantedDType);
  const shape = [...(wantedShape ?? found)];
  if (numel(shape) !== values.length || (!isTyped && wantedShape && !fits(found, shape))) {
    throw new RangeError(
      `Cannot create a tensor: data has shape ${formatShape(found)}, expected ${
        formatShape(shape)
      }`,
    );
  }
  const dtype = wantedDType ?? naturalDType(source, values);
  assertDType(dtype, "create a tensor");
  return { shape, dtype, bytes: encode(values, dtype, shape) };
}

/** A flat list may be given any shape; a nested one has its own. */
function fits(found: readonly number[], wanted: readonly number[]): boolean {
  return found.length <= 1 || sameShape(found, wanted);
}

function nestedShape(source: NestedArray): number[] {
  const shape: number[] = [];
  for (let level: NestedArray | undefined = source; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
  }
  assertShape(shape, "create a tensor");
  return shape;
}

/** Where values are gathered: numbers as they are, or rounded to what the tensor will hold at once. */
type Flat = Float64Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** The numbers in row-major order; a `Uint8Array` of truth values where there are no others. */
function flatten(
  source: NestedArray,
  shape: readonly number[],
  wantedDType: DType | undefined,
): Flat {
  const isF32 = wantedDType === undefined || wantedDType === "f32";
  const values = new (isF32 ? Float32Array : Float64Array)(numel(shape));
  let at = 0;
  let booleans = 0;
  const visit = (node: NestedArray, axis: number): void => {
    const size = shape[axis];
    if (Array.isArray(node) ? node.length !== size : size !== undefined) {
      throw new RangeError(
        "Cannot create a tensor: nested arrays are ragged, " +
          `expected ${size === undefined ? "a number" : `${size} entries`} and found ${
            Array.isArray(node) ? `${node.length} entries` : `${node}`
          }`,
      );
    }
    if (typeof node === "number") {
      values[at++] = node;
    } else if (Array.isArray(node)) {
      for (const child of node) visit(child, axis + 1);
    } else if (typeof node === "boolean") {
      values[at++] = node ? 1 : 0;
      booleans++;
    } else {
      throw new TypeError(
        `Cannot create a tensor: data holds ${String(node)}, expected numbers or booleans`,
      );
    }
  };
  visit(source, 0);
  const isBoolean = at > 0 && booleans === at;
  return isBoolean ? Uint8Array.from(values) : values;
}

function naturalDType(source: TensorSource, values: ArrayLike<number>): DType {
  if (source instanceof Int32Array) return "i32";
  if (source instanceof Uint32Array) return "u32";
  if (source instanceof Uint8Array) {
    throw new TypeError(
      'Cannot create a tensor: a Uint8Array may mean numbers or booleans, name the dtype, as in { dtype: "bool" }',
    );
  }
  return values instanceof Uint8Array ? "bool" : "f32";
}

function encode(
  values: Exclude<TensorSource, NestedArray> | Flat,
  dtype: DType,
  shape: readonly number[],
): Uint8Array<ArrayBuffer> {
  const { buffer, byteOffset, byteLength } = values;
  const isReady = dtype === "f32"
    ? values instanceof Float32Array
    : dtype === "i32"
    ? values instanceof Int32Array
    : dtype === "u32" && values instanceof Uint32Array;
  // Browsers upload no shared memory.
  if (isReady && buffer instanceof ArrayBuffer) {
    return new Uint8Array(buffer, byteOffset, byteLength);
  }
  const bytes = new Uint8Array(byteSize(shape, dtype));
  if (isHalf(dtype)) {
    encodeHalves(dtype, values, new Uint16Array(bytes.buffer));
  } else if (dtype === "f32") {
    new Float32Array(bytes.buffer).set(values);
  } else if (dtype === "bool") {
    for (let i = 0; i < values.length; i++) bytes[i] = values[i] !== 0 ? 1 : 0;
  } else {
    const whole = new (dtype === "i32" ? Int32Array : Uint32Array)(bytes.buffer);
    for (let i = 0; i < values.length; i++) {
      const value = values[i]!;
      assertHeldBy(dtype, value);
      whole[i] = value;
    }
  }
  return bytes;
}

/** Throws if a number would have to be cut or wrapped to become an element of this type. */
export function assertHeldBy(dtype: DType, value: number): void {
  const isHeld = dtype === "i32"
    ? value === (value | 0)
    : dtype === "u32"
    ? value === (value >>> 0)
    : true;
  if (!isHeld) {
    throw new RangeError(`Cannot create a tensor of dtype ${dtype}: ${value} cannot be held by it`);
  }
}
