/**
 * The header of a safetensors file (https://github.com/huggingface/safetensors): 8 bytes with its length,
 * little-endian, then JSON that says of every tensor its type, its shape and where its elements lie in the
 * rest of the file, the data. Files come from anywhere, so all of it is checked here, before anything is
 * allocated: what {@linkcode parseHeader} returns fits the file.
 */
import { MAX_RANK } from "../../gpu/shape.ts";
import { foreignFormat } from "./safetensors_foreign.ts";
import { decodeJson, describeValue, fail, isWellFormed, quote } from "./safetensors_json.ts";

/** A tensor as the header describes it. */
export interface TensorEntry {
  /** Any well-formed text but `__metadata__`. */
  readonly name: string;
  /** The format's name of the element type, as in `BF16`. */
  readonly type: string;
  /** At most {@linkcode MAX_RANK} sizes. */
  readonly shape: readonly number[];
  /** First byte, counted from the start of the data. */
  readonly begin: number;
  /** The byte behind the last. */
  readonly end: number;
}

/** What a header says. */
export interface Header {
  /** In the order of the data, without gaps. */
  readonly entries: readonly TensorEntry[];
  /** Text by name; without a prototype, as names may be any. */
  readonly metadata: Record<string, string>;
  /** Where the data start, counted from the start of the file. */
  readonly dataStart: number;
}

/** The key in the header that is no tensor. */
export const METADATA_KEY = "__metadata__";

/** Bytes of the length before the header. */
const LENGTH_BYTES = 8;

/** The longest header that the format allows, in bytes. */
const MAX_HEADER_BYTES = 100_000_000;

/** Bits of an element of each type of the format, as far as it is known here: later versions have more. */
const ELEMENT_BITS: Readonly<Record<string, number>> = {
  BOOL: 8,
  F4: 4,
  F6_E2M3: 6,
  F6_E3M2: 6,
  U8: 8,
  I8: 8,
  F8_E5M2: 8,
  F8_E4M3: 8,
  F8_E8M0: 8,
  I16: 16,
  U16: 16,
  F16: 16,
  BF16: 16,
  I32: 32,
  U32: 32,
  F32: 32,
  C64: 64,
  F64: 64,
  I64: 64,
  U64: 64,
};

/** Names of types, of the future ones too. */
const TYPE_NAME = /^[A-Z][A-Z0-9_]*$/;

/**
 * Reads and checks the header of a file.
 *
 * @param file All bytes of the file.
 * @throws {RangeError} For lengths, sizes and offsets that do not fit the format, the file or each other.
 * @throws {TypeError} For a header that is not JSON of the format's structure.
 */
export function parseHeader(file: Uint8Array): Header {
  const { root, dataStart } = decodeHeader(file);
  if (!isObject(root)) fail(TypeError, `the header is ${describeValue(root)}, expected an object`);
  const entries: TensorEntry[] = [];
  for (const [name, value] of Object.entries(root)) {
    if (name !== METADATA_KEY) entries.push(parseEntry(name, value));
  }
  entries.sort((a, b) => a.begin - b.begin || a.end - b.end);
  assertCovered(entries, file.length - dataStart);
  const metadata = Object.hasOwn(root, METADATA_KEY) ? parseMetadata(root[METADATA_KEY]) : {};
  return { entries, metadata: Object.assign(Object.create(null), metadata), dataStart };
}

/**
 * The start of a file, up to the data: length and header.
 *
 * @param entries In the order of the data, without gaps.
 * @param metadata Written in the order of its names, so that the same call gives the same bytes.
 * @throws {RangeError} If the header is longer than the format allows.
 */
export function formatHeader(
  entries: readonly TensorEntry[],
  metadata: Readonly<Record<string, string>>,
): Uint8Array<ArrayBuffer> {
  // JSON.stringify() of one object would move names that are numbers to the front.
  const members = entries.map(({ name, type, shape, begin, end }) =>
    member(name, JSON.stringify({ dtype: type, shape, data_offsets: [begin, end] }))
  );
  const texts = Object.entries(metadata).sort(([a], [b]) => compareText(a, b))
    .map(([name, text]) => member(name, JSON.stringify(text)));
  if (texts.length > 0) members.unshift(member(METADATA_KEY, `{${texts.join(",")}}`));
  const json = new TextEncoder().encode(`{${members.join(",")}}`);
  // Spaces bring the data to a multiple of 8 bytes.
  const length = Math.ceil(json.length / 8) * 8;
  if (length > MAX_HEADER_BYTES) {
    throw new RangeError(
      `Cannot save safetensors: the header takes ${length} bytes, expected at most ` +
        `${MAX_HEADER_BYTES}; save fewer tensors or less metadata`,
    );
  }
  const bytes = new Uint8Array(LENGTH_BYTES + length).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(length), true);
  bytes.set(json, LENGTH_BYTES);
  return bytes;
}

/** Orders text by code points, which is also the order of its bytes in UTF-8. */
export function compareText(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => Array.from(text, (char) => char.codePointAt(0)!));
  for (let i = 0; i < Math.min(left!.length, right!.length); i++) {
    if (left![i] !== right![i]) return left![i]! - right![i]!;
  }
  return left!.length - right!.length;
}

