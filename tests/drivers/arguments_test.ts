import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parseArguments } from "./arguments.ts";

const KNOWN = ["lavapipe", "swiftshader"];

describe("parseArguments()", () => {
  it("takes every driver by default", () => {
    assertEquals(parseArguments(["--", "deno", "test", "--", "x"], KNOWN), {
      drivers: KNOWN,
      command: ["deno", "test", "--", "x"],
    });
  });

  it("takes the drivers that are named, in their order", () => {
    const swapped = { drivers: ["swiftshader", "lavapipe"], command: ["true"] };
    assertEquals(
      parseArguments(["--drivers", "swiftshader,lavapipe", "--", "true"], KNOWN),
      swapped,
    );
    assertEquals(parseArguments(["--drivers=swiftshader,lavapipe", "--", "true"], KNOWN), swapped);
  });

  it("throws on an unknown driver, an unknown option, and without a command", () => {
    assertThrows(() => parseArguments(["--drivers", "x", "--", "true"], KNOWN), TypeError, '"x"');
    assertThrows(() => parseArguments(["--drivers", "--", "true"], KNOWN), TypeError);
    assertThrows(() => parseArguments(["--x", "--", "true"], KNOWN), TypeError, '"--x"');
    assertThrows(() => parseArguments(["true"], KNOWN), TypeError, "no command");
    assertThrows(() => parseArguments(["--"], KNOWN), TypeError, "no command");
  });
});
