import {
  freshSeed,
  multiplyHigh,
  PHILOX,
  philox,
  seedKey,
  type Words4,
} from "../../../gpu/random/philox.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { paramStruct } from "../../../gpu/runtime/params.ts";
import { assert, assertEquals, assertNotEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

interface KnownAnswer {
  counter: Words4;
  key: [number, number];
  words: Words4;
}

/** From the `kat_vectors` of Random123, the authors' own implementation: lines `philox4x32 10`. */
const KNOWN_ANSWERS: KnownAnswer[] = [
  {
    counter: [0, 0, 0, 0],
    key: [0, 0],
    words: [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
  },
  {
    counter: [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
    key: [0xffffffff, 0xffffffff],
    words: [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
  },
  {
    counter: [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    key: [0xa4093822, 0x299f31d0],
    words: [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
  },
];

describe("philox()", () => {
  it("gives the known answers of Random123 on the host", () => {
    for (const { counter, key, words } of KNOWN_ANSWERS) {
      assertEquals(philox(counter, key), words);
    }
  });

  it("gives the known answers of Random123 in a shader", async () => {
    const runtime = runtimeOf(await sharedDevice());
    const params = paramStruct({ counter: "axes", key: "axes" });
    const kernel = {
      label: "philox",
      bindings: ["write" as const],
      source: `${params.wgsl}${PHILOX}
@group(0) @binding(0) var<storage, read_write> out: array<vec4u>;
@compute @workgroup_size(1) fn main() { out[0] = philox(params.counter[0], params.key[0].xy); }`,
    };
    for (const { counter, key, words } of KNOWN_ANSWERS) {
      const storage = runtime.memory.acquire(16, "a test");
      runtime.kernels.dispatch(kernel, {
        storages: [storage],
        params: params.pack({ counter, key }),
        workgroups: 1,
      });
      const answer = new Uint32Array(await runtime.download(storage, 16));
      storage.release();
      assertEquals([...answer], words);
    }
  });
});

describe("multiplyHigh()", () => {
  it("is the upper word of the product", () => {
    assertEquals(multiplyHigh(0xffffffff, 0xffffffff), 0xfffffffe);
    assertEquals(multiplyHigh(0x80000000, 2), 1);
    assertEquals(multiplyHigh(0xffff, 0xffff), 0);
  });
});

describe("seedKey()", () => {
  it("takes the low and the high bits apart", () => {
    assertEquals(seedKey(0), [0, 0]);
    assertEquals(seedKey(0xffffffff), [0xffffffff, 0]);
    assertEquals(seedKey(2 ** 32 + 5), [5, 1]);
    assertEquals(seedKey(2 ** 53 - 1), [0xffffffff, 0x1fffff]);
  });

  it("throws RangeError for what is no seed", () => {
    for (const seed of [-1, 0.5, NaN, Infinity, 2 ** 53]) {
      assertThrows(
        () => seedKey(seed),
        RangeError,
        `Cannot use seed ${seed}, expected a whole number from 0 to 2^53 - 1`,
      );
    }
  });
});

describe("freshSeed()", () => {
  it("gives legal seeds that differ", () => {
    const seeds = Array.from({ length: 100 }, freshSeed);
    for (const seed of seeds) seedKey(seed);
    assertNotEquals(seeds[0], seeds[1]);
    assert(seeds.some((seed) => seed > 2 ** 32));
  });
});