function member(name: string, json: string): string {
  return `${JSON.stringify(name)}:${json}`;
}

function decodeHeader(file: Uint8Array): { root: unknown; dataStart: number } {
  try {
    const dataStart = LENGTH_BYTES + headerLength(file);
    // A copy: decoders refuse shared memory.
    return { root: decodeJson(file.slice(LENGTH_BYTES, dataStart)), dataStart };
  } catch (error) {
    const format = foreignFormat(file);
    if (format === undefined) throw error;
    fail(TypeError, `the file is ${format}`, error);
  }
}

function headerLength(file: Uint8Array): number {
  if (file.length < LENGTH_BYTES) {
    fail(RangeError, `the file has ${file.length} bytes, expected at least ${LENGTH_BYTES}`);
  }
  const view = new DataView(file.buffer, file.byteOffset, LENGTH_BYTES);
  const length = view.getBigUint64(0, true);
  if (length > MAX_HEADER_BYTES) {
    fail(RangeError, `the header's length is ${length}, expected at most ${MAX_HEADER_BYTES}`);
  }
  if (length > file.length - LENGTH_BYTES) {
    fail(
      RangeError,
      `the header's length is ${length} and ${file.length - LENGTH_BYTES} bytes follow, ` +
        "expected a whole file",
    );
  }
  return Number(length);
}

function parseEntry(name: string, value: unknown): TensorEntry {
  const tensor = `tensor ${quote(name)}`;
  if (!isWellFormed(name)) fail(TypeError, `the name ${quote(name)} is not well-formed text`);
  if (!isObject(value)) {
    fail(
      TypeError,
      `${tensor} is ${describeValue(value)}, expected an object with dtype, shape and data_offsets`,
    );
  }
  const { dtype: type, shape, data_offsets: offsets } = value;
  if (typeof type !== "string" || !TYPE_NAME.test(type)) {
    fail(
      TypeError,
      `${tensor} has dtype ${describeValue(type)}, expected one of the format, as F32`,
    );
  }
  const elements = countElements(tensor, shape);
  if (!isListOfSizes(offsets) || offsets.length !== 2) {
    fail(
      TypeError,
      `${tensor} has data_offsets ${describeValue(offsets)}, expected two whole numbers >= 0`,
    );
  }
  const [begin, end] = offsets as [number, number];
  const bits = ELEMENT_BITS[type];
  const bytes = bits === undefined ? Math.max(0, end - begin) : elements * bits / 8;
  if (end - begin !== bytes) {
    fail(
      RangeError,
      `${tensor} has data_offsets [${begin}, ${end}], expected ${bytes} bytes for ` +
        `${type} of shape [${(shape as number[]).join(", ")}]`,
    );
  }
  return { name, type, shape: shape as number[], begin, end };
}

function countElements(tensor: string, shape: unknown): number {
  if (!Array.isArray(shape)) {
    fail(
      TypeError,
      `${tensor} has shape ${describeValue(shape)}, expected a list of whole numbers`,
    );
  }
  if (shape.length > MAX_RANK) {
    fail(RangeError, `${tensor} has ${shape.length} axes, at most ${MAX_RANK} are supported`);
  }
  if (!isListOfSizes(shape)) {
    const sizes = shape.map(describeValue).join(", ");
    fail(TypeError, `${tensor} has shape [${sizes}], expected whole numbers >= 0`);
  }
  let elements = 1;
  for (const size of shape) {
    elements *= size;
    if (elements > Number.MAX_SAFE_INTEGER) {
      fail(RangeError, `${tensor} has shape [${shape.join(", ")}], more than 2^53 elements`);
    }
  }
  return elements;
}

/** Throws unless the entries, in the order of the data, take every byte of it once. */
function assertCovered(entries: readonly TensorEntry[], dataBytes: number): void {
  let position = 0;
  for (const { name, begin, end } of entries) {
    if (end > dataBytes) {
      fail(
        RangeError,
        `tensor ${quote(name)} has data_offsets [${begin}, ${end}], expected at most the ` +
          `${dataBytes} bytes of data in the file`,
      );
    }
    if (begin !== position) {
      fail(
        RangeError,
        `tensor ${quote(name)} begins at byte ${begin} of the data, expected ${position}, ` +
          `where the one before ends: ${begin < position ? "they overlap" : "there is a gap"}`,
      );
    }
    position = end;
  }
  if (position !== dataBytes) {
    fail(
      RangeError,
      `the file has ${dataBytes} bytes of data, expected the ${position} that the tensors take`,
    );
  }
}

function parseMetadata(value: unknown): Record<string, string> {
  if (!isObject(value)) {
    fail(TypeError, `${METADATA_KEY} is ${describeValue(value)}, expected an object of texts`);
  }
  for (const [name, text] of Object.entries(value)) {
    if (typeof text !== "string") {
      fail(
        TypeError,
        `${METADATA_KEY} has ${describeValue(text)} as ${quote(name)}, expected text`,
      );
    }
  }
  return value as Record<string, string>;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isListOfSizes(value: unknown): value is number[] {
  return Array.isArray(value) &&
    value.every((size) => Number.isSafeInteger(size) && size >= 0 && !Object.is(size, -0));
}
