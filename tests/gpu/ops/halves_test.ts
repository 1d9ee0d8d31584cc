import { cat, type Tensor, tidy } from "@denoformers/attention";
import { roundedTo } from "../../../gpu/dtype.ts";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, sharedDevice } from "../../_device.ts";
import { randomValues, read } from "../_values.ts";

const device = await sharedDevice();
const HALVES = ["f16", "bf16"] as const;
/** Half of the distance between 1 and the next half: the most that rounding changes, relatively. */
const ROUNDING = { f16: 2 ** -11, bf16: 2 ** -8 };

/** A padded view, so that elements begin in the middle of words and rows end there. */
function strided(values: Float32Array, rows: number, dtype: "f16" | "bf16"): Tensor {
  const columns = values.length / rows;
  const padded = new Float32Array((rows + 2) * (columns + 2)).fill(NaN);
  values.forEach((value, i) => {
    padded[(Math.floor(i / columns) + 1) * (columns + 2) + 1 + i % columns] = value;
  });
  using whole = device.tensor(padded, { shape: [rows + 2, columns + 2], dtype });
  using cut = whole.slice(0, 1, rows + 1);
  return cut.slice(1, 1, columns + 1);
}

/** Compares with the same operation on the f32 tensor of the same values, rounded once. */
async function assertRounded(
  dtype: "f16" | "bf16",
  actual: Tensor,
  expected: Tensor,
): Promise<void> {
  assertEquals(actual.dtype, dtype);
  const { shape, data } = await read(expected);
  const rounded = { shape, data: data.map((value) => roundedTo(dtype, value)) };
  assertEquals(await read(actual), rounded);
  actual.dispose();
  expected.dispose();
}

