/**
 * A few random cases of every family. What is drawn is another thing each time; a failure prints the seed, and
 * `FUZZ_SEED=n` draws the same again. `deno task fuzz` tries many more.
 */
import { requestDevice } from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { FAMILIES } from "./families.ts";
import { SEED_END } from "./options.ts";
import { runFamily } from "./_run.ts";

const device = await sharedDevice();
const seed = Number(Deno.env.get("FUZZ_SEED") ?? Math.floor(Math.random() * SEED_END));
// deno-lint-ignore no-console -- a failing run is repeated by this number
console.log(`fuzzing with FUZZ_SEED=${seed}`);

describe("random calls", () => {
  for (const family of FAMILIES) {
    it(`of ${family.name} are right, or refused`, async () => {
      const plan = { cases: family.quick, seed, batch: family.quick, breadth: 1 };
      const { failures, cases } = await runFamily(device, family, family.quick, plan);
      const told = failures.map(({ shrunk, error }) => `FUZZ_SEED=${seed}: ${shrunk}\n${error}`);
      assertEquals(told, []);
      assertEquals(cases, family.quick);
    });
  }
});

describe("runFamily()", () => {
  it("finds the smallest case that goes wrong, and what is left behind", async () => {
    using other = await requestDevice({ tune: false });
    const family = FAMILIES.find(({ name }) => name === "joins")!;
    const plan = { cases: 200, seed: 1, batch: 200, breadth: 1 };
    const wrong = {
      ...family,
      check: (_: unknown, { list }: { list: number[] }) => {
        if (list.length > 2) throw new Error("three");
      },
    };
    const { failures: [failure] } = await runFamily(other, wrong, 200, plan);
    assertEquals([failure?.error, /"list":\[0,0,0\]/.test(failure?.shrunk ?? "")], [
      "Error: three",
      true,
    ]);
    const kept: Disposable[] = [];
    const leaky = { ...family, check: () => void kept.push(other.zeros([1])) };
    const { failures: [leak] } = await runFamily(other, leaky, 1, plan);
    assertEquals(leak?.error, "Error: 1 tensors are left behind");
    for (const tensor of kept) tensor[Symbol.dispose]();
  });
});
