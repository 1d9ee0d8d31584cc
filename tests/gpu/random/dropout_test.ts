import { dropThreshold } from "../../../gpu/random/dropout.ts";
import { philox, seedKey } from "../../../gpu/random/philox.ts";
import { roundedTo } from "../../../gpu/dtype.ts";
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();
const FLOATS = ["f32", "f16", "bf16"] as const;

/** Which of `count` elements are kept. */
function kept(count: number, p: number, seed: number): boolean[] {
  const key = seedKey(seed);
  const threshold = Math.min(Math.round(p * 2 ** 32), 2 ** 32 - 1);
  return Array.from(
    { length: count },
    (_, e) => philox([Math.floor(e / 4), 0, 0, 1], key)[e % 4]! >= threshold,
  );
}

describe("Tensor.dropout()", () => {
  it("drops what the host's Philox says and scales the rest, in every float type", async () => {
    await assertNoLeak(device, async () => {
      for (const [length, p, seed] of [[1, 0.5, 1], [7, 0.3, 2 ** 40], [1038, 0.7, 5]] as const) {
        const keeps = kept(length, p, seed);
        for (const dtype of FLOATS) {
          using x = device.tensor(randomValues(length, 3), { dtype });
          const values = await x.data();
          using y = x.dropout(p, { seed });
          const scale = Math.fround(1 / (1 - p));
          const expected = Array.from(
            values,
            (value, e) => keeps[e] ? roundedTo(dtype, Math.fround(value * scale)) : 0,
          );
          assertEquals([y.dtype, [...await y.data()]], [dtype, expected], `${dtype}, p ${p}`);
        }
      }
    });
  });

  it("reads strided tensors, and drops by the index in row-major order", async () => {
    const values = randomValues(105, 4);
    using x = nanPadded(device, values, [5, 3, 7]);
    using dense = device.tensor(values, { shape: [5, 3, 7] });
    using a = x.dropout(0.4, { seed: 9 });
    using b = dense.dropout(0.4, { seed: 9 });
    assertEquals(await a.data(), await b.data());
    using turned = dense.permute([2, 0, 1]);
    using c = turned.dropout(0.4, { seed: 9 });
    using copied = turned.clone().dropout(0.4, { seed: 9 });
    assertEquals(await c.data(), await copied.data());
  });

  it("drops a share of p, within five standard deviations of the binomial", async () => {
    const count = 2 ** 20;
    using x = device.ones([count]);
    for (const p of [1e-6, 0.3, 0.7]) {
      using y = x.dropout(p, { seed: 11 });
      const dropped = (await y.data()).reduce((sum, value) => sum + Number(value === 0), 0);
      const deviation = Math.sqrt(count * p * (1 - p));
      // About 1 is expected at 1e-6, where the tail is longer than a normal one: at most 8 (p < 1e-5).
      const slack = Math.max(5 * deviation, 7);
      assert(Math.abs(dropped - count * p) <= slack, `p ${p}: ${dropped} dropped`);
    }
  });

  it("gives the same bits from the same seed, and others from others or none", async () => {
    using x = device.rand([1000], { seed: 1 });
    const bits = async (options?: { seed: number }) => {
      using y = x.dropout(0.5, options);
      return await y.data();
    };
    assertEquals(await bits({ seed: 4 }), await bits({ seed: 4 }));
    assertNotEquals(await bits({ seed: 4 }), await bits({ seed: 4 + 2 ** 32 }));
    assertNotEquals(await bits(), await bits());
  });

  it("is a view for p = 0 and zeros for p = 1, also of what is not finite", async () => {
    using x = device.tensor([1, NaN, Infinity, -2], { shape: [2, 2] });
    const { allocatedBytes } = device.memory();
    using same = x.dropout(0);
    assertEquals(device.memory().allocatedBytes, allocatedBytes);
    assertEquals(await same.data(), await x.data());
    using none = x.dropout(1);
    assertEquals([none.shape, [...await none.data()]], [[2, 2], [0, 0, 0, 0]]);
    using empty = device.zeros([0, 3]).dropout(0.5);
    assertEquals([empty.shape, (await empty.data()).length], [[0, 3], 0]);
  });

  it("writes 0 in place of a NaN that is dropped, and keeps one that is not", async () => {
    const keeps = kept(64, 0.5, 6);
    for (const dtype of FLOATS) {
      using x = device.full([64], NaN, { dtype });
      using y = x.dropout(0.5, { seed: 6 });
      assertEquals([...await y.data()], keeps.map((keep) => keep ? NaN : 0));
    }
  });

  it("throws for what is no probability, no seed and no float", async () => {
    await assertNoLeak(device, () => {
      using x = device.ones([3]);
      for (const p of [-0.1, 1.1, NaN, Infinity]) {
        assertThrows(() => x.dropout(p), RangeError, `Cannot dropout: p is ${p}, expected a prob`);
      }
      assertThrows(() => x.dropout(0.5, { seed: -1 }), RangeError, "Cannot use seed -1");
      using i = device.ones([3], { dtype: "i32" });
      assertThrows(() => i.dropout(0.5), TypeError, "Cannot dropout: dtype is i32, expected f32");
    });
  });
});

describe("dropThreshold()", () => {
  it("rounds p of all words, and leaves the last word always", () => {
    assertEquals([0.5, 1e-6, 1 - 2 ** -40, 0].map(dropThreshold), [2 ** 31, 4295, 2 ** 32 - 1, 0]);
  });
});
