/** From what callers pass to `device.tensor()` to bytes: nested arrays, typed arrays, numbers. */
import { byteSize } from "./array.ts";
import { told } from "./checks.ts";
import { assertDType, type DType, isHalf } from "./dtype.ts";
import { encodeHalves } from "./half.ts";
import { assertShape, formatShape, numel, sameShape } from "./shape.ts";

/** Numbers or booleans, nested to any depth. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** The same, or BigInts. */
export type NestedValues = number | bigint | boolean | readonly NestedValues[];

/** Numbers in a `Float16Array`, by its shape, as not every runtime and version of TypeScript has that. */
export interface HalfArray extends ArrayLike<number>, ArrayBufferView {
  /** Its name. */
  readonly [Symbol.toStringTag]: "Float16Array";
}

/** What a tensor can be made from. */
export type TensorSource =
  | NestedValues
  | Float32Array
  | Float64Array
  | HalfArray
  | Int32Array
  | Uint32Array
  | Uint8Array
  | BigInt64Array
  | BigUint64Array;

/** Whole numbers, such as indices and lengths; BigInts count as the numbers that they are. */
export type IntegerList =
  | readonly number[]
  | readonly bigint[]
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

/** Numbers in memory. */
type Numbers = Exclude<TensorSource, NestedValues | BigInt64Array | BigUint64Array>;

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
  if (wantedDType !== undefined) assertDType(wantedDType, "create a tensor");
  const isTyped = isTypedArray(source);
  const given = wantedDType ?? dtypeOf(source);
  const found = isTyped ? [source.length] : nestedShape(source);
  const values = isTyped ? numbersOf(source, given) : flatten(source, found, given);
  const shape = [...(wantedShape ?? found)];
  if (numel(shape) !== values.length || (!isTyped && wantedShape && !fits(found, shape))) {
    throw new RangeError(
      `Cannot create a tensor: data has shape ${formatShape(found)}, expected ${
        formatShape(shape)
      }`,
    );
  }
  const dtype = given ?? (values instanceof Uint8Array ? "bool" : "f32");
  return { shape, dtype, bytes: encode(values, dtype, shape) };
}

/** A flat list may be given any shape; a nested one has its own. */
function fits(found: readonly number[], wanted: readonly number[]): boolean {
  return found.length <= 1 || sameShape(found, wanted);
}

/** Whether a source is an array of numbers or BigInts in memory, which a `DataView` is not. */
function isTypedArray(source: TensorSource): source is Exclude<TensorSource, NestedValues> {
  return ArrayBuffer.isView(source) && "length" in source;
}

/** The type that the source itself stands for; `undefined` for one that may be bool or f32. */
function dtypeOf(source: TensorSource): DType | undefined {
  if (source instanceof Int32Array || source instanceof BigInt64Array) return "i32";
  if (source instanceof Uint32Array || source instanceof BigUint64Array) return "u32";
  if (source instanceof Uint8Array) {
    throw new TypeError(
      'Cannot create a tensor: a Uint8Array may mean numbers or booleans, name the dtype, as in { dtype: "bool" }',
    );
  }
  if (isTypedArray(source)) return source[Symbol.toStringTag] === "Float16Array" ? "f16" : "f32";
  let first: NestedValues | undefined = source;
  while (Array.isArray(first)) first = first[0];
  return typeof first === "bigint" ? "i32" : undefined;
}

function numbersOf(
  source: Exclude<TensorSource, NestedValues>,
  dtype: DType | undefined,
): Numbers {
  return source instanceof BigInt64Array || source instanceof BigUint64Array
    ? Float64Array.from(source as Iterable<bigint>, (value) => fromBigInt(value, dtype))
    : source;
}

/** A BigInt as the number that it is; throws if the type, or where that is not of integers any of 32 bits, cannot hold it. */
function fromBigInt(value: bigint, dtype: DType = "f32"): number {
  const least = dtype === "u32" ? 0 : -(2 ** 31);
  const most = dtype === "i32" ? 2 ** 31 - 1 : 2 ** 32 - 1;
  if (value >= least && value <= most) return Number(value);
  throw new RangeError(
    `Cannot create a tensor of dtype ${dtype}: data holds ${value}n, expected BigInts from ${least} to ${most}; ` +
      "make floats of others by Number()",
  );
}

function nestedShape(source: NestedValues): number[] {
  const shape: number[] = [];
  for (let level: NestedValues | undefined = source; Array.isArray(level); level = level[0]) {
    shape.push(level.length);
  }
  assertShape(shape, "create a tensor");
  return shape;
}

/** Where values are gathered: numbers as they are, or rounded to what the tensor will hold at once. */
type Flat = Float64Array<ArrayBuffer> | Float32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** The numbers in row-major order; a `Uint8Array` of truth values where there are no others. */
function flatten(
  source: NestedValues,
  shape: readonly number[],
  dtype: DType | undefined,
): Flat {
  const isF32 = dtype === undefined || dtype === "f32";
  const values = new (isF32 ? Float32Array : Float64Array)(numel(shape));
  let at = 0;
  let booleans = 0;
  const visit = (node: NestedValues, axis: number): void => {
    const size = shape[axis];
    if (Array.isArray(node) ? node.length !== size : size !== undefined) {
      throw new RangeError(
        "Cannot create a tensor: nested arrays are ragged, " +
          `expected ${size === undefined ? "a number" : `${size} entries`} and found ${
            Array.isArray(node) ? `${node.length} entries` : told(node)
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
    } else if (typeof node === "bigint") {
      values[at++] = fromBigInt(node, dtype);
    } else {
      throw new TypeError(
        `Cannot create a tensor: data holds ${told(node)}, expected numbers or booleans`,
      );
    }
  };
  visit(source, 0);
  const isBoolean = at > 0 && booleans === at;
  return isBoolean ? Uint8Array.from(values) : values;
}

function encode(
  values: Numbers | Flat,
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
