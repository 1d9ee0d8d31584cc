import { finiteRange, readMatrix, reduceMatrix } from "../../../notebooks/display/matrix.ts";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

describe("reduceMatrix()", () => {
  it("leaves a small matrix as it is", () => {
    const values = [1, 2, 3, 4, 5, 6];
    assertEquals(reduceMatrix(values, 2, 3, 3), { rows: 2, columns: 3, values, block: 1, step: 1 });
  });

  it("takes means of square blocks, smaller ones at the far ends", () => {
    const { values, rows, columns, block } = reduceMatrix([1, 2, 3, 5, 6, 7, 9, 9, 9], 3, 3, 2);
    assertEquals([rows, columns, block], [2, 2, 2]);
    assertEquals(Array.from(values), [3.5, 5, 9, 9]);
  });

  it("shows that something in a block is not finite", () => {
    const { values } = reduceMatrix([1, Infinity, 3, NaN, -Infinity, 1, 1, 1], 2, 4, 2);
    assertEquals(Array.from(values), [NaN, NaN]);
  });
});

describe("readMatrix()", () => {
  it("reads all element types", async () => {
    const device = await sharedDevice();
    for (const dtype of ["f32", "f16", "bf16", "i32", "u32", "bool"] as const) {
      using tensor = device.tensor([[0, 1], [1, 1]], { dtype });
      assertEquals(Array.from((await readMatrix(tensor, 8)).values), [0, 1, 1, 1], dtype);
    }
  });

  it("reads only some rows and columns of a huge matrix, and leaves nothing behind", async () => {
    const device = await sharedDevice();
    using row = device.arange(0, 8192);
    using tensor = row.reshape([1, 8192]).expand([8192, 8192]);
    await assertNoLeak(device, async () => {
      const { rows, columns, values, block, step } = await readMatrix(tensor, 256);
      // 8,192^2 elements are 16 times what is read; 2,048 of each are means of 8.
      assertEquals([rows, columns, block, step], [256, 256, 32, 4]);
      assertEquals([values[0], values[256 * 256 - 1]], [14, 8160 + 14]);
    });
  });
});

describe("finiteRange()", () => {
  it("is of finite values alone", () => {
    assertEquals(finiteRange([3, NaN, -1, Infinity]), [-1, 3]);
    assertEquals(finiteRange([NaN]), undefined);
    assertEquals(finiteRange([]), undefined);
  });
});
