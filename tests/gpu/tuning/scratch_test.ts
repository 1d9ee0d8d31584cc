import { runtimeOf } from "../../../gpu/device.ts";
import { scratchArrays } from "../../../gpu/tuning/scratch.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();
const runtime = runtimeOf(device);

describe("scratchArrays()", () => {
  it("makes arrays of normal numbers, and releases them once", async () => {
    const before = device.memory();
    const { arrays, dispose } = scratchArrays(runtime, [[2, 500], [1000]], "f32");
    assertEquals(arrays.map(({ dtype, layout }) => [dtype, layout.shape]), [
      ["f32", [2, 500]],
      ["f32", [1000]],
    ]);
    const [a, b] = await Promise.all(
      arrays.map(async ({ storage }) => new Float32Array(await runtime.download(storage, 4000))),
    );
    // The standard error of the mean square of 1000 is 0.045.
    for (const values of [a!, b!]) {
      const square = values.reduce((sum, x) => sum + x * x, 0) / 1000;
      assert(square > 0.7 && square < 1.3, `${square}`);
    }
    assert(a![0] !== b![0]);
    dispose();
    dispose();
    assertEquals(device.memory().allocatedBytes, before.allocatedBytes);
    assertEquals(device.memory().tensors, before.tensors);
  });

  it("makes half floats, and zeros of types that hold no fractions", async () => {
    const before = device.memory().allocatedBytes;
    const half = scratchArrays(runtime, [[64]], "bf16");
    assertEquals(half.arrays[0]!.dtype, "bf16");
    half.dispose();
    const flags = scratchArrays(runtime, [[64]], "bool");
    const bytes = await runtime.download(flags.arrays[0]!.storage, 64);
    assertEquals(new Uint8Array(bytes), new Uint8Array(64));
    flags.dispose();
    assertEquals(device.memory().allocatedBytes, before);
  });

  it("keeps nothing if one of them cannot be", () => {
    const before = device.memory().allocatedBytes;
    assertThrows(() => scratchArrays(runtime, [[64], [2 ** 20, 2 ** 20]], "f32"), RangeError);
    assertEquals(device.memory().allocatedBytes, before);
  });
});
