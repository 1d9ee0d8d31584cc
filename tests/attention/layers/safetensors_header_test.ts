/** The header of safetensors, read and written; no GPU. */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import {
  compareText,
  formatHeader,
  parseHeader,
  type TensorEntry,
} from "../../../attention/layers/safetensors_header.ts";
import { BROKEN_FILES, entry, makeFile } from "./_safetensors_files.ts";

describe("parseHeader()", () => {
  it("gives entries in the order of the data, whatever that of the header", () => {
    const { entries, dataStart, metadata } = parseHeader(makeFile({
      z: entry("I64", [1], 5, 13),
      "0": entry("BOOL", [1, 1, 1], 4, 5),
      empty: entry("F64", [0, 3], 4, 4),
      a: entry("F32", [], 0, 4),
    }, Array(13).fill(0)));
    assertEquals(entries, [
      { name: "a", type: "F32", shape: [], begin: 0, end: 4 },
      { name: "empty", type: "F64", shape: [0, 3], begin: 4, end: 4 },
      { name: "0", type: "BOOL", shape: [1, 1, 1], begin: 4, end: 5 },
      { name: "z", type: "I64", shape: [1], begin: 5, end: 13 },
    ]);
    assertEquals(dataStart, makeFile({}, []).length - 2 + headerBytes(entries));
    assertEquals(Object.keys(metadata), []);
  });

  it("reads types of less than a byte, spaces around, and fields it does not know", () => {
    const json = ' {"a":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,3],"later":{"x":[1]}}}  ';
    const [found] = parseHeader(makeFile(json, [0, 0, 0])).entries;
    assertEquals(found, { name: "a", type: "F6_E2M3", shape: [4], begin: 0, end: 3 });
  });

  it("takes names of Object.prototype for names", () => {
    const json = '{"__metadata__":{"__proto__":"x","toString":"y"},' +
      '"__proto__":{"dtype":"BOOL","shape":[1],"data_offsets":[0,1]},' +
      '"constructor":{"dtype":"BOOL","shape":[1],"data_offsets":[1,2]}}';
    const { entries, metadata } = parseHeader(makeFile(json, [0, 0]));
    assertEquals(entries.map(({ name }) => name), ["__proto__", "constructor"]);
    assertEquals(Object.entries(metadata), [["__proto__", "x"], ["toString", "y"]]);
    assertEquals(Object.getPrototypeOf(metadata), null);
  });

  it("reads a file within a larger buffer", () => {
    const file = makeFile({ a: entry("BOOL", [1], 0, 1) }, [1]);
    const buffer = new Uint8Array(file.length + 10).fill(0xff);
    buffer.set(file, 3);
    assertEquals(parseHeader(buffer.subarray(3, 3 + file.length)), parseHeader(file));
  });

  it("takes a file just where its tensors lie side by side and have their shapes' bytes", () => {
    const seed = Number(Deno.env.get("DENOFORMERS_FUZZ_SEED") ?? 1);
    let taken = 0;
    fc.assert(
      fc.property(layouts, ({ tensors, dataBytes }) => {
        const names = tensors.map((tensor, i) => [`${i}`, tensor] as const);
        const header = Object.fromEntries(
          names.map((
            [name, { type, shape, begin, end }],
          ) => [name, entry(type, shape, begin, end)]),
        );
        const file = makeFile(header, Array(dataBytes).fill(0));
        if (liesWell(tensors, dataBytes)) {
          assertEquals(parseHeader(file).entries.length, tensors.length);
          taken++;
        } else assertThrows(() => parseHeader(file), RangeError);
      }),
      { seed, numRuns: 2000 },
    );
    // Of both kinds there were many.
    assertEquals(taken > 200 && taken < 1800, true, `${taken} of 2000 were taken`);
  });

  for (const { what, file, error, says } of BROKEN_FILES) {
    it(`refuses ${what}`, () => {
      const { message } = assertThrows(() => parseHeader(file), error, says) as Error;
      assertEquals(message.slice(0, 25), "Cannot read safetensors: ");
      assertEquals(message.length < 400, true);
    });
  }
});

