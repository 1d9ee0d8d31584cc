import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { adapterRemedy } from "../../../gpu/remedy.ts";

describe("adapterRemedy()", () => {
  it("names the packages on Linux", () => {
    assertStringIncludes(adapterRemedy("linux"), "apt install mesa-vulkan-drivers libvulkan1");
  });

  it("has advice for every system, without a line break at its end", () => {
    for (const os of ["linux", "darwin", "windows", "freebsd", "browser"]) {
      const text = adapterRemedy(os);
      assert(text.length > 0, os);
      assertEquals(text, text.trimEnd());
    }
  });
});
