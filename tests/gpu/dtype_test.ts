import { byteSize } from "../../gpu/array.ts";
import { promote } from "../../gpu/dtype.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../_device.ts";

const device = await sharedDevice();
const DTYPES = ["f32", "f16", "bf16", "i32", "u32", "bool"] as const;

describe("Tensor.to()", () => {
  it("converts between all dtypes", async () => {
    await assertNoLeak(device, async () => {
      const values = [0, 1, 2, 1, 0, 7];
      for (const from of DTYPES) {
        using source = device.tensor(values, { dtype: from });
        for (const to of DTYPES) {
          using converted = source.to(to);
          const isBool = from === "bool" || to === "bool";
          assertEquals(converted.dtype, to);
          assertEquals<ArrayLike<number>>(
            [...await converted.data()],
            values.map((value) => isBool ? Number(value !== 0) : value),
            `${from} to ${to}`,
          );
        }
      }
    });
  });

  it("cuts floats towards zero and clamps them to the integers", async () => {
    using x = device.tensor([1.9, -1.9, 0.5, -0.5, 2 ** 24 + 2]);
    using i = x.to("i32");
    assertEquals(
      await i.data<Int32Array<ArrayBuffer>>(),
      new Int32Array([1, -1, 0, 0, 2 ** 24 + 2]),
    );
    using far = device.tensor([3e9, -3e9, -5]);
    using clamped = far.to("i32");
    const [high, low] = await clamped.data();
    // WGSL clamps to the floats among the integers: 2^31 - 128 is the largest below 2^31.
    assert(high! >= 2 ** 31 - 128, `${high}`);
    assertEquals(low, -(2 ** 31));
    using positive = far.to("u32");
    assertEquals([...await positive.data()], [3e9, 0, 0]);
  });

  it("takes NaN, infinities and the least numbers for true", async () => {
    using x = device.tensor([NaN, Infinity, -Infinity, -0, 0, 2 ** -149, -(2 ** -149)]);
    using b = x.to("bool");
    assertEquals([...await b.data()], [1, 1, 1, 0, 0, 1, 1]);
  });

  it("converts integers and booleans to halves, rounded to even, and halves to integers", async () => {
    using i = device.tensor([2049, 2051, -70_000, 257], { dtype: "i32" });
    assertEquals([...await i.to("f16").data()], [2048, 2052, -Infinity, 257]);
    assertEquals([...await i.to("bf16").data()], [2048, 2048, -70_144, 256]);
    using x = device.tensor([1.9, -1.9, 65504], { dtype: "f16" });
    assertEquals([...await x.to("i32").data()], [1, -1, 65504]);
    using special = device.tensor([NaN, 0, -0, 6e-8, Infinity], { dtype: "f16" });
    assertEquals([...await special.to("bool").data()], [1, 0, 0, 1, 1]);
  });

  it("keeps the bits of integers between i32 and u32", async () => {
    using i = device.tensor(new Int32Array([-1, -(2 ** 31)]));
    using u = i.to("u32");
    assertEquals([...await u.data()], [2 ** 32 - 1, 2 ** 31]);
    using back = u.to("i32");
    assertEquals([...await back.data()], [-1, -(2 ** 31)]);
  });

  it("takes strided tensors, and is a view if nothing changes", async () => {
    using x = nanPadded(device, [1.5, -2.5, 0, 4], [2, 2]);
    using i = x.to("i32");
    assertEquals([...await i.data()], [1, -2, 0, 4]);
    const { allocatedBytes } = device.memory();
    using same = x.to("f32");
    assertEquals(device.memory().allocatedBytes, allocatedBytes);
    assertEquals(same.strides, x.strides);
  });
});

describe("promote()", () => {
  it("takes the wider type, in either order", () => {
    for (
      const [a, b, common] of [
        ["bool", "bool", "bool"],
        ["bool", "i32", "i32"],
        ["bool", "u32", "u32"],
        ["bool", "f32", "f32"],
        ["i32", "f32", "f32"],
        ["u32", "f32", "f32"],
        ["f16", "f16", "f16"],
        ["f16", "bf16", "f32"],
        ["f16", "f32", "f32"],
        ["bf16", "f32", "f32"],
        ["bool", "f16", "f16"],
        ["f16", "i32", "f16"],
        ["bf16", "u32", "bf16"],
      ] as const
    ) {
      assertEquals([promote(a, b, "add"), promote(b, a, "add")], [common, common]);
    }
    assertThrows(() => promote("i32", "u32", "add"), TypeError, "Cannot add: dtypes i32 and u32");
  });
});

describe("byteSize()", () => {
  it("rounds up to whole words", () => {
    assertEquals(byteSize([], "f32"), 4);
    assertEquals(byteSize([0], "f32"), 0);
    assertEquals(byteSize([3, 5], "i32"), 60);
    assertEquals([1, 2, 3].map((size) => byteSize([size], "f16")), [4, 4, 8]);
    assertEquals([1, 4, 5].map((size) => byteSize([size], "bool")), [4, 4, 8]);
  });
});