for (const dtype of HALVES) {
  describe(`operations on ${dtype}`, () => {
    it("compute elements in f32 and round once", async () => {
      await assertNoLeak(device, async () => {
        using a = strided(randomValues(35, 1, -3, 3), 5, dtype);
        using b = strided(randomValues(35, 2, 0.5, 3), 5, dtype);
        using wideA = a.to("f32");
        using wideB = b.to("f32");
        const ops: readonly ((x: Tensor, y: Tensor) => Tensor)[] = [
          (x, y) => x.add(y),
          (x, y) => x.sub(y),
          (x, y) => x.mul(y),
          (x, y) => x.div(y),
          (x, y) => x.maximum(y),
          (x, y) => x.minimum(y),
          (x) => x.mul(0.1),
          (x) => x.div(3),
          (x) => x.neg(),
          (x) => x.abs(),
          (x) => x.square(),
          (x) => x.relu(),
          (x) => x.exp(),
          (_, y) => y.log(),
          (_, y) => y.sqrt(),
          (x) => x.tanh(),
          (_, y) => y.pow(1.5),
          (x) => x.clone(),
          (x) => x.transpose(0, 1).contiguous(),
        ];
        for (const op of ops) {
          await assertRounded(dtype, tidy(() => op(a, b)), tidy(() => op(wideA, wideB)));
        }
      });
    });

    it("compare with numbers as elements would hold them", async () => {
      using x = device.full([3], 0.1, { dtype });
      using equal = x.eq(0.1);
      using less = x.lt(0.1);
      assertEquals([...await equal.data(), ...await less.data()], [1, 1, 1, 0, 0, 0]);
    });

    it("meet other types as PyTorch's do", async () => {
      using x = device.tensor([1, 2], { dtype });
      using i = device.tensor([3, 4], { dtype: "i32" });
      using f = device.tensor([3, 4]);
      using other = device.tensor([3, 4], { dtype: dtype === "f16" ? "bf16" : "f16" });
      for (const [tensor, common] of [[i, dtype], [f, "f32"], [other, "f32"]] as const) {
        using sum = x.add(tensor);
        assertEquals([sum.dtype, [...await sum.data()]], [common, [4, 6]]);
      }
      using quotient = i.div(x);
      assertEquals([quotient.dtype, [...await quotient.data()]], [dtype, [3, 2]]);
    });

    it("select by where and maskedFill, rounding the number once", async () => {
      using x = strided(randomValues(15, 3), 3, dtype);
      using mask = x.gt(0);
      // Between two halves, so near their middle that f32 would lie in it.
      const value = 1 + ROUNDING[dtype] + 2 ** -40;
      using filled = x.maskedFill(mask, value);
      const next = 1 + 2 * ROUNDING[dtype];
      const values = [...await x.data()];
      assertEquals(filled.dtype, dtype);
      assertEquals([...await filled.data()], values.map((v) => v > 0 ? next : v));
      using other = x.neg();
      using picked = x.where(mask, other);
      assertEquals([...await picked.data()], values.map(Math.abs));
    });

    it("sum, softmax and normalise in f32 and round the result", async () => {
      await assertNoLeak(device, async () => {
        using a = strided(randomValues(3 * 1001, 4, -2, 3), 3, dtype);
        using wide = a.to("f32");
        using weight = device.tensor(randomValues(1001, 5), { dtype });
        using wideWeight = weight.to("f32");
        const ops: readonly ((x: Tensor) => Tensor)[] = [
          (x) => x.sum(),
          (x) => x.sum({ axis: 0 }),
          (x) => x.mean({ axis: 1, keepDim: true }),
          (x) => x.max({ axis: 1 }),
          (x) => x.min(),
          (x) => x.softmax(),
          (x) => x.softmax(0),
          (x) => x.logSumExp(),
          (x) => x.layerNorm(),
        ];
        for (const op of ops) await assertRounded(dtype, op(a), op(wide));
        const normalized = a.layerNorm({ weight, bias: weight });
        const expected = wide.layerNorm({ weight: wideWeight, bias: wideWeight });
        await assertRounded(dtype, normalized, expected);
      });
    });

    it("sum many elements in f32, where halves would have stopped counting", async () => {
      using x = device.full([100_000], 0.25, { dtype });
      using sum = x.sum();
      using mean = x.mean();
      assertEquals(await sum.item(), roundedTo(dtype, 25_000));
      assertEquals([mean.dtype, await mean.item()], [dtype, 0.25]);
    });

    it("multiply matrices with sums in f32", async () => {
      await assertNoLeak(device, async () => {
        using a = strided(randomValues(67 * 35, 6), 67, dtype);
        using b = strided(randomValues(70 * 35, 7), 70, dtype);
        using bT = b.transpose(0, 1);
        using wideA = a.to("f32");
        using wideB = bT.to("f32");
        await assertRounded(dtype, a.matmul(bT), wideA.matmul(wideB));
        using none = a.slice(1, 0, 0);
        using empty = bT.slice(0, 0, 0);
        using zeros = none.matmul(empty);
        assertEquals([zeros.dtype, zeros.shape], [dtype, [67, 70]]);
      });
    });

    it("join and print", async () => {
      using a = strided(randomValues(15, 8), 3, dtype);
      using joined = cat([a, a.slice(1, 0, 2), a], 1);
      const rows = await a.toArray() as number[][];
      assertEquals(joined.dtype, dtype);
      assertEquals(await joined.toArray(), rows.map((row) => [...row, ...row.slice(0, 2), ...row]));
      using shown = device.tensor([0.1, 1, -2], { dtype });
      const text = dtype === "f16" ? "[ 0.1000,  1.0000, -2.0000]" : "[ 0.1001,  1.0000, -2.0000]";
      assertEquals(await shown.format(), `tensor(${text}, dtype=${dtype})`);
      assertEquals(await shown.select(0, 0).item(), roundedTo(dtype, 0.1));
    });

    it("are made by every factory, rounded once from 64-bit floats or the f32 numbers", async () => {
      const value = 1 + ROUNDING[dtype] + 2 ** -40;
      const next = 1 + 2 * ROUNDING[dtype];
      using full = device.full([3], value, { dtype });
      using given = device.tensor([value, -value], { dtype });
      using typed = device.tensor(new Float64Array([value]), { dtype });
      assertEquals([...await full.data()], [next, next, next]);
      assertEquals([...await given.data(), ...await typed.data()], [next, -next, next]);
      using range = device.arange(0, 1, 0.1, { dtype });
      const tenths = Array.from({ length: 10 }, (_, i) => roundedTo(dtype, i * 0.1));
      assertEquals([...await range.data()], tenths);
      await assertRounded(
        dtype,
        device.rand([5, 7], { seed: 1, dtype }),
        device.rand([5, 7], { seed: 1 }),
      );
      await assertRounded(
        dtype,
        device.randn([57], { seed: 1, dtype }),
        device.randn([57], { seed: 1 }),
      );
      using ones = device.ones([3], { dtype });
      using zeros = device.zeros([3], { dtype });
      assertEquals([...await ones.data(), ...await zeros.data()], [1, 1, 1, 0, 0, 0]);
    });

    it("throw TypeError where types must agree or be floats", () => {
      using x = device.ones([2, 2], { dtype });
      using f = device.ones([2, 2]);
      const text = `Cannot matmul: dtypes are ${dtype} and f32, expected one of f32, f16 and bf16`;
      assertThrows(() => x.matmul(f), TypeError, text);
      assertThrows(() => cat([x, f]), TypeError, `Cannot cat: dtypes ${dtype} and f32 differ`);
      assertThrows(
        () => device.rand([1], { dtype: "i32" }),
        TypeError,
        'Cannot create a tensor of random numbers: dtype is "i32", expected f32, f16 or bf16',
      );
    });
  });
}
