/** A table of vectors: look-up, and which of them get gradients. */
import { Embedding } from "@denoformers/attention";
import { assertEquals, assertLess, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("Embedding", () => {
  it("gives the vectors of indices of any shape, in numbers or a tensor", async () => {
    using table = new Embedding(device, 5, 2);
    using weight = device.tensor([[0, 1], [10, 11], [20, 21], [30, 31], [40, 41]]);
    table.loadStateDict({ weight });
    using nested = table.forward([[4, 0], [1, 1]]);
    assertEquals(await nested.toArray(), [[[40, 41], [0, 1]], [[10, 11], [10, 11]]]);
    using indices = device.tensor([3, 2], { dtype: "i32" });
    using flat = table.forward(indices);
    assertEquals(await flat.toArray(), [[30, 31], [20, 21]]);
    using one = table.forward(2);
    assertEquals(await one.toArray(), [20, 21]);
    for (const big of [[3n, 2n], new BigInt64Array([3n, 2n]), new BigUint64Array([3n, 2n])]) {
      using same = table.forward(big);
      assertEquals(await same.toArray(), [[30, 31], [20, 21]]);
    }
    using none = table.forward(new Int32Array(0));
    assertEquals(none.shape, [0, 2]);
  });

  it("starts standard normal, with zeros for paddingIdx, the same from the same seed", async () => {
    using table = new Embedding(device, 100, 40, { seed: 1, paddingIdx: 3 });
    using again = new Embedding(device, 100, 40, { seed: 1 });
    const [values, plain] = [await table.weight.data(), await again.weight.data()];
    assertEquals(values, plain.map((value, at) => Math.floor(at / 40) === 3 ? 0 : value));
    // 4,000 squares of normal numbers: their mean varies by 2.2 %, here 4 times that.
    assertLess(Math.abs(plain.reduce((sum, v) => sum + v * v, 0) / 4000 - 1), 0.09);
  });

  it("sums gradients of an index that occurs twice, and gives none to paddingIdx", async () => {
    for (const paddingIdx of [undefined, 1]) {
      using table = new Embedding(device, 4, 2, { paddingIdx });
      using y = table.forward([1, 3, 3, 0]);
      using factors = device.tensor([[1, 2], [3, 4], [5, 6], [7, 8]]);
      y.backward(factors);
      const padded = paddingIdx === undefined ? [1, 2] : [0, 0];
      assertEquals(await table.weight.grad!.toArray(), [[7, 8], padded, [0, 0], [8, 10]]);
    }
  });

  it("leaves no tensor behind but its result", async () => {
    using table = new Embedding(device, 4, 2, { paddingIdx: 0 });
    await assertNoLeak(device, () => table.forward([[1, 0]]).dispose());
  });

  it("refuses indices that are none, and a paddingIdx beyond the table", () => {
    using table = new Embedding(device, 4, 2);
    for (const index of [-1, 4, 0.5, NaN]) {
      assertThrows(
        () => table.forward([[0, index]]),
        RangeError,
        `indices has ${index}, expected whole numbers from 0 to 3`,
      );
    }
    assertThrows(
      () => table.forward(new BigInt64Array([0n, 4n])),
      RangeError,
      "Cannot run Embedding: indices has 4n, expected whole numbers from 0 to 3",
    );
    using floats = device.zeros([2]);
    assertThrows(() => table.forward(floats), TypeError, "indices has dtype f32, expected i32");
    assertThrows(
      () => new Embedding(device, 4, 2, { paddingIdx: 4 }),
      RangeError,
      "paddingIdx is 4, expected a whole number from 0 to 3",
    );
  });
});
