import { describe, it } from "@std/testing/bdd";
import { assertEquals } from "@std/assert";
import { runtimeOf } from "../../../../gpu/device.ts";
import type { MatmulOperand } from "../../../../gpu/ops/matmul/problem.ts";
import { readingOf, unitOf } from "../../../../gpu/ops/matmul/tile_operands.ts";
import { sharedDevice } from "../../../_device.ts";

const { memory } = runtimeOf(await sharedDevice());

describe("readingOf()", () => {
  const storage = memory.acquire(1024, "an operand");
  const along: MatmulOperand = {
    binding: storage,
    offset: 8,
    line: 12,
    step: 1,
    batchStrides: [0, 48],
  };
  const across: MatmulOperand = { ...along, line: 1, step: 12 };

  it("takes four at once where they are neighbours at a multiple of four", () => {
    assertEquals(readingOf(along, 12, "f32"), "vec_k");
    assertEquals(readingOf(across, 12, "f32"), "vec_lines");
    assertEquals(readingOf(across, 11, "f16"), "vec_lines");
  });

  it("takes elements where k or a stride is odd, or nothing is dense", () => {
    assertEquals(readingOf(along, 11, "f32"), "elements");
    for (const operand of [along, across]) {
      assertEquals(readingOf({ ...operand, offset: 9 }, 12, "f32"), "elements");
      assertEquals(readingOf({ ...operand, batchStrides: [2] }, 12, "f32"), "elements");
    }
    assertEquals(readingOf({ ...along, line: 13 }, 12, "f32"), "elements");
    assertEquals(readingOf({ ...along, step: 2 }, 12, "f32"), "elements");
  });

  it("takes elements in a window that ends within four of them", () => {
    const windowed = (size: number) => ({ ...along, binding: { storage, offset: 0, size } });
    assertEquals(readingOf(windowed(512), 12, "f32"), "vec_k");
    assertEquals(readingOf(windowed(520), 12, "f32"), "elements");
    assertEquals(readingOf(windowed(520), 12, "f16"), "vec_k");
    storage.release();
  });
});

describe("unitOf()", () => {
  it("is what one index stands for", () => {
    assertEquals([unitOf("vec_k"), unitOf("vec_lines"), unitOf("elements")], [4, 4, 1]);
  });
});
