import { assertAllClose } from "@denoformers/attention/testing";
import type { Tensor } from "@denoformers/attention";
import { assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

describe("assertAllClose()", () => {
  it("accepts equal values of every kind of list", () => {
    assertAllClose([1, 2], [1, 2]);
    assertAllClose(new Float32Array([1, 2]), [1, 2]);
    assertAllClose(new Int32Array([1, 2]), new Float64Array([1, 2]));
    assertAllClose({ shape: [2, 1], data: [1, 2] }, {
      shape: [2, 1],
      data: new Uint8Array([1, 2]),
    });
    assertAllClose({ shape: [2, 1], data: [1, 2] }, [1, 2]);
    assertAllClose([], []);
    assertAllClose(new BigInt64Array([1n]) as unknown as number[], [1]);
    assertAllClose([true, false] as unknown as number[], [1, 0]);
    assertAllClose({ shape: [0, 3], data: [] }, { shape: [0, 3], data: [] });
    assertAllClose({ shape: [], data: [7] }, { shape: [], data: [7] });
  });

  it("allows 1e-5 + 1.3e-6 * |expected| by default", () => {
    assertAllClose([0.99e-5], [0]);
    assertAllClose([1000 + 0.00130 + 0.00000999], [1000]);
    assertAllClose([-1000 - 0.00130 - 0.00000999], [-1000]);
    assertThrows(() => assertAllClose([1.01e-5], [0]), Error, "1 of 1 elements differ");
    assertThrows(() => assertAllClose([1000.00132], [1000]), Error, "1 of 1 elements differ");
  });

  it("takes the relative tolerance from the expected value", () => {
    assertAllClose([90], [100], { atol: 0, rtol: 0.1 });
    assertThrows(() => assertAllClose([100], [90], { atol: 0, rtol: 0.1 }), Error, "differ");
  });

  it("obeys the tolerances given", () => {
    assertAllClose([1.5], [1], { atol: 0.5, rtol: 0 });
    assertThrows(() => assertAllClose([1.51], [1], { atol: 0.5, rtol: 0 }), Error, "differ");
    assertThrows(() => assertAllClose([1 + 1e-15], [1], { atol: 0, rtol: 0 }), Error, "differ");
  });

  it("throws TypeError on one tolerance without the other", () => {
    assertThrows(
      () => assertAllClose([1], [1], { atol: 1 }),
      TypeError,
      "Cannot compare tensors: atol is given without rtol; give both or neither",
    );
    assertThrows(
      () => assertAllClose([1], [1], { rtol: 1 }),
      TypeError,
      "Cannot compare tensors: rtol is given without atol; give both or neither",
    );
  });

  it("throws RangeError on a tolerance below 0 or NaN", () => {
    assertThrows(() => assertAllClose([1], [1], { atol: -1, rtol: 0 }), RangeError, "atol is -1");
    assertThrows(() => assertAllClose([1], [1], { atol: 0, rtol: NaN }), RangeError, "rtol is NaN");
  });

  it("fails on NaN unless equalNan is set", () => {
    assertThrows(() => assertAllClose([NaN], [NaN]), Error, "1 of 1 elements differ");
    assertAllClose([NaN, 1], [NaN, 1], { equalNan: true });
    assertThrows(() => assertAllClose([NaN], [1], { equalNan: true }), Error, "differ");
    assertThrows(() => assertAllClose([1], [NaN], { equalNan: true }), Error, "differ");
    assertThrows(() => assertAllClose([NaN], [Infinity], { equalNan: true }), Error, "differ");
  });

  it("wants infinities to be equal", () => {
    assertAllClose([Infinity, -Infinity], [Infinity, -Infinity]);
    for (const [a, e] of [[Infinity, -Infinity], [1, Infinity], [-Infinity, 1], [NaN, Infinity]]) {
      assertThrows(() => assertAllClose([a!], [e!]), Error, "1 of 1 elements differ");
      assertThrows(() => assertAllClose([a!], [e!], { atol: 1e9, rtol: 1e9 }), Error, "differ");
    }
  });

  it("fails on shapes and lengths that differ", () => {
    assertThrows(
      () =>
        assertAllClose(
          { shape: [2, 3], data: new Float32Array(6) },
          { shape: [3, 2], data: new Float32Array(6) },
        ),
      Error,
      "Cannot compare tensors: shape [2, 3] differs from expected [3, 2]",
    );
    assertThrows(
      () => assertAllClose([1, 2, 3], [1, 2]),
      Error,
      "Cannot compare tensors: shape [3] differs from expected [2]",
    );
    assertThrows(
      () => assertAllClose({ shape: [1, 2], data: [1, 2] }, [1, 2, 3]),
      Error,
      "Cannot compare tensors: shape [1, 2] differs from expected [3]",
    );
    assertThrows(
      () => assertAllClose({ shape: [2, 2], data: [1] }, [1]),
      RangeError,
      "Cannot compare tensors: actual has 1 elements, expected 4 for shape [2, 2]",
    );
  });

  it("reports count, percentage, the greatest differences and the first five", () => {
    const expected = { shape: [2, 4], data: [1, 2, 3, 4, 5, 6, 0.5, 8] };
    const actual = { shape: [2, 4], data: [2, 3, 3, 5, 7.5, 7, 1.5, 8] };
    const error = assertThrows(() => assertAllClose(actual, expected), Error);
    assertEquals(
      error.message,
      [
        "Expected tensors to be close: 6 of 8 elements differ (75.0%)",
        "  greatest absolute difference: 2.5 at [1, 0] (up to 0.00001 allowed)",
        "  greatest relative difference: 2 at [1, 2] (up to 0.0000013 allowed)",
        "  at [0, 0]: 2, expected 1",
        "  at [0, 1]: 3, expected 2",
        "  at [0, 3]: 5, expected 4",
        "  at [1, 0]: 7.5, expected 5",
        "  at [1, 1]: 7, expected 6",
        "  and 1 more",
      ].join("\n"),
    );
  });

  it("shows NaN as the greatest difference, and Infinity for a relative one from 0", () => {
    const error = assertThrows(() => assertAllClose([5, NaN, 1], [1, 1, 0]), Error);
    assertStringIncludes(error.message, "greatest absolute difference: NaN at [1]");
    const another = assertThrows(() => assertAllClose([9, 1], [1, 0]), Error);
    assertStringIncludes(another.message, "greatest relative difference: Infinity at [1]");
  });

  it("throws TypeError for what is no list of numbers", () => {
    const promise = Promise.resolve(new Float32Array(1));
    const awaited = "; await it, as in await tensor.data()";
    const lost = "a Promise that was not awaited";
    const expected = "expected a list, { shape, data } or a Tensor";
    const cases: [unknown, string][] = [
      [promise, `is ${lost}, ${expected}${awaited}`],
      [3, `is 3, ${expected}`],
      ["12", `is "12", ${expected}`],
      [null, `is null, ${expected}`],
      [undefined, `is undefined, ${expected}`],
      [{}, `is Object, ${expected}`],
      [new Set([1]), `is Set, ${expected}`],
      [
        [[1]],
        "has a list of 1 at 0, expected numbers; give nested lists as { shape, data } or as device",
      ],
      [["1"], 'has "1" at 0, expected numbers'],
      [[promise], `has ${lost} at 0, expected numbers`],
    ];
    for (const [value, text] of cases) {
      const wrong = value as number[];
      const of = (side: string) => `Cannot compare tensors: ${side} ${text}`;
      assertThrows(() => assertAllClose(wrong, [1]), TypeError, of("actual"));
      assertThrows(() => assertAllClose([1], wrong), TypeError, of("expected"));
      assertThrows(() => assertAllClose(wrong, wrong), TypeError, of("actual"));
    }
    assertThrows(
      () => assertAllClose({ shape: [1], data: promise as unknown as number[] }, [1]),
      TypeError,
      `Cannot compare tensors: the data of actual is ${lost}, ${expected}${awaited}`,
    );
    assertThrows(
      () => assertAllClose({ shape: 1 as unknown as number[], data: [1] }, [1]),
      TypeError,
      "Cannot compare tensors: the shape of actual is 1",
    );
  });

  it("puts the message first", () => {
    assertThrows(
      () => assertAllClose([1], [2], { message: "dQuery" }),
      Error,
      "dQuery: Expected tensors to be close",
    );
  });
});

describe("assertAllClose() of tensors", () => {
  it("compares shape, dtype and elements, of two or with values", async () => {
    using x = device.tensor([[1, 2], [3, 4]]);
    using near = device.tensor([[1, 2], [3, 4 + 1e-6]]);
    using far = device.tensor([[1, 2], [3, 4.01]]);
    using flat = device.tensor([1, 2, 3, 4]);
    using whole = device.tensor([[1, 2], [3, 4]], { dtype: "i32" });
    await assertAllClose(x, near);
    await assertAllClose(x, [1, 2, 3, 4]);
    await assertAllClose({ shape: [2, 2], data: [1, 2, 3, 4] }, x);
    await assertAllClose(x, far, { atol: 0.1, rtol: 0 });
    const cases: [Tensor, Tensor | number[], string][] = [
      [far, x, "gate: Expected tensors to be close: 1 of 4 elements differ"],
      [x, [1, 2, 3, 5], "at [1, 1]: 4, expected 5"],
      [x, flat, "gate: Cannot compare tensors: shape [2, 2] differs from expected [4]"],
      [x, [1, 2], "shape [2, 2] differs from expected [2]"],
      [
        x,
        whole,
        'gate: Cannot compare tensors: dtype f32 differs from expected i32; convert one with .to("i32")',
      ],
    ];
    for (const [actual, expected, text] of cases) {
      await assertRejects(() => assertAllClose(actual, expected, { message: "gate" }), Error, text);
    }
  });

  it("takes PyTorch's tolerances for the dtype", async () => {
    for (
      const [dtype, within, beyond] of [
        ["f16", 1.0009765625, 1.001953125],
        ["bf16", 1.015625, 1.0234375],
        ["i32", 1, 2],
      ] as const
    ) {
      using one = device.tensor([1], { dtype });
      using close = device.tensor([within], { dtype });
      using other = device.tensor([beyond], { dtype });
      await assertAllClose(close, one);
      await assertRejects(() => assertAllClose(other, one), Error, "1 of 1 elements differ");
    }
  });

  it("rejects promises, and disposed tensors", async () => {
    using x = device.tensor([1]);
    await assertRejects(
      () => assertAllClose(x, x.data() as unknown as number[]),
      TypeError,
      "Cannot compare tensors: expected is a Promise that was not awaited",
    );
    const gone = device.tensor([1]);
    gone.dispose();
    await assertRejects(() => assertAllClose(x, gone), TypeError, "Cannot use a disposed tensor");
  });
});