describe("formatHeader()", () => {
  const entries: readonly TensorEntry[] = [
    { name: "b", type: "F32", shape: [1, 2], begin: 0, end: 8 },
    { name: "0", type: "F16", shape: [], begin: 8, end: 10 },
    { name: '__proto__ "\u20ac\u0001', type: "BOOL", shape: [0], begin: 10, end: 10 },
  ];

  it("is read again as it was, with data at a multiple of 8 bytes", () => {
    for (const metadata of [{}, { b: "", a: "\n\u{1f600}" }]) {
      const header = formatHeader(entries, metadata);
      const file = new Uint8Array(header.length + 10);
      file.set(header);
      const parsed = parseHeader(file);
      assertEquals(parsed.entries, entries);
      assertEquals({ ...parsed.metadata }, metadata);
      assertEquals(parsed.dataStart, header.length);
      assertEquals(header.length % 8, 0);
    }
  });

  it("writes the same text whatever the order of the metadata", () => {
    const text = (metadata: Record<string, string>) =>
      new TextDecoder().decode(formatHeader([], metadata).subarray(8));
    assertEquals(text({ b: "1", a: "2" }), '{"__metadata__":{"a":"2","b":"1"}}      ');
    assertEquals(text({ a: "2", b: "1" }), text({ b: "1", a: "2" }));
    assertEquals(text({}), "{}      ");
  });

  it("refuses a header that the format does not allow", () => {
    const long = { long: "x".repeat(100_000_000) };
    assertThrows(() => formatHeader([], long), RangeError, "expected at most 100000000");
  });
});

it("compareText() orders as UTF-8 does", () => {
  const texts = ["\u{1f600}", "\uffee", "a", "", "ab", "\u00e9", "Z", "a.b", "a0"];
  const encoded = new Map(texts.map((text) => [text, [...new TextEncoder().encode(text)]]));
  const byBytes = [...texts].sort((a, b) => {
    const [left, right] = [encoded.get(a)!, encoded.get(b)!];
    const at = left.findIndex((byte, i) => byte !== right[i]);
    return at < 0 ? left.length - right.length : left[at]! - (right[at] ?? -1);
  });
  assertEquals([...texts].sort(compareText), byBytes);
});

type Layout = Omit<TensorEntry, "name">;

const BYTES: Record<string, number> = { BOOL: 1, BF16: 2, F32: 4 };

/** Up to four tensors one behind the other, of which up to two numbers are then moved. */
const layouts: fc.Arbitrary<{ tensors: Layout[]; dataBytes: number }> = fc.record({
  kinds: fc.array(
    fc.record({
      type: fc.constantFrom(...Object.keys(BYTES)),
      shape: fc.array(fc.nat(3), { maxLength: 2 }),
    }),
    { maxLength: 4 },
  ),
  order: fc.nat(),
  moves: fc.array(
    fc.record({ of: fc.nat(4), begin: fc.integer({ min: -1, max: 2 }), end: fc.nat(2) }),
    { maxLength: 2 },
  ),
}).map(({ kinds, order, moves }) => {
  let end = 0;
  const tensors = kinds.map(({ type, shape }) => {
    const begin = end;
    end += BYTES[type]! * shape.reduce((a, b) => a * b, 1);
    return { type, shape, begin, end };
  });
  let dataBytes = end;
  for (const move of moves) {
    const moved = tensors[move.of];
    if (moved) {
      moved.begin = Math.max(0, moved.begin + move.begin);
      moved.end = Math.max(0, moved.end + move.begin + move.end - 1);
    } else dataBytes = Math.max(0, dataBytes + move.begin);
  }
  const first = tensors.length > 0 ? order % tensors.length : 0;
  return { tensors: [...tensors.slice(first), ...tensors.slice(0, first)], dataBytes };
});

/** By another way: every byte of the data has one owner, and no empty tensor lies within another. */
function liesWell(tensors: readonly Layout[], dataBytes: number): boolean {
  const owners = Array.from(
    { length: dataBytes },
    (_, at) => tensors.filter(({ begin, end }) => begin <= at && at < end).length,
  );
  const isWithin = (at: number) => tensors.some(({ begin, end }) => begin < at && at < end);
  return owners.every((count) => count === 1) &&
    tensors.every(({ type, shape, begin, end }) =>
      end - begin === BYTES[type]! * shape.reduce((a, b) => a * b, 1) && end <= dataBytes &&
      (begin < end || !isWithin(begin))
    );
}

/** Bytes of the JSON of these entries, as `makeFile` writes them, in any order. */
function headerBytes(entries: readonly TensorEntry[]): number {
  const members = entries.map(({ name, type, shape, begin, end }) =>
    `"${name}":${JSON.stringify(entry(type, shape, begin, end))}`
  );
  return `{${members.join(",")}}`.length;
}
