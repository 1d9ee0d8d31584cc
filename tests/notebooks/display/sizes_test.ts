import type { Device } from "@denoformers/attention";
import { chooseSize } from "../../../notebooks/display/sizes.ts";
import { withEnvironment } from "./_displays.ts";
import { assertEquals, assertRejects } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const SIZES = { small: [1], large: [2] };
const VARIABLE = "DENOFORMERS_NOTEBOOK_SIZE";

function choose(isFallback: boolean, size: string): Promise<number[]> {
  const device = { info: { isFallback } } as Device;
  return withEnvironment({ [VARIABLE]: size }, () => chooseSize(device, SIZES));
}

describe("chooseSize()", () => {
  it("is small where the CPU computes, else large", async () => {
    assertEquals(await choose(true, ""), [1]);
    assertEquals(await choose(false, ""), [2]);
  });

  it("does what the environment says", async () => {
    assertEquals(await choose(false, "small"), [1]);
    assertEquals(await choose(true, "large"), [2]);
  });

  it("throws on another size", async () => {
    await assertRejects(
      () => choose(true, "medium"),
      RangeError,
      `Cannot choose sizes: ${VARIABLE} is "medium", expected "small" or "large"`,
    );
  });
});
