/** Devices of several threads, and threads that end in the middle of work. */
import { assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { runProgram } from "./_program.ts";

describe("workers", () => {
  it("have devices of their own, may be terminated at any moment, and get no tensors posted", async () => {
    const { code, values, text } = await runProgram("tests/faults/programs/workers.ts");
    assertEquals(code, 0, text);
    const [together, terminated, tensor, device, nested, late] = values;
    assertEquals(together, { name: "at once", same: [true, true, true] });
    assertEquals(terminated, { name: "terminated", same: true });
    for (const { error } of [tensor!, device!, nested!]) {
      assertStringIncludes(
        `${error}`,
        "A device or its tensor cannot be posted to another thread: post data(), call requestDevice() there",
      );
    }
    assertEquals(late, { name: "late", same: true }, text);
  });
});
