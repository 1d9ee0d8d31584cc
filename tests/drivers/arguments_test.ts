import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parseArguments } from "./arguments.ts";

const KNOWN = ["lavapipe", "swiftshader"];
const USUAL = ["deno", "test"];

describe("parseArguments()", () => {
  it("takes every driver by default", () => {
    assertEquals(parseArguments(["--", "deno", "test", "--", "x"], KNOWN, USUAL), {
      drivers: KNOWN,
      command: ["deno", "test", "--", "x"],
    });
  });

  it("takes the usual command where none is given", () => {
    assertEquals(parseArguments([], KNOWN, USUAL), { drivers: KNOWN, command: USUAL });
    const one = { drivers: ["lavapipe"], command: USUAL };
    assertEquals(parseArguments(["--drivers", "lavapipe"], KNOWN, USUAL), one);
  });

  it("takes the drivers that are named, in their order", () => {
    const swapped = { drivers: ["swiftshader", "lavapipe"], command: ["true"] };
    assertEquals(
      parseArguments(["--drivers", "swiftshader,lavapipe", "--", "true"], KNOWN, USUAL),
      swapped,
    );
    assertEquals(
      parseArguments(["--drivers=swiftshader,lavapipe", "--", "true"], KNOWN, USUAL),
      swapped,
    );
  });

  it("throws on an unknown driver, an unknown option, and without a command", () => {
    assertThrows(
      () => parseArguments(["--drivers", "x", "--", "true"], KNOWN, USUAL),
      TypeError,
      '"x"',
    );
    assertThrows(() => parseArguments(["--drivers", "--", "true"], KNOWN, USUAL), TypeError);
    assertThrows(() => parseArguments(["--x", "--", "true"], KNOWN, USUAL), TypeError, '"--x"');
    assertThrows(() => parseArguments(["true"], KNOWN, USUAL), TypeError, '"true"');
    assertThrows(() => parseArguments(["--"], KNOWN, USUAL), TypeError, "no command");
  });
});
