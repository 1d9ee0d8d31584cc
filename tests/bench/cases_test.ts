import { assert, assertEquals, assertLessOrEqual } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { allCases } from "./cases.ts";
import { chooseCases, CPU_FLOPS, nameOf, reducedForCpu } from "./case_choice.ts";

const cases = allCases();
const gpu = { quick: false, only: "", cpu: false };

describe("allCases()", () => {
  it("gives cases that can be made: whole sizes, heads that keys divide, sequences that divide", () => {
    for (const { B, Mq, Mkv, H, Hkv, K, variant, set } of cases) {
      for (const size of [B, Mq, Mkv, H, Hkv, K, H / Hkv]) assert(Number.isInteger(size), set);
      if (variant === "packed") assertEquals([B, Mq % 8], [1, 0]);
      if (variant === "window") assertEquals(Mkv % 16, 0);
    }
  });

  it("has the peers compute only what all of them can: f32, no groups, no mask or a causal one", () => {
    for (const { peers, dtype, H, Hkv, Mq, Mkv, variant } of cases) {
      if (!peers) continue;
      assertEquals([dtype, H, Mq], ["f32", Hkv, Mkv]);
      assert(variant === "none" || variant === "causal", variant);
    }
  });

  it("times a gradient of the bias in training alone", () => {
    const passes = cases.filter(({ variant }) => variant === "bias with gradient").map((c) =>
      c.pass
    );
    assertEquals([...new Set(passes)], ["training"]);
  });
});

describe("chooseCases()", () => {
  it("has no case twice, and all of them on a GPU", () => {
    const names = chooseCases(gpu).map(({ name }) => name);
    assertEquals(new Set(names).size, names.length);
    assertEquals(new Set(names), new Set(cases.map(nameOf)));
  });

  it("has some of every set when quick, on either kind of adapter", () => {
    const sets = new Set(cases.map(({ set }) => set));
    sets.delete("sweep"); // It differs from the others in nothing but sizes.
    for (const cpu of [false, true]) {
      const quick = chooseCases({ ...gpu, quick: true, cpu });
      assertEquals(new Set(quick.map(({ set }) => set)), sets);
      assertLessOrEqual(quick.length, 30); // So that it takes minutes on a CPU, seconds on a GPU.
    }
  });

  it("finds by any part of a name", () => {
    const found = chooseCases({ ...gpu, only: " f16 causal, training" });
    assert(found.length > 0);
    for (const { dtype, variant, pass } of found) {
      assertEquals([dtype, variant, pass], ["f16", "causal", "training"]);
    }
  });
});

describe("reducedForCpu()", () => {
  it("keeps within the operations of a CPU, and leaves the rest of the case alone", () => {
    for (const found of cases) {
      const { B, Mq, Mkv, H, Hkv, ...rest } = reducedForCpu(found);
      if (found.set !== "must") assertLessOrEqual(4 * B * Mq * Mkv * H * rest.K, CPU_FLOPS);
      assertEquals({ ...found, B, Mq, Mkv, H, Hkv }, { ...rest, B, Mq, Mkv, H, Hkv });
      assert(Number.isInteger(H / Hkv));
    }
  });

  it("halves the batch, then heads, then lengths", () => {
    const reduced = (B: number, M: number, H: number) => {
      const base = { ...cases.find(({ set }) => set === "sweep")!, Mq: M, Mkv: M, K: 64 };
      const { B: b, Mq, H: h } = reducedForCpu({ ...base, B, H, Hkv: H });
      return [b, Mq, h];
    };
    // 4 M^2 K is 0.27e9 for 1,024 and 4.3e9 for 4,096 tokens.
    assertEquals(reduced(2, 1024, 1), [2, 1024, 1]);
    assertEquals(reduced(6, 1024, 1), [3, 1024, 1]);
    assertEquals(reduced(4, 1024, 8), [1, 1024, 2]);
    assertEquals(reduced(4, 4096, 8), [1, 1024, 1]);
  });
});
