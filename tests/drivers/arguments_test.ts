import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parseArguments } from "./arguments.ts";

const KNOWN = ["lavapipe", "swiftshader"];
const USUAL = ["deno", "test"];
const parse = (...args: string[]) => parseArguments(args, KNOWN, USUAL);

describe("parseArguments()", () => {
  it("takes every driver by default", () => {
    assertEquals(parse("--", "deno", "test", "--", "x"), {
      drivers: KNOWN,
      command: ["deno", "test", "--", "x"],
    });
  });

  it("takes the usual command where none is given", () => {
    assertEquals(parse(), { drivers: KNOWN, command: USUAL });
    const one = { drivers: ["lavapipe"], command: USUAL };
    assertEquals(parse("--drivers", "lavapipe"), one);
  });

  it("takes the drivers that are named, in their order", () => {
    const swapped = { drivers: ["swiftshader", "lavapipe"], command: ["true"] };
    assertEquals(parse("--drivers", "swiftshader,lavapipe", "--", "true"), swapped);
    assertEquals(parse("--drivers=swiftshader,lavapipe", "--", "true"), swapped);
  });

  it("throws on an unknown driver, an unknown option, and without a command", () => {
    assertThrows(() => parse("--drivers", "x", "--", "true"), TypeError, '"x"');
    assertThrows(() => parse("--drivers", "--", "true"), TypeError);
    assertThrows(() => parse("--x", "--", "true"), TypeError, '"--x"');
    assertThrows(() => parse("true"), TypeError, '"true"');
    assertThrows(() => parse("--"), TypeError, "no command");
  });
});
