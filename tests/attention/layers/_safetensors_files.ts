/** Safetensors files written by hand, most of them broken. */

/** A file with this header, an object or its text, and these data. */
export function makeFile(
  header: unknown,
  data: ArrayLike<number> = [],
): Uint8Array<ArrayBuffer> {
  const json = header instanceof Uint8Array
    ? header
    : new TextEncoder().encode(typeof header === "string" ? header : JSON.stringify(header));
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

/** A tensor in a header. */
export function entry(dtype: unknown, shape: unknown, ...offsets: unknown[]): unknown {
  return { dtype, shape, data_offsets: offsets };
}

/** A file that must be refused, and what the error must say. */
export interface BrokenFile {
  readonly what: string;
  readonly file: Uint8Array<ArrayBuffer>;
  readonly error: typeof RangeError | typeof TypeError;
  readonly says: string;
}

const GOOD = JSON.stringify({ a: entry("F32", [1], 0, 4) });
const FOUR = [0, 0, 0, 0];

/** A file that is `GOOD` but for the header's length. */
function withLength(length: bigint): Uint8Array<ArrayBuffer> {
  const file = makeFile(GOOD, FOUR);
  new DataView(file.buffer).setBigUint64(0, length, true);
  return file;
}

/** A header of one tensor `a`, before 4 bytes of data. */
function one(dtype: unknown, shape: unknown, ...offsets: unknown[]): Uint8Array<ArrayBuffer> {
  return makeFile({ a: entry(dtype, shape, ...offsets) }, FOUR);
}

const structure: [what: string, file: Uint8Array<ArrayBuffer>, says: string][] = [
  ["no text", makeFile(new Uint8Array([0x7b, 0xff, 0x7d])), "the header is not text in UTF-8"],
  ["half a code point", makeFile(new Uint8Array([0x22, 0xc3])), "not text in UTF-8"],
  ["no JSON", makeFile("{a: 1}"), "the header is not JSON"],
  ["an empty header", makeFile(""), "the header is not JSON"],
  ["an open string", makeFile('{"a'), "the header is not JSON"],
  ["a string that ends in a backslash", makeFile('{"a\\'), "the header is not JSON"],
  ["a broken key", makeFile('{"\\x": 1}'), "the header is not JSON"],
  ["more behind the JSON", makeFile(`${GOOD}\0`, FOUR), "the header is not JSON"],
  ["a byte order mark", makeFile(`\ufeff${GOOD}`, FOUR), "the header is not JSON"],
  ["a list", makeFile([1, 2]), "the header is [1, 2], expected an object"],
  ["null", makeFile("null"), "the header is null, expected an object"],
  ["text", makeFile('"__metadata__"'), 'the header is "__metadata__", expected an object'],
  [
    "a name twice",
    makeFile(`{"a":${JSON.stringify(entry("F32", [1], 0, 4))}, "a" :1}`, FOUR),
    'the key "a" twice in one object',
  ],
  ["a name twice, once escaped", makeFile('{"a":1,"\\u0061":2}'), 'the key "a" twice'],
  ["__proto__ twice", makeFile('{"__proto__":1,"__proto__":2}'), 'the key "__proto__" twice'],
  ["a field twice", makeFile('{"a":{"dtype":"F32","dtype":"F32"}}'), 'the key "dtype" twice'],
  ["half a surrogate pair", makeFile('{"\\ud800":1}'), 'the name "\\ud800" is not well-formed'],
  [
    "a tensor that is a number",
    makeFile({ a: 5 }),
    'tensor "a" is 5, expected an object with dtype, shape and data_offsets',
  ],
  ["a tensor named __proto__ that is null", makeFile('{"__proto__":null}'), '"__proto__" is null'],
  [
    "a long name",
    makeFile({ ["x".repeat(1000)]: [] }),
    `tensor "${"x".repeat(57)}..." is [], expected`,
  ],
  ["a dtype that is no name", one("F 32", [1], 0, 4), 'tensor "a" has dtype "F 32", expected'],
  ["a dtype of Object.prototype", one("constructor", [1], 0, 4), 'has dtype "constructor"'],
  ["a dtype in lower case", one("f32", [1], 0, 4), 'has dtype "f32"'],
  ["no dtype", makeFile({ a: { shape: [1], data_offsets: [0, 4] } }), "has dtype undefined"],
  ["a shape that is a number", one("F32", 1, 0, 4), "has shape 1, expected a list"],
  ["no shape", makeFile({ a: { dtype: "F32", data_offsets: [0, 4] } }), "has shape undefined"],
  ["half a size", one("F32", [0.5, 2], 0, 4), "has shape [0.5, 2], expected whole numbers >= 0"],
  ["a size below 0", one("F32", [-1, -1], 0, 4), "has shape [-1, -1], expected whole numbers >= 0"],
  ["a size of text", one("F32", ["1"], 0, 4), 'has shape ["1"], expected whole numbers'],
  [
    "a size beyond 2^53",
    one("F32", [2 ** 53, 0], 0, 0),
    "has shape [9007199254740992, 0], expected",
  ],
  ["an infinite size", makeFile(GOOD.replace("[1]", "[1e999]"), FOUR), "has shape [Infinity]"],
  ["three offsets", one("F32", [1], 0, 4, 4), "has data_offsets [0, 4, 4], expected two"],
  ["no offsets", makeFile({ a: { dtype: "F32", shape: [1] } }), "data_offsets undefined"],
  ["offsets of text", one("F32", [1], "0", "4"), "has data_offsets a list of 2, expected two"],
  ["offsets that are not whole", one("BOOL", [1], 0.5, 1.5), "data_offsets [0.5, 1.5], expected"],
  ["an offset below 0", one("F32", [1], -4, 0), "data_offsets [-4, 0], expected two whole numbers"],
  [
    "an offset of -0",
    makeFile(GOOD.replace("[0,4]", "[-0,4]"), FOUR),
    "data_offsets [0, 4], expected",
  ],
  [
    "an infinite offset",
    makeFile(GOOD.replace("[0,4]", "[0,1e400]"), FOUR),
    "data_offsets [0, Infinity], expected two whole numbers",
  ],
  ["a size of -0", makeFile(GOOD.replace("[1]", "[-0]"), FOUR), "has shape [0], expected whole"],
  ["NaN", makeFile(GOOD.replace("[0,4]", "[NaN,4]"), FOUR), "the header is not JSON"],
  [
    "offsets of objects that say they are numbers",
    one("F32", [1], { valueOf: 0 }, { toString: 4 }),
    "has data_offsets a list of 2, expected two whole numbers",
  ],
  ["a header of spaces", makeFile(" ".repeat(64)), "the header is not JSON"],
  [
    "a name in bytes of half a pair",
    makeFile(new Uint8Array([0x7b, 0x22, 0xed, 0xa0, 0x80])),
    "UTF-8",
  ],
  [
    "fields of a prototype",
    makeFile('{"a":{"__proto__":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}', FOUR),
    'tensor "a" has dtype undefined',
  ],
  ["metadata that is a list", makeFile({ __metadata__: [] }), "__metadata__ is [], expected"],
  ["metadata that is null", makeFile({ __metadata__: null }), "__metadata__ is null, expected"],
  [
    "metadata that is a number",
    makeFile({ __metadata__: { epoch: 3 } }),
    '__metadata__ has 3 as "epoch", expected text',
  ],
];

const sizes: [what: string, file: Uint8Array<ArrayBuffer>, says: string][] = [
  ["no byte", new Uint8Array(0), "the file has 0 bytes, expected at least 8"],
  ["7 bytes", new Uint8Array(7), "the file has 7 bytes, expected at least 8"],
  [
    "a header longer than the file",
    withLength(1000n),
    `the header's length is 1000 and ${GOOD.length + 4} bytes follow`,
  ],
  ["a header beyond 100 MB", withLength(100_000_001n), "is 100000001, expected at most 100000000"],
  ["a header of 2^64 - 1 bytes", withLength(2n ** 64n - 1n), "is 18446744073709551615, expected"],
  ["lists in lists", makeFile("[".repeat(100_000)), "nested deeper than 16 levels, expected 3"],
  ["9 axes", one("F32", Array(9).fill(1), 0, 4), "has 9 axes, at most 8 are supported"],
  [
    "a gigabyte that is not there",
    one("F32", [2 ** 28], 0, 2 ** 30),
    "[0, 1073741824], expected at most the 4 bytes of data",
  ],
  [
    "a terabyte, and what overlaps it",
    makeFile({ a: entry("U8", [2 ** 40], 0, 2 ** 40), b: entry("F32", [1], 0, 4) }, FOUR),
    "[0, 1099511627776], expected at most the 4 bytes of data",
  ],
  [
    "too many elements, by sizes that wrap around at 2^32",
    one("F32", [2 ** 31, 2 ** 31, 2 ** 31], 0, 0),
    "more than 2^53 elements",
  ],
  [
    "a million axes",
    one("F32", Array(1_000_000).fill(1), 0, 4),
    "has 1000000 axes, at most 8 are supported",
  ],
  ["objects in objects", makeFile('{"a":'.repeat(100_000)), "nested deeper than 16 levels"],
  [
    "nesting in metadata",
    makeFile(`{"__metadata__":${"[".repeat(100_000)}`),
    "nested deeper than 16 levels",
  ],
  [
    "too many elements",
    one("F32", [2 ** 27, 2 ** 27], 0, 4),
    "has shape [134217728, 134217728], more than 2^53 elements",
  ],
  [
    "too few bytes",
    one("F32", [2], 0, 4),
    "data_offsets [0, 4], expected 8 bytes for F32 of shape [2]",
  ],
  ["too many bytes", one("F16", [1], 0, 4), "[0, 4], expected 2 bytes for F16 of shape [1]"],
  ["half a byte", one("F4", [1], 0, 1), "[0, 1], expected 0.5 bytes for F4 of shape [1]"],
  ["an end before the begin", one("F32", [1], 4, 0), "[4, 0], expected 4 bytes for F32"],
  ["an end beyond the file", one("F32", [2], 0, 8), "[0, 8], expected at most the 4 bytes of data"],
  [
    "two tensors in one place",
    makeFile({ a: entry("F32", [1], 0, 4), b: entry("F32", [1], 0, 4) }, FOUR),
    'tensor "b" begins at byte 0 of the data, expected 4, where the one before ends: they overlap',
  ],
  [
    "tensors that overlap",
    makeFile({ b: entry("F16", [2], 2, 6), a: entry("F32", [1], 0, 4) }, [...FOUR, 0, 0]),
    'tensor "b" begins at byte 2 of the data, expected 4',
  ],
  [
    "a gap",
    makeFile({ a: entry("F16", [1], 0, 2), b: entry("F16", [1], 4, 6) }, [...FOUR, 0, 0]),
    'tensor "b" begins at byte 4 of the data, expected 2, where the one before ends: there is a gap',
  ],
  ["a gap at the start", one("F16", [1], 2, 4), "begins at byte 2 of the data, expected 0"],
  ["a rest", one("F16", [1], 0, 2), "the file has 4 bytes of data, expected the 2 that"],
  ["data without a tensor", makeFile({}, FOUR), "the file has 4 bytes of data, expected the 0"],
  [
    "an empty tensor within another",
    makeFile({ a: entry("F32", [1], 0, 4), b: entry("F32", [0], 2, 2) }, FOUR),
    'tensor "b" begins at byte 2 of the data, expected 4',
  ],
];

/** One file for each way to be broken. */
export const BROKEN_FILES: readonly BrokenFile[] = [
  ...structure.map(([what, file, says]) => ({ what, file, error: TypeError, says })),
  ...sizes.map(([what, file, says]) => ({ what, file, error: RangeError, says })),
];
