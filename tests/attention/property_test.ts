/**
 * Properties that hold for every call, tried on calls drawn at random. fast-check prints the smallest call
 * that breaks one.
 *
 * What is drawn is the same every time, so that a failure is no accident. `DENOFORMERS_FUZZ_SEED=n` draws
 * others, `DENOFORMERS_FUZZ_RUNS=n` more or fewer of them (100 unless given).
 */
import { type Device, tidy } from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { sharedDevice } from "../_device.ts";
import { isCore } from "../_extent.ts";
import { calls, looseCalls, masks, partitions, spoils } from "./_arbitraries.ts";
import { makeSpoiledMask } from "./_mask_specs.ts";
import {
  assertMaskMatches,
  assertMergesMatch,
  assertRefused,
  checkLooseCall,
} from "./_properties.ts";
import { assertCallMatches } from "./_random_call.ts";
import { assertGradientsMatch } from "./_random_gradients.ts";

const device: Device = await sharedDevice();
const seed = Number(Deno.env.get("DENOFORMERS_FUZZ_SEED") ?? 1);
const numRuns = Number(Deno.env.get("DENOFORMERS_FUZZ_RUNS") ?? 100);

describe("memoryEfficientAttention()", () => {
  it("is the float64 reference for every op, mask, bias, dropout, dtype, rank and stride", {
    ignore: isCore,
  }, async () => {
    const property = fc.asyncProperty(calls, (call) => assertCallMatches(device, call));
    await fc.assert(property, { seed, numRuns });
  });

  it(
    "has the reference's gradients by query, key, value and bias",
    { ignore: isCore },
    async () => {
      const differentiable = calls.filter(({ compiled, upstream }) => {
        return compiled.gradients === true && upstream !== undefined;
      });
      const property = fc.asyncProperty(
        differentiable,
        (call) => assertGradientsMatch(device, call, call.upstream!),
      );
      await fc.assert(property, { seed, numRuns: Math.ceil(numRuns / 3) });
    },
  );

  it("of arguments that do not go together is an error that says so, never a result", async () => {
    const property = fc.asyncProperty(looseCalls, async (call) => {
      const { tensors } = device.memory();
      tidy(() => checkLooseCall(device, call));
      assertEquals(device.memory().tensors, tensors, "tensors left behind");
      await device.sync();
    });
    await fc.assert(property, { seed, numRuns: 3 * numRuns });
  });
});

describe("mergeAttentions()", () => {
  it("of any partition of the keys is attention to all of them", async () => {
    const property = fc.asyncProperty(
      partitions,
      (partition) => assertMergesMatch(device, partition),
    );
    await fc.assert(property, { seed, numRuns: Math.ceil(numRuns / 3) });
  });
});

describe("masks", () => {
  it("materialize by their formulas", () => {
    fc.assert(fc.property(masks, assertMaskMatches), { seed, numRuns: 2 * numRuns });
  });

  it("refuse every argument that is no count", () => {
    const property = fc.property(masks, spoils, (spec, spoil) => {
      const make = makeSpoiledMask(spec, spoil);
      if (make) assertRefused(make);
    });
    fc.assert(property, { seed, numRuns: 10 * numRuns });
  });
});
