/** Whether anything public is left out: each function and method has a family of random calls, or a reason. */
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { COVERED, EXCUSED } from "./_covered.ts";
import { ENTRIES } from "./_entries.ts";
import { FAMILIES } from "./families.ts";
import { publicNames } from "./_public.ts";

describe("the fuzzer", () => {
  const listed = new Map([
    ...ENTRIES.map(({ name }) => [name, "wrong_arguments"] as const),
    ...Object.entries(COVERED).flatMap(([family, names]) =>
      names.map((name) => [name, family] as const)
    ),
    ...Object.keys(EXCUSED).map((name) => [name, "excused"] as const),
  ]);

  it("calls every public function and method, but for those with a reason", () => {
    // One op answers for all: they share the function.
    const isAnother = (name: string) => /\.notSupportedReasons$/.test(name);
    assertEquals(publicNames().filter((name) => !listed.has(name) && !isAnother(name)), []);
  });

  it("lists nothing that is not public any more, and no family that is not there", () => {
    const names = new Set(publicNames());
    assertEquals([...listed.keys()].filter((name) => !names.has(name)), []);
    const families = FAMILIES.map(({ name }) => name);
    assertEquals(Object.keys(COVERED).filter((family) => !families.includes(family)), []);
  });
});
