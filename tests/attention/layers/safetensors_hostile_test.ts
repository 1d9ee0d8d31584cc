/** Safetensors headers made to do harm, and files of other formats; no GPU. */
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import process from "node:process";
import { parseHeader } from "../../../attention/layers/safetensors_header.ts";
import { entry, makeFile } from "./_safetensors_files.ts";

const seed = Number(Deno.env.get("DENOFORMERS_FUZZ_SEED") ?? 1);

/** Bytes of text with one byte a character, then zeros. */
function begins(text: string, length = 4096): Uint8Array<ArrayBuffer> {
  const file = new Uint8Array(Math.max(length, text.length));
  file.set(Array.from(text, (char) => char.charCodeAt(0)));
  return file;
}

describe("a file of another format", () => {
  const files: [what: string, begin: string, says: string][] = [
    ["torch.save()", "PK\x03\x04\x00\x00\x08\x08", "a zip archive, as torch.save()"],
    ["numpy.savez()", "PK\x03\x04\x14\x00\x00\x00", "a zip archive"],
    ["older torch.save()", "\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "a Python pickle"],
    ["pickle.dump()", "\x80\x04\x95\x10\x00\x00\x00\x00", "a Python pickle"],
    ["Keras", "\x89HDF\r\n\x1a\n", "HDF5, as Keras makes"],
    ["numpy.save()", "\x93NUMPY\x01\x00v\x00", "one array of NumPy"],
    ["llama.cpp", "GGUF\x03\x00\x00\x00", "GGUF"],
    ["gzip", "\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", "compressed by gzip"],
    ["Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:", "git lfs pull"],
    ["a web server", "\n<!DOCTYPE html><html>", "a web page; download the file itself"],
    ["an index", '{"metadata": {"total_size": 1}, "weight_map": {}}', "JSON, as the index"],
  ];
  for (const [what, begin, says] of files) {
    it(`from ${what} is called by its name, with a remedy, whatever its length`, () => {
      for (const length of [0, 4096, 700_000]) {
        const { message } = assertThrows(() => parseHeader(begins(begin, length)), TypeError);
        assert(message.startsWith("Cannot read safetensors: the file is "), message);
        assert(message.includes(says) && message.includes("; "), message);
      }
    });
  }

  it("is told from a broken file of safetensors whose length has the same bytes", () => {
    // 640 is 80 02, as pickles begin; 31,520 is a space and a brace, as JSON may.
    for (const length of [640, 0x7b20]) {
      const whole = makeFile("{}".padEnd(length));
      assertEquals(parseHeader(whole).entries, []);
      const { message } = assertThrows(() => parseHeader(whole.subarray(0, 100)), RangeError);
      assert(message.includes(`the header's length is ${length} and 92 bytes follow`), message);
    }
  });

  it("is read where it begins as one, but is none", () => {
    // A header of 0x7b bytes: the length begins as JSON does.
    const json = `{"a":${JSON.stringify(entry("F32", [1], 0, 4))}}`.padEnd(0x7b);
    assertEquals(parseHeader(makeFile(json, [0, 0, 0, 0])).entries.length, 1);
  });
});

/** Numbers as text: JSON has no NaN, and its numbers can be beyond every float. */
const hostileNumber = fc.oneof(
  fc.constantFrom(
    ...["-0", "-1", "0.5", "1e400", "-1e400", "1e-400", "9007199254740993", "1e15", "4.0"],
    ...["18446744073709551616", "2147483648", "4294967296", "NaN", "0x10", "01", '"4"', "null"],
  ),
  fc.nat(8).map(String),
);

const hostileName = fc.constantFrom(
  ...["__proto__", "constructor", "toString", "hasOwnProperty", "__metadata__", "valueOf", "a"],
  ...["", "\\u0000", "\\u0061", "\\ud800", "\\ud83d\\ude00", "length", "0", "dtype"],
);

const hostileType = fc.constantFrom(
  ...['"F32"', '"BOOL"', '"F64"', '"I64"', '"F4"', '"__proto__"', '"toString"', "null", "[]"],
);

const list = (max: number) =>
  fc.array(hostileNumber, { maxLength: max }).map((items) => `[${items.join()}]`);

const hostileEntry = fc.oneof(
  fc.tuple(hostileType, list(3), list(3)).map(([type, shape, offsets]) =>
    `{"dtype":${type},"shape":${shape},"data_offsets":${offsets}}`
  ),
  // What is taken, so that the others are met behind it.
  fc.nat(4).map((count) => `{"dtype":"BOOL","shape":[${count}],"data_offsets":[0,${count}]}`),
  fc.constantFrom('{"__proto__":{"dtype":"F32"}}', '{"x":"y"}', "[]", "null", '"text"', "1"),
);

const hostileHeader = fc.array(fc.tuple(hostileName, hostileEntry), { maxLength: 4 })
  .map((members) => `{${members.map(([name, value]) => `"${name}":${value}`).join()}}`);

describe("parseHeader() of a header made to do harm", () => {
  it("gives entries that take every byte once, or an error of ours", () => {
    const prototype = Object.getOwnPropertyNames(Object.prototype);
    let taken = 0;
    fc.assert(
      fc.property(hostileHeader, fc.nat(12), (json, dataBytes) => {
        const file = makeFile(json, new Uint8Array(dataBytes));
        let entries;
        try {
          ({ entries } = parseHeader(file));
        } catch (error) {
          assert(error instanceof TypeError || error instanceof RangeError, String(error));
          assert(error.message.startsWith("Cannot read safetensors: "), error.message);
          return;
        }
        taken++;
        let position = 0;
        for (const { begin, end, shape } of entries) {
          assertEquals(begin, position);
          assert(end >= begin && shape.every((size) => Number.isSafeInteger(size) && size >= 0));
          position = end;
        }
        assertEquals(position, dataBytes);
      }),
      { seed, numRuns: 3000 },
    );
    assertEquals(Object.getOwnPropertyNames(Object.prototype), prototype);
    assert(taken > 30, `only ${taken} were taken, so little was compared`);
  });

  it("takes no time by the square of names, spaces, escapes or sizes", () => {
    // By the square, each of these would take minutes.
    const many = (count: number, member: (i: number) => string) =>
      `{${Array.from({ length: count }, (_, i) => member(i)).join()}}`;
    const empty = JSON.stringify(entry("F32", [0], 0, 0));
    const texts = [
      many(100_000, (i) => `"${i}":${empty}`),
      `{"__metadata__":${many(100_000, (i) => `"${i}":""`)}}`,
      `{"__metadata__":{"a":"${"\\\\".repeat(1_000_000)}"}}`,
      `{${" ".repeat(1_000_000)}"a"${" ".repeat(1_000_000)}:${empty}}`,
    ];
    const before = process.cpuUsage(); // Other programs count not.
    assertEquals(texts.map((text) => parseHeader(makeFile(text)).entries.length), [
      100_000,
      0,
      0,
      1,
    ]);
    for (const text of [`{"a":[${'"b",'.repeat(300_000)}0]}`, `{"a":${"1".repeat(1_000_000)}}`]) {
      assertThrows(() => parseHeader(makeFile(text)), TypeError, 'tensor "a" is');
    }
    const { user } = process.cpuUsage(before);
    assert(user < 15e6, `it took ${user / 1e6} s, and takes 2`);
  });
});
