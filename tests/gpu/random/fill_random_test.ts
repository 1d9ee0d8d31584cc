import { normal, quantileTable } from "../../../gpu/random/normal.ts";
import { philox, seedKey } from "../../../gpu/random/philox.ts";
import type { Tensor } from "@denoformers/attention";
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const SEEDS = [0, 1, 42, 0xffffffff, 2 ** 32, 2 ** 40 + 12_345, 2 ** 53 - 1];

function hostNumbers(count: number, seed: number, number: (word: number) => number): Float32Array {
  const key = seedKey(seed);
  return Float32Array.from(
    { length: count },
    (_, i) => number(philox([Math.floor(i / 4), 0, 0, 0], key)[i % 4]!),
  );
}

async function bits(tensor: Tensor): Promise<Uint32Array> {
  return new Uint32Array((await tensor.data()).buffer);
}

const device = await sharedDevice();

describe("Device.rand()", () => {
  it("gives the same bits as the host, so the same numbers on every adapter", async () => {
    for (const seed of SEEDS) {
      using tensor = device.rand([5, 207], { seed });
      const expected = hostNumbers(1035, seed, (word) => (word >>> 8) * 2 ** -24);
      assertEquals(await bits(tensor), new Uint32Array(expected.buffer), `seed ${seed}`);
    }
  });

  it("stays within [0, 1) and has mean 1/2 and variance 1/12", async () => {
    const count = 100_000;
    using tensor = device.rand([count], { seed: 3 });
    const values = await tensor.data() as Float32Array;
    assert(values.every((x) => x >= 0 && x < 1));
    const mean = values.reduce((sum, x) => sum + x, 0) / count;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / count;
    // Five standard errors.
    assert(Math.abs(mean - 1 / 2) < 5 * Math.sqrt(1 / 12 / count), `mean ${mean}`);
    assert(Math.abs(variance - 1 / 12) < 5 * Math.sqrt(1 / 180 / count), `variance ${variance}`);
  });
});

describe("Device.randn()", () => {
  it("gives the same bits as the host, so the same numbers on every adapter", async () => {
    const table = quantileTable();
    for (const seed of SEEDS) {
      using tensor = device.randn([9, 5, 23], { seed });
      const expected = hostNumbers(1035, seed, (word) => normal(word, table));
      assertEquals(await bits(tensor), new Uint32Array(expected.buffer), `seed ${seed}`);
    }
  });

  it("gives the same numbers whatever the shape", async () => {
    using flat = device.randn([60], { seed: 5 });
    using cube = device.randn([3, 4, 5], { seed: 5 });
    using longer = device.randn([1000], { seed: 5 });
    assertEquals(await flat.data(), await cube.data());
    assertEquals(await flat.data(), (await longer.data()).slice(0, 60));
  });
});

describe("seeds", () => {
  it("that differ in the high bits give other numbers", async () => {
    using a = device.rand([8], { seed: 1 });
    using b = device.rand([8], { seed: 1 + 2 ** 32 });
    assertNotEquals(await a.data(), await b.data());
  });

  it("left out give other numbers every time", async () => {
    using a = device.randn([8]);
    using b = device.randn([8]);
    assertNotEquals(await a.data(), await b.data());
  });

  it("that are wrong throw RangeError and leave nothing behind", () => {
    const before = device.memory();
    for (const seed of [-1, 0.5, NaN, 2 ** 53]) {
      assertThrows(() => device.rand([2], { seed }), RangeError, `Cannot use seed ${seed}`);
      assertThrows(() => device.randn([2], { seed }), RangeError, `Cannot use seed ${seed}`);
    }
    assertEquals(device.memory().allocatedBytes, before.allocatedBytes);
  });

  it("make empty tensors too", async () => {
    using empty = device.randn([0, 3], { seed: 1 });
    assertEquals(await empty.data(), new Float32Array(0));
  });
});
