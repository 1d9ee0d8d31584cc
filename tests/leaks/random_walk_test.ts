/**
 * `device.memory()` is right behind every operation, whatever came before: its bytes are those of the buffers that
 * exist, and what it says is held is what can be reached. fast-check prints the shortest walk that breaks this.
 *
 * Walks are the same every time. `DENOFORMERS_FUZZ_SEED=n` draws others, `DENOFORMERS_FUZZ_RUNS=n` more or fewer.
 */
import { type Device, requestDevice } from "@denoformers/attention";
import { assertEquals, assertGreater } from "@std/assert";
import { afterAll, describe, it } from "@std/testing/bdd";
import fc from "fast-check";
import { ACTIONS } from "./_actions.ts";
import { watchBuffers } from "./_live_buffers.ts";
import { type Step, steps, Walk } from "./_walk.ts";

const seed = Number(Deno.env.get("DENOFORMERS_FUZZ_SEED") ?? 1);
const numRuns = Number(Deno.env.get("DENOFORMERS_FUZZ_RUNS") ?? 6);

const watch = watchBuffers();
let device: Device | undefined;

/** The device of all walks, or a new one where a walk left it in disorder. */
async function usable(): Promise<Device> {
  // It measures kernels, and has no time to compile more than one of a kind.
  return device ??= await requestDevice({ tune: { cache: false, budget: 0 } });
}

/** How often each action was done, and how often the library refused one. */
const done = new Map<string, number>();
let refused = 0;

async function take(walkSteps: readonly Step[]): Promise<void> {
  const own = await usable();
  try {
    await walkAlong(own, walkSteps);
  } catch (error) {
    own.dispose();
    device = undefined;
    throw error;
  }
}

async function walkAlong(own: Device, walkSteps: readonly Step[]): Promise<void> {
  {
    using walk = new Walk(own, watch);
    walk.check("on a device without tensors");
    for (const step of walkSteps) {
      await walk.step(step);
      done.set(step.action, (done.get(step.action) ?? 0) + 1);
    }
    if (walk.hasGarbage) await walk.collect();
    walk.check("after the walk");
    refused += walk.refused;
  }
  const { allocatedBytes, buffers, tensors } = own.memory();
  assertEquals([allocatedBytes, buffers, tensors], [0, 0, 0], "all is disposed");
}

describe("device.memory() in a random walk", () => {
  afterAll(() => {
    device?.dispose();
    watch[Symbol.dispose]();
  });

  it("is what exists and what is held, behind every operation and every error", async () => {
    const walks = fc.array(steps, { minLength: 40, maxLength: 50, size: "max" });
    // A walk that is made shorter compiles anew on a device of its own.
    const interruptAfterTimeLimit = 300_000;
    await fc.assert(fc.asyncProperty(walks, take), { seed, numRuns, interruptAfterTimeLimit });
  });

  it("came by every action, and by refused ones", () => {
    assertEquals(Object.keys(ACTIONS).filter((action) => !done.has(action)), []);
    assertGreater(refused, 10);
  });
});
