import { requestDevice, type Tensor } from "@denoformers/attention";
import { matmul } from "../../../gpu/ops/matmul.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { type HostArray, naiveMatmul, numel, randomValues } from "../_values.ts";

const device = await sharedDevice();

function host(shape: readonly number[], seed: number): HostArray {
  return { shape, data: [...randomValues(numel(shape), seed)] };
}

/** Asserts the bound that holds for sums of products in any order: k 2^-24 times the sum of magnitudes. */
async function assertProduct(
  actual: Tensor,
  a: HostArray,
  b: HostArray,
  lead: readonly number[] = [],
): Promise<void> {
  const { product, magnitudes } = naiveMatmul(a, b, lead);
  assertEquals(actual.shape, product.shape);
  const unit = a.shape.at(-1)! * 2 ** -24;
  const data = await actual.data();
  for (const [i, expected] of product.data.entries()) {
    assert(
      Math.abs(data[i]! - expected) <= unit * magnitudes[i]!,
      `[${a.shape}] times [${b.shape}]: element ${i} is ${data[i]}, expected ${expected}`,
    );
  }
}

/** About the edges of tiles, which are multiples of 4 and 8 up to 128, and of the runs of k. */
const SIZES: [m: number, k: number, n: number][] = [
  [1, 1, 1],
  [1, 37, 1],
  [2, 3, 5],
  [13, 17, 11],
  [63, 15, 64],
  [64, 16, 65],
  [65, 17, 63],
  [64, 64, 64],
  [1, 65, 130],
  [130, 33, 1],
  [7, 127, 71],
];

