/** From what callers pass to `device.tensor()` to bytes: nested arrays, typed arrays, numbers. */
import { byteSize } from "./array.ts";
import { assertDType, decodeElements, type DType, isHalf } from "./dtype.ts";
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
  /** The elements in row-major order, filled up to whole words. */
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** Checks and encodes the values; see {@linkcode TensorSource}. */
export function parseSource(
  source: TensorSource,
  wantedShape: readonly number[] | undefined,
  wantedDType: DType | undefined,
): Parsed {
  if (wantedShape) assertShape(wantedShape, "create a tensor");
  const isTyped = ArrayBuffer.isView(source);
  const found = isTyped ? [source.length] : nestedShape(source);
  const values = isTyped ? source : flatten(source, found);
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

function flatten(source: NestedArray, shape: readonly number[]): (number | boolean)[] {
  const values: (number | boolean)[] = [];
  const visit = (node: NestedArray, shape: readonly number[]): void => {
    const [size, ...rest] = shape;
    if (Array.isArray(node) ? node.length !== size : size !== undefined) {
      throw new RangeError(
        "Cannot create a tensor: nested arrays are ragged, " +
          `expected ${size === undefined ? "a number" : `${size} entries`} and found ${
            Array.isArray(node) ? `${node.length} entries` : `${node}`
          }`,
      );
    }
    if (Array.isArray(node)) {
      for (const child of node) visit(child, rest);
    } else if (typeof node === "number" || typeof node === "boolean") {
      values.push(node);
    } else {
      throw new TypeError(
        `Cannot create a tensor: data holds ${String(node)}, expected numbers or booleans`,
      );
    }
  };
  visit(source, shape);
  return values;
}

function naturalDType(source: TensorSource, values: ArrayLike<number | boolean>): DType {
  if (source instanceof Int32Array) return "i32";
  if (source instanceof Uint32Array) return "u32";
  if (source instanceof Uint8Array) {
    throw new TypeError(
      'Cannot create a tensor: a Uint8Array may mean numbers or booleans, name the dtype, as in { dtype: "bool" }',
    );
  }
  const isBoolean = values.length > 0 && Array.prototype.every.call(
    values,
    (value) => typeof value === "boolean",
  );
  return isBoolean ? "bool" : "f32";
}

function encode(
  values: ArrayLike<number | boolean>,
  dtype: DType,
  shape: readonly number[],
): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(byteSize(shape, dtype));
  if (isHalf(dtype)) {
    encodeHalves(dtype, values, new Uint16Array(bytes.buffer));
    return bytes;
  }
  const target = decodeElements(dtype, bytes.buffer, values.length);
  const isPlainCopy = ArrayBuffer.isView(values) && values.constructor === target.constructor &&
    dtype !== "bool";
  if (isPlainCopy) {
    target.set(values as unknown as ArrayLike<number>);
    return bytes;
  }
  for (let i = 0; i < values.length; i++) {
    const value = Number(values[i]);
    assertHeldBy(dtype, value);
    target[i] = dtype === "bool" ? (value !== 0 ? 1 : 0) : value;
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
