/** Sums of 50,000 terms, of numbers alike and of random ones, are within four last places of float64. */
import { crossEntropy, type Device, type Tensor } from "@denoformers/attention";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { levelsFor, sumLoop } from "../../../gpu/ops/sums.ts";
import { sharedDevice } from "../../_device.ts";
import { deviceAsGpu } from "../_forms.ts";
import { randomValues } from "../_values.ts";

const device = await sharedDevice();
const gpu = await deviceAsGpu();
const LENGTH = 50_000;
const LAST_PLACES = 4 * 2 ** -23;

/** Rows of equal numbers, whose roundings all go one way, and of random ones, all positive. */
const rows = [
  new Float32Array(LENGTH).fill(0.1),
  new Float32Array(LENGTH).fill(1.37),
  randomValues(LENGTH, 1, 0, 1),
  randomValues(LENGTH, 2, 1, 2),
].map((row) => Array.from(row));
const data = Float32Array.from(rows.flat());
const sums = rows.map((row) => row.reduce((a, b) => a + b));
const logSumExps = rows.map((row) => Math.log(row.reduce((sum, x) => sum + Math.exp(x), 0)));

/** The rows, side by side in memory; one behind the other; and so that they lie at odd places. */
const layouts: Readonly<Record<string, (device: Device) => Tensor>> = {
  dense: (device) => device.tensor(data, { shape: [rows.length, LENGTH] }),
  odd: (device) =>
    device.tensor([0, ...data]).slice(0, 1, data.length + 1).reshape([rows.length, LENGTH]),
  turned: (device) =>
    device.tensor(data, { shape: [rows.length, LENGTH] }).transpose(0, 1).contiguous()
      .transpose(0, 1),
};

function assertNear(
  actual: ArrayLike<number>,
  expected: readonly number[],
  what: string,
  bound = LAST_PLACES,
): void {
  assertEquals(actual.length, expected.length);
  for (const [i, value] of expected.entries()) {
    const error = Math.abs(actual[i]! - value) / Math.abs(value);
    assert(error <= bound, `${what}, ${i}: ${actual[i]}, expected ${value}: off by ${error}`);
  }
}

for (const [name, make] of Object.entries(layouts)) {
  it(`sum(), mean(), logSumExp() and softmax() of long rows, ${name}`, async () => {
    for (const on of [device, gpu]) {
      using x = make(on);
      assertNear(await x.sum({ axis: 1 }).data(), sums, "sum");
      assertNear(await x.mean({ axis: 1 }).data(), sums.map((sum) => sum / LENGTH), "mean");
      assertNear(await x.logSumExp(1).data(), logSumExps, "logSumExp");
      // The error of a driver's exp is in each weight, but that of the sum in all of them together.
      const weights = await x.softmax(1).data();
      const totals = rows.map((_, r) =>
        weights.slice(r * LENGTH, (r + 1) * LENGTH).reduce((a, b) => a + b, 0)
      );
      assertNear(totals, rows.map(() => 1), "softmax");
      assertEquals(await x.sum({ axis: 1 }).data(), await x.sum({ axis: 1 }).data());
    }
  });
}

it("softmax()'s weights of long rows are off by no more than the driver's exp", async () => {
  using x = layouts.turned!(device);
  const weights = await x.softmax(1).data();
  const highest = rows.map((row) => Math.max(...row));
  const exps = await x.sub(device.tensor(highest, { shape: [rows.length, 1] })).exp().data();
  for (const [r, row] of rows.entries()) {
    for (const [i, value] of row.entries()) {
      const at = r * LENGTH + i;
      const below = Math.exp(Math.fround(value - highest[r]!));
      const ofExp = Math.abs(exps[at]! / below - 1);
      const error = Math.abs(weights[at]! / Math.exp(value - logSumExps[r]!) - 1);
      // Rounding of the difference, of the quotient (WGSL allows 2.5 places), and the mean error of exp in the sum.
      assert(error <= 2 * ofExp + LAST_PLACES, `row ${r}, ${i}: off by ${error}, exp by ${ofExp}`);
    }
  }
});

it("columns of a bias, and rows of losses", async () => {
  using x = layouts.dense!(device);
  using columns = x.transpose(0, 1).contiguous();
  assertNear(await columns.sum({ axis: 0 }).data(), sums, "columns");
  const losses = await crossEntropy(x, [0, 1, 2, 3], { reduction: "none" }).data();
  const expected = logSumExps.map((lse, r) => lse - rows[r]![r]!);
  assertNear(losses, expected, "crossEntropy");
});

it("gradients of one index that is picked again and again", async () => {
  // Sums of 32, 64 and 25 terms, one in the other.
  const bound = (32 + 64 + 25) / 2 * 2 ** -24;
  using table = device.zeros([2, 1], { requiresGrad: true });
  const indices = device.zeros([LENGTH], { dtype: "i32" });
  for (const [r, row] of rows.entries()) {
    table.zeroGrad();
    table.indexSelect(0, indices).backward(device.tensor(row, { shape: [LENGTH, 1] }));
    assertNear((await table.grad!.data()).slice(0, 1), [sums[r]!], "indexSelect", bound);
  }
});

describe("products of long k", () => {
  for (const [m, n] of [[1, 1], [4, 9]] as const) {
    it(`[${m}, k] x [k, ${n}]`, async () => {
      const a = data.slice(0, m * LENGTH);
      const b = Float32Array.from({ length: LENGTH * n }, (_, i) => data[(i * 7) % data.length]!);
      using left = device.tensor(a, { shape: [m, LENGTH] });
      using right = device.tensor(b, { shape: [LENGTH, n] });
      const expected = Array.from({ length: m * n }, (_, at) => {
        const [i, j] = [Math.floor(at / n), at % n];
        let sum = 0;
        for (let k = 0; k < LENGTH; k++) sum += a[i * LENGTH + k]! * b[k * n + j]!;
        return sum;
      });
      assertNear(await left.matmul(right).data(), expected, "matmul");
    });
  }
});

it("a loop covers every turn, and has few in each level", () => {
  assertEquals([1, 16, 17, 128, 129, 1024, 1025, Infinity].map(levelsFor), [
    0,
    0,
    1,
    1,
    2,
    2,
    3,
    3,
  ]);
  for (const levels of [0, 1, 2, 3]) {
    const loop = { variable: "i", begin: "3", end: "end", step: "7", type: "zero", levels };
    const text = sumLoop({ ...loop, terms: { sum: "i", count: "1" }, body: "" });
    // As JavaScript, but for numbers and functions.
    const script = text.replaceAll(/\b(\d+)u\b/g, "$1").replaceAll(/\bmin\(/g, "Math.min(");
    const run = new Function("end", "zero", `${script}; return [sum, count];`);
    for (const end of [0, 3, 4, 50, 1000, 40_000]) {
      let [sum, count] = [0, 0];
      for (let i = 3; i < end; i += 7) [sum, count] = [sum + i, count + 1];
      assertEquals(run(end, () => 0), [sum, count]);
    }
  }
});
