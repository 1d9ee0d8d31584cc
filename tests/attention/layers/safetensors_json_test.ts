/** JSON as the header of safetensors wants it; no GPU. */
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import {
  decodeJson,
  describeValue,
  isWellFormed,
  quote,
} from "../../../attention/layers/safetensors_json.ts";

const decode = (text: string) => decodeJson(new TextEncoder().encode(text));

describe("decodeJson()", () => {
  it("reads what JSON.parse() does where no key is there twice", () => {
    const texts = [
      '{"a": {"a": 1}, "b": [{"a": 2}, {"a": 3}], "c": "a"}',
      ' {"\\"": "\\\\", "\\\\": ":", ":" : "\\"}{[", "{": "]"} ',
      '{"": ["a", "a"], "\\u0001": "\\ud83d\\ude00"}',
      "[]",
      "1.5e3",
    ];
    for (const text of texts) assertEquals(decode(text), JSON.parse(text), text);
  });

  it("keeps __proto__ as a name like any other", () => {
    const value = decode('{"__proto__": {"dtype": "F32"}}') as Record<string, unknown>;
    assertEquals(Object.keys(value), ["__proto__"]);
    assertEquals(value.dtype, undefined);
  });

  it("refuses a key that is there twice in one object, however it is written", () => {
    for (const text of ['{"a":1,"a":1}', '{"b":[{"a":1 , "\\u0061"\n:2}]}', '{"a:":1,"a:":[]}']) {
      assertThrows(() => decode(text), TypeError, "twice in one object");
    }
  });

  it("refuses what is no JSON with the parser's error as its cause", () => {
    const error = assertThrows(() => decode('{"a":}'), TypeError, "the header is not JSON");
    assertEquals(error.cause instanceof SyntaxError, true);
  });

  it("refuses deep nesting before it is parsed", () => {
    assertEquals(
      decode("[".repeat(16) + "]".repeat(16)),
      JSON.parse("[".repeat(16) + "]".repeat(16)),
    );
    assertThrows(() => decode("[".repeat(17) + "]".repeat(17)), RangeError, "deeper than 16");
  });
});

it("quote() shortens what is long", () => {
  assertEquals(quote("a\n"), '"a\\n"');
  assertEquals(quote("x".repeat(60)), `"${"x".repeat(60)}"`);
  assertEquals(quote("x".repeat(61)), `"${"x".repeat(57)}..."`);
});

it("describeValue() shows any value of JSON on one short line", () => {
  const values = [null, true, 1.5, "a", [], [1, 2], ["a"], Array(9).fill(1), { a: 1 }, undefined];
  assertEquals(values.map(describeValue), [
    "null",
    "true",
    "1.5",
    '"a"',
    "[]",
    "[1, 2]",
    "a list of 1",
    "a list of 9",
    "an object",
    "undefined",
  ]);
});

it("isWellFormed() tells halves of surrogate pairs", () => {
  assertEquals(["", "a", "\u{1f600}", "\ud800", "a\udc00b", "\udc00\ud800"].map(isWellFormed), [
    true,
    true,
    true,
    false,
    false,
    false,
  ]);
});
