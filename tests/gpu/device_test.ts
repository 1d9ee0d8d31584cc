import type { DType, Tensor, TensorSource } from "@denoformers/attention";
import { assert, assertEquals, assertInstanceOf, assertMatch, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../_device.ts";

const device = await sharedDevice();

async function assertTensor(
  tensor: Tensor,
  dtype: DType,
  shape: readonly number[],
  values: readonly number[],
): Promise<void> {
  assertEquals([tensor.dtype, tensor.shape], [dtype, shape]);
  assertEquals<ArrayLike<number>>([...await tensor.data()], values);
  tensor.dispose();
}

describe("Device.tensor()", () => {
  it("takes a number, a list and nested lists as f32", async () => {
    await assertTensor(device.tensor(2.5), "f32", [], [2.5]);
    await assertTensor(device.tensor([1, -0.5]), "f32", [2], [1, -0.5]);
    await assertTensor(device.tensor([[1, 2, 3], [4, 5, 6]]), "f32", [2, 3], [1, 2, 3, 4, 5, 6]);
    await assertTensor(device.tensor([[[7]]]), "f32", [1, 1, 1], [7]);
    await assertTensor(device.tensor([]), "f32", [0], []);
    await assertTensor(device.tensor([[], []]), "f32", [2, 0], []);
  });

  it("takes booleans as bool, however many go into a word", async () => {
    for (let length = 1; length <= 9; length++) {
      const values = Array.from({ length }, (_, i) => i % 3 === 0);
      await assertTensor(device.tensor(values), "bool", [length], values.map(Number));
    }
    await assertTensor(device.tensor([[true], [false]]), "bool", [2, 1], [1, 0]);
  });

  it("takes typed arrays, flat or in a shape", async () => {
    await assertTensor(device.tensor(new Float32Array([1, 2])), "f32", [2], [1, 2]);
    await assertTensor(device.tensor(new Float64Array([0.1])), "f32", [1], [Math.fround(0.1)]);
    await assertTensor(device.tensor(new Int32Array([-1, 2 ** 31 - 1])), "i32", [2], [
      -1,
      2 ** 31 - 1,
    ]);
    await assertTensor(device.tensor(new Uint32Array([2 ** 32 - 1])), "u32", [1], [2 ** 32 - 1]);
    const shape = [2, 1, 3];
    const counted = device.tensor(new Float32Array([1, 2, 3, 4, 5, 6]), { shape });
    await assertTensor(counted, "f32", [2, 1, 3], [1, 2, 3, 4, 5, 6]);
  });

  it("takes a part of a larger buffer", async () => {
    const part = new Float32Array([9, 1, 2, 9]).subarray(1, 3);
    await assertTensor(device.tensor(part), "f32", [2], [1, 2]);
  });

  it("keeps infinities, NaN, -0 and the least numbers", async () => {
    using tensor = device.tensor([Infinity, -Infinity, NaN, -0, 2 ** -149, 3.4028234663852886e38]);
    const data = await tensor.data();
    const expected = [Infinity, -Infinity, NaN, -0, 2 ** -149, 3.4028234663852886e38];
    expected.forEach((value, i) => assert(Object.is(data[i], value), `${data[i]}, not ${value}`));
  });

  it("converts to the dtype asked for", async () => {
    await assertTensor(device.tensor([1, -2], { dtype: "i32" }), "i32", [2], [1, -2]);
    await assertTensor(device.tensor([0, 2, -1, NaN], { dtype: "bool" }), "bool", [4], [
      0,
      1,
      1,
      1,
    ]);
    await assertTensor(device.tensor([true, false], { dtype: "f32" }), "f32", [2], [1, 0]);
    const bytes = new Uint8Array([0, 1, 255]);
    await assertTensor(device.tensor(bytes, { dtype: "bool" }), "bool", [3], [0, 1, 1]);
    await assertTensor(device.tensor(bytes, { dtype: "u32" }), "u32", [3], [0, 1, 255]);
  });

  it("takes BigInts that 32 bits hold, as i32 or u32 unless told otherwise", async () => {
    const least = -(2n ** 31n);
    const signed = new BigInt64Array([least, 2n ** 31n - 1n]);
    const whole = [-(2 ** 31), 2 ** 31 - 1];
    await assertTensor(device.tensor(signed), "i32", [2], whole);
    await assertTensor(device.tensor([...signed]), "i32", [2], whole);
    await assertTensor(device.tensor([[16777217n]]), "i32", [1, 1], [16777217]);
    await assertTensor(device.tensor(new BigUint64Array([2n ** 32n - 1n])), "u32", [1], [
      2 ** 32 - 1,
    ]);
    await assertTensor(device.tensor([0n, 3n], { dtype: "bool" }), "bool", [2], [0, 1]);
    for (const dtype of ["f32", "f16", "bf16", "u32"] as const) {
      await assertTensor(device.tensor(2n, { dtype, shape: [1] }), dtype, [1], [2]);
    }
    const range = ["-2147483648 to 2147483647", "0 to 4294967295", "-2147483648 to 4294967295"];
    for (
      const [value, dtype, expected] of [
        [2n ** 31n, undefined, range[0]],
        [2n ** 64n, "i32", range[0]],
        [-1n, "u32", range[1]],
        [2n ** 32n, "f32", range[2]],
      ] as const
    ) {
      assertThrows(
        () => device.tensor([1n, value], { dtype }),
        RangeError,
        `Cannot create a tensor of dtype ${
          dtype ?? "i32"
        }: data holds ${value}n, expected BigInts from ` +
          `${expected}; make floats of others by Number()`,
      );
    }
    assertThrows(
      () => device.tensor(new BigInt64Array([2n ** 31n])),
      RangeError,
      "data holds 2147483648n",
    );
  });

  it("takes a Float16Array as f16, where there is one", async () => {
    // Tests in Node 20 have a class of that name that is no typed array.
    if (!globalThis.Float16Array?.BYTES_PER_ELEMENT) return;
    const halves = new Float16Array([1.5, -0.1, 65504]);
    await assertTensor(device.tensor(halves), "f16", [3], [...halves]);
    await assertTensor(device.tensor(halves, { dtype: "f32", shape: [3, 1] }), "f32", [3, 1], [
      ...halves,
    ]);
  });

  it("copies the values before it returns", async () => {
    const values = new Float32Array([1, 2, 3]);
    using tensor = device.tensor(values);
    values.fill(0);
    assertEquals(await tensor.data(), new Float32Array([1, 2, 3]));
  });

  it("throws RangeError for ragged lists and shapes that do not fit", async () => {
    const wrong: [TensorSource, readonly number[] | undefined, string][] = [
      [
        [[1, 2], [3]],
        undefined,
        "nested arrays are ragged, expected 2 entries and found 1 entries",
      ],
      [[[1, 2], 3], undefined, "nested arrays are ragged, expected 2 entries and found 3"],
      [[1, [2]], undefined, "nested arrays are ragged, expected a number and found 1 entries"],
      [[1, 2, 3], [2], "data has shape [3], expected [2]"],
      [[[1, 2], [3, 4]], [4], "data has shape [2, 2], expected [4]"],
      [new Float32Array(3), [2, 2], "data has shape [3], expected [2, 2]"],
      [[1], [-1], "shape [-1] has size -1"],
      [[[[[[[[[[1]]]]]]]]], undefined, "has 9 axes, at most 8 are supported"],
    ];
    await assertNoLeak(device, () => {
      for (const [data, shape, text] of wrong) {
        assertThrows(() => device.tensor(data, shape ? { shape } : {}), RangeError, text);
      }
    });
  });

  it("throws RangeError for numbers that an integer cannot hold", () => {
    for (
      const [value, dtype] of [[1.5, "i32"], [2 ** 31, "i32"], [-1, "u32"], [NaN, "u32"]] as const
    ) {
      assertThrows(
        () => device.tensor([value], { dtype }),
        RangeError,
        `Cannot create a tensor of dtype ${dtype}: ${value} cannot be held by it`,
      );
    }
  });

  it("throws TypeError for values and dtypes that there are not", () => {
    assertThrows(
      () => device.tensor([1, "2"] as unknown as TensorSource),
      TypeError,
      'Cannot create a tensor: data holds "2", expected numbers or booleans',
    );
    assertThrows(
      () => device.tensor(null as unknown as TensorSource),
      TypeError,
      "data holds null, expected numbers or booleans",
    );
    assertThrows(
      () => device.tensor(new Uint8Array(2)),
      TypeError,
      'a Uint8Array may mean numbers or booleans, name the dtype, as in { dtype: "bool" }',
    );
    for (const dtype of ["f64", "half", "toString"] as string[] as DType[]) {
      const text =
        `dtype "${dtype}" is not supported, expected one of f32, f16, bf16, i32, u32, bool`;
      assertThrows(() => device.tensor([1], { dtype }), TypeError, text);
      assertThrows(() => device.zeros([1], { dtype }), TypeError, text);
      using tensor = device.tensor([1]);
      assertThrows(() => tensor.to(dtype), TypeError, text);
    }
  });
});

describe("Device.zeros(), ones() and full()", () => {
  it("fill tensors of every dtype", async () => {
    await assertTensor(device.zeros([2, 3]), "f32", [2, 3], [0, 0, 0, 0, 0, 0]);
    await assertTensor(device.ones([3], { dtype: "i32" }), "i32", [3], [1, 1, 1]);
    await assertTensor(device.full([2], -7, { dtype: "i32" }), "i32", [2], [-7, -7]);
    await assertTensor(device.full([2], 2 ** 32 - 1, { dtype: "u32" }), "u32", [2], [
      2 ** 32 - 1,
      2 ** 32 - 1,
    ]);
    await assertTensor(device.full([], 0.1), "f32", [], [Math.fround(0.1)]);
    await assertTensor(device.full([0, 2], 1), "f32", [0, 2], []);
    for (let length = 1; length <= 5; length++) {
      const tensor = device.ones([length], { dtype: "bool" });
      await assertTensor(tensor, "bool", [length], new Array(length).fill(1));
    }
  });

  it("fill with infinities and NaN", async () => {
    await assertTensor(device.full([1], Infinity), "f32", [1], [Infinity]);
    await assertTensor(device.full([1], -Infinity), "f32", [1], [-Infinity]);
    await assertTensor(device.full([1], NaN), "f32", [1], [NaN]);
    await assertTensor(device.full([1], NaN, { dtype: "bool" }), "bool", [1], [1]);
  });

  it("throw RangeError for a wrong shape", () => {
    assertThrows(() => device.zeros([-1]), RangeError, "shape [-1] has size -1");
    assertThrows(() => device.ones([1.5]), RangeError, "shape [1.5] has size 1.5");
    assertThrows(
      () => device.zeros([1n, 2n] as unknown as number[]),
      RangeError,
      "Cannot create a tensor: shape [1n, 2n] has size 1n, expected whole numbers >= 0",
    );
  });

  it("say how to write a shape that was spread", () => {
    type Loose = (...sizes: unknown[]) => Tensor;
    for (const name of ["zeros", "ones", "full", "rand", "randn"] as const) {
      for (const [shape, told] of [[2, "2"], ["2", '"2"'], [2n, "2n"]]) {
        assertThrows(
          () => (device[name] as Loose).call(device, shape, 3, 4),
          TypeError,
          `Cannot create a tensor: shape is ${told}, expected a list, as in [1, 2, 3]`,
        );
      }
    }
  });
});

describe("Device.arange()", () => {
  it("counts from 0, or between two numbers, in steps", async () => {
    await assertTensor(device.arange(4), "f32", [4], [0, 1, 2, 3]);
    await assertTensor(device.arange(2, 5), "f32", [3], [2, 3, 4]);
    await assertTensor(device.arange(5, 0, -2), "f32", [3], [5, 3, 1]);
    await assertTensor(device.arange(0, 1, 0.25), "f32", [4], [0, 0.25, 0.5, 0.75]);
    await assertTensor(device.arange(0, 3, 1, { dtype: "i32" }), "i32", [3], [0, 1, 2]);
    await assertTensor(device.arange(3, 3), "f32", [0], []);
    await assertTensor(device.arange(3, 0), "f32", [0], []);
  });

  it("rounds every number once, from 64-bit floats", async () => {
    using tensor = device.arange(0, 100, 0.1);
    const expected = Float32Array.from({ length: 1000 }, (_, i) => i * 0.1);
    assertEquals(await tensor.data(), expected);
  });

  it("throws RangeError for a step of 0 and numbers that are not finite", () => {
    for (const [start, end, step] of [[0, 5, 0], [5, 0, 0], [0, 0, 0], [0, Infinity, 1]] as const) {
      assertThrows(
        () => device.arange(start, end, step),
        RangeError,
        `Cannot make a range from ${start} to ${end} in steps of ${step}`,
      );
    }
    assertThrows(() => device.arange(NaN), RangeError, "expected finite numbers");
    assertThrows(
      () => device.arange(0, 1, 0.5, { dtype: "i32" }),
      RangeError,
      "0.5 cannot be held",
    );
  });
});

describe("Device.info", () => {
  it("names the adapter, the runtime and the limits", () => {
    const { adapter, runtime, limits, subgroupSize } = device.info;
    assert(adapter.length > 0);
    assertMatch(runtime, /^((Deno|Node) \d+\.|Chrome )\d+/);
    assert(limits.maxStorageBufferBindingSize >= 128 * 2 ** 20);
    assert(limits.maxComputeWorkgroupsPerDimension >= 65_535);
    assert(subgroupSize === 0 || Math.log2(subgroupSize) % 1 === 0, `subgroups of ${subgroupSize}`);
    assertEquals(String(device), `Device("${adapter}")`);
  });
});

describe("Device.profile()", () => {
  it("gives the result and the time of each kernel", async () => {
    using a = device.ones([64, 64]);
    const { result, milliseconds, kernels } = await device.profile(() => a.matmul(a).add(1).add(2));
    using sum = result;
    assertEquals((await sum.data())[0], 67);
    if (!device.info.timestamps) {
      assertEquals([milliseconds, kernels], [NaN, []]);
      return;
    }
    assertEquals(kernels.map(({ kernel, calls }) => [kernel, calls]), [["matmul", 1], ["add", 2]]);
    assert(milliseconds >= 0 && milliseconds < 10_000, `${milliseconds} ms`);
    assertEquals(milliseconds, kernels.reduce((total, kernel) => total + kernel.milliseconds, 0));
  });

  it("takes asynchronous functions and passes their errors on", async () => {
    const { result } = await device.profile(() => Promise.resolve(3));
    assertEquals(result, 3);
    let caught: unknown;
    try {
      await device.profile(() => Promise.reject(new Error("mine")));
    } catch (error) {
      caught = error;
    }
    assertInstanceOf(caught, Error);
    assertEquals((await device.profile(() => 4)).result, 4);
  });
});
