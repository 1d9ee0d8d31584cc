import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { parseOsRelease } from "../../../gpu/setup/os_release.ts";

describe("parseOsRelease()", () => {
  it("reads plain, double-quoted and single-quoted values", () => {
    const text = `ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_ID='12'\n`;
    assertEquals(parseOsRelease(text), {
      ID: "debian",
      PRETTY_NAME: "Debian GNU/Linux 12 (bookworm)",
      VERSION_ID: "12",
    });
  });

  it("skips comments, blank lines and what is no assignment", () => {
    assertEquals(parseOsRelease("# ID=fedora\n\nnonsense\nID=arch"), { ID: "arch" });
  });

  it("undoes the escapes of a quoted value", () => {
    assertEquals(parseOsRelease('NAME="a \\"b\\" \\$c"'), { NAME: 'a "b" $c' });
  });

  it("keeps an empty value", () => {
    assertEquals(parseOsRelease('VARIANT=""\nID='), { VARIANT: "", ID: "" });
  });
});
