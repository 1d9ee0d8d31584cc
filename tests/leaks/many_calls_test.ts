/**
 * 10,000 calls of attention, each way in which programs give memory back, in processes of their own: what is alive
 * stays what it was, and so does the process.
 */
import { assertEquals, assertGreater, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { isCore } from "../_extent.ts";
import type { Mode, Report } from "./programs/many_calls.ts";

const CALLS = 10_000;

/**
 * Bytes by which the process may grow over all calls, with all garbage collected: by 0 to 3 MiB where results are
 * disposed; a KiB kept for each dispatch makes this 27 and more. Where nobody disposes, the heap has been larger, and
 * V8 keeps some of it: 3 to 26 MiB.
 */
const MOST_GROWTH = { disposed: 12 * 2 ** 20, forgotten: 48 * 2 ** 20 };

/**
 * Most tensors that may be alive where V8 collects them at its own pace, of 20,000 and more that are made. V8 collects
 * its young generation when some MiB are full, and a tensor has one or two KiB of objects.
 */
const MOST_GARBAGE = 6000;

/** Runs a program of this folder to its end; returns what it prints. */
async function run<T>(program: string, ...args: readonly string[]): Promise<T> {
  const path = new URL(`./programs/${program}.ts`, import.meta.url).pathname;
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--no-check", path, ...args],
  }).output();
  const decode = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  assertEquals(success, true, decode(stderr));
  return JSON.parse(decode(stdout));
}

function alive({ memory: { allocatedBytes, buffers, tensors } }: Report["before"]) {
  return { allocatedBytes, buffers, tensors };
}

function callsOf(mode: Mode): Promise<Report> {
  return run("many_calls", mode, `${CALLS}`);
}

describe("10,000 calls of attention, forward and backward", { ignore: isCore }, () => {
  for (const mode of ["using", "tidy"] as const) {
    it(`with ${mode} leave nothing behind, ever`, async () => {
      const { before, after, collected, mostTensors } = await callsOf(mode);
      assertEquals(after.memory, before.memory);
      assertEquals(mostTensors, before.memory.tensors);
      const growth = collected.rss - before.rss;
      assertLess(growth, MOST_GROWTH.disposed, "bytes that the process grew");
    });
  }

  const ways = { turns: "the event loop turns", reads: "nothing is awaited but results" } as const;
  for (const [mode, when] of Object.entries(ways) as ["turns" | "reads", string][]) {
    it(`that nobody disposes go with the garbage, while ${when}`, async () => {
      const { before, collected, mostTensors } = await callsOf(mode);
      assertEquals(alive(collected), alive(before));
      assertGreater(mostTensors, before.memory.tensors, "garbage was made");
      assertLess(mostTensors, MOST_GARBAGE);
      const growth = collected.rss - before.rss;
      assertLess(growth, MOST_GROWTH.forgotten, "bytes that the process grew");
    });
  }
});

describe("uploads that nothing is computed of", () => {
  it("are not kept by the runtime as well", async () => {
    // 100 uploads of 4 MiB; the runtime may hold 16 MiB of them, and the rest is for the heap.
    const { growth } = await run<{ growth: number }>("uploads", "100");
    assertLess(growth, 128 * 2 ** 20);
  });
});