describe("Tensor.matmul()", () => {
  it("agrees with 64-bit floats for sizes about the tile's", async () => {
    await assertNoLeak(device, async () => {
      for (const [m, k, n] of SIZES) {
        const [a, b] = [host([m, k], 1), host([k, n], 2)];
        using x = device.tensor(new Float32Array(a.data), { shape: a.shape });
        using y = device.tensor(new Float32Array(b.data), { shape: b.shape });
        using product = x.matmul(y);
        await assertProduct(product, a, b);
      }
    });
  });

  it("reads padded inputs without their padding", async () => {
    for (const [m, k, n] of [[1, 1, 1], [13, 17, 11], [65, 17, 63]] as const) {
      const [a, b] = [host([m, k], 3), host([k, n], 4)];
      using x = nanPadded(device, a.data, a.shape);
      using y = nanPadded(device, b.data, b.shape);
      using product = x.matmul(y);
      await assertProduct(product, a, b);
    }
  });

  it("takes transposed views on either side, or both", async () => {
    for (const [m, k, n] of [[13, 17, 11], [65, 33, 66]] as const) {
      const [a, b] = [host([m, k], 5), host([k, n], 6)];
      using x = nanPadded(device, a.data, a.shape);
      using y = nanPadded(device, b.data, b.shape);
      using turnedX = x.transpose(0, 1).contiguous().transpose(0, 1);
      using turnedY = y.transpose(0, 1).contiguous().transpose(0, 1);
      for (const [left, right] of [[turnedX, y], [x, turnedY], [turnedX, turnedY]] as const) {
        using product = left.matmul(right);
        await assertProduct(product, a, b);
      }
    }
  });

  it("broadcasts leading axes", async () => {
    const cases: [number[], number[], number[]][] = [
      [[3, 4, 5], [3, 5, 6], [3]],
      [[4, 5], [3, 5, 6], [3]],
      [[3, 4, 5], [5, 6], [3]],
      [[2, 1, 4, 5], [3, 5, 6], [2, 3]],
      [[2, 1, 2, 4, 5], [1, 3, 1, 5, 6], [2, 3, 2]],
      [[1, 1, 4, 5], [1, 1, 5, 6], [1, 1]],
    ];
    for (const [shapeA, shapeB, lead] of cases) {
      const [a, b] = [host(shapeA, 7), host(shapeB, 8)];
      using x = nanPadded(device, a.data, a.shape);
      using y = nanPadded(device, b.data, b.shape);
      using product = x.matmul(y);
      await assertProduct(product, a, b, lead);
      using expanded = y.expand([...lead, ...shapeB.slice(-2)]);
      using same = x.matmul(expanded);
      assertEquals(await same.data(), await product.data());
    }
  });

  it("takes a permuted batch, as heads are", async () => {
    // [B, M, H, K] seen as [B, H, M, K].
    const packed = host([2, 7, 3, 5], 9);
    using x = device.tensor(new Float32Array(packed.data), { shape: packed.shape });
    using heads = x.permute([0, 2, 1, 3]);
    using turned = heads.transpose(-1, -2);
    using scores = heads.matmul(turned);
    using denseHeads = heads.contiguous();
    using denseTurned = turned.contiguous();
    const a = { shape: heads.shape, data: [...await denseHeads.data()] };
    const b = { shape: turned.shape, data: [...await denseTurned.data()] };
    await assertProduct(scores, a, b, [2, 3]);
  });

  it("is 0 for K = 0, and empty for M, N or a batch of 0", async () => {
    const cases: [number[], number[], number[]][] = [
      [[2, 0], [0, 3], [2, 3]],
      [[0, 2], [2, 3], [0, 3]],
      [[2, 2], [2, 0], [2, 0]],
      [[0, 2, 2], [2, 2], [0, 2, 2]],
    ];
    for (const [a, b, shape] of cases) {
      using x = device.ones(a);
      using y = device.ones(b);
      using product = x.matmul(y);
      assertEquals(product.shape, shape);
      assertEquals(await product.data(), new Float32Array(numel(shape)));
    }
  });

  it("passes NaN and infinities on, to their own rows and columns alone", async () => {
    using a = device.tensor([[NaN, 0], [1, 2], [Infinity, 0]]);
    using b = device.tensor([[1, 2, 0], [3, 4, 1]]);
    using product = a.matmul(b);
    const [row0, row1, row2] = await product.toArray() as number[][];
    assertEquals(row0, [NaN, NaN, NaN]);
    assertEquals(row1, [7, 10, 2]);
    assertEquals(row2, [Infinity, Infinity, NaN]);
  });

  it("spreads its workgroups over three dimensions where one is too short", async () => {
    using narrow = await requestDevice({
      tune: false,
      limits: { maxComputeWorkgroupsPerDimension: 6 },
    });
    const [a, b] = [host([15, 65, 3], 10), host([3, 70], 11)];
    using x = narrow.tensor(new Float32Array(a.data), { shape: a.shape });
    using y = narrow.tensor(new Float32Array(b.data), { shape: b.shape });
    using product = x.matmul(y); // Over 6 x 6 workgroups, whatever the tile.
    await assertProduct(product, a, b, [15]);
  });

  it("throws for sizes that disagree, vectors and other dtypes", () => {
    using a = device.zeros([2, 3]);
    using b = device.zeros([4, 5]);
    using vector = device.zeros([3]);
    using i = device.zeros([3, 2], { dtype: "i32" });
    assertThrows(
      () => a.matmul(b),
      RangeError,
      "Cannot matmul: shapes are [2, 3] and [4, 5], inner sizes 3 and 4 differ",
    );
    assertThrows(
      () => a.matmul(vector),
      RangeError,
      "Cannot matmul: shapes are [2, 3] and [3], expected [..., M, K] and [..., K, N]",
    );
    assertThrows(() => a.matmul(i), TypeError, "Cannot matmul: dtypes are f32 and i32");
    using c = device.zeros([2, 2, 3]);
    using d = device.zeros([3, 3, 1]);
    assertThrows(
      () => c.matmul(d),
      RangeError,
      "Cannot matmul: shapes [2] and [3] do not broadcast",
    );
  });
});

describe("matmul() of arrays", () => {
  const runtime = runtimeOf(device);

  it("adds a bias to every row, for K = 0 as well", async () => {
    using bias = nanPadded(device, [10, 20, 30], [3]);
    for (const k of [0, 2]) {
      using a = device.ones([2, k]);
      using b = device.ones([k, 3]);
      const out = matmul(runtime, arrayOf(a), arrayOf(b), { bias: arrayOf(bias) });
      const data = new Float32Array(await runtime.download(out.storage, 24));
      out.storage.release();
      assertEquals([...data], [10, 20, 30, 10, 20, 30].map((x) => x + k));
    }
  });

  it("hides what a zero multiplies, on request", async () => {
    using a = device.tensor([[0, 1, 0], [-0, 0, 2]]);
    using b = device.tensor([[NaN, Infinity], [1, 2], [3, -Infinity]]);
    const out = matmul(runtime, arrayOf(a), arrayOf(b), { zeroHides: true });
    const data = new Float32Array(await runtime.download(out.storage, 16));
    out.storage.release();
    assertEquals([...data], [1, 2, 6, -Infinity]);
  });
});
