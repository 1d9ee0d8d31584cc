import { type Device, type DType, requestDevice, type Tensor } from "@denoformers/attention";
import { isFloat } from "../../../gpu/dtype.ts";
import { modeOf } from "../../../gpu/ops/map_kernel.ts";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();
const DTYPES: readonly DType[] = ["f32", "f16", "bf16", "i32", "u32", "bool"];

/** Small whole numbers, which every type holds exactly; 0 and 1 for bools. */
function counted(device: Device, shape: readonly number[], dtype: DType, step = 1): Tensor {
  const size = shape.reduce((a, b) => a * b, 1);
  const data = Array.from({ length: size }, (_, i) => i * step % (dtype === "bool" ? 2 : 61));
  return device.tensor(data, { shape, dtype });
}

/** The elements in row-major order, found on the host. */
async function elements(tensor: Tensor, shape: readonly number[]): Promise<number[]> {
  const base = [...await tensor.data<Float32Array<ArrayBuffer>>()];
  const own = [...new Array<number>(shape.length - tensor.ndim).fill(1), ...tensor.shape];
  return Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => {
    let [rest, at, stride] = [i, 0, 1];
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      if (own[axis] !== 1) at += rest % shape[axis]! * stride;
      stride *= own[axis]!;
      rest = Math.floor(rest / shape[axis]!);
    }
    return base[at]!;
  });
}

/** Shapes of two operands: dense, single, vectors, places apart; odd sizes, and none. */
const SHAPES: readonly (readonly [readonly number[], readonly number[]])[] = [
  [[1], [1]],
  [[7], [7]],
  [[1030], [1]],
  [[5, 8], [8]],
  [[5, 8], [5, 1]],
  [[5, 7], [7]],
  [[5, 7], [5, 1]],
  [[3, 5, 4], [5, 1]],
  [[3, 1, 4], [1, 5, 1]],
  [[2, 3, 5, 3], [3, 1, 3]],
  [[0, 4], [4]],
];

describe("map()", () => {
  it("computes operands of all shapes and dtypes", async () => {
    for (const dtype of DTYPES) {
      for (const [left, right] of SHAPES) {
        using a = counted(device, left, dtype);
        using b = counted(device, right, dtype, 3);
        using out = dtype === "bool" ? a.logicalAnd(b) : a.maximum(b);
        const [x, y] = await Promise.all([elements(a, out.shape), elements(b, out.shape)]);
        const expected = x.map((value, i) =>
          dtype === "bool" ? value & y[i]! : Math.max(value, y[i]!)
        );
        assertEquals([...await out.data()], expected, `${dtype} ${left} and ${right}`);
      }
    }
  });

  it("reads views at any offset and with any strides", async () => {
    for (const dtype of DTYPES) {
      using base = counted(device, [6, 10, 8], dtype);
      const values = [...await base.data<Float32Array<ArrayBuffer>>()];
      const at = (i: number, j: number, k: number) => values[(i * 10 + j) * 8 + k]!;
      const views: [Tensor, number[], (i: number, j: number, k: number) => number][] = [
        [base.slice(0, 1, 6), [5, 10, 8], (i, j, k) => at(i + 1, j, k)],
        [base.slice(2, 4, 8), [6, 10, 4], (i, j, k) => at(i, j, k + 4)],
        [base.slice(2, 1, 5), [6, 10, 4], (i, j, k) => at(i, j, k + 1)],
        [base.slice(2, 0, 8, 2), [6, 10, 4], (i, j, k) => at(i, j, 2 * k)],
        [base.slice(2, 0, 3), [6, 10, 3], (i, j, k) => at(i, j, k)],
        [base.permute([2, 0, 1]).slice(2, 0, 8), [8, 6, 8], (i, j, k) => at(j, k, i)],
        [base.permute([1, 2, 0]), [10, 8, 6], (i, j, k) => at(k, i, j)],
      ];
      for (const [view, [I, J, K], element] of views) {
        using out = view.contiguous();
        const expected: number[] = [];
        for (let i = 0; i < I!; i++) {
          for (let j = 0; j < J!; j++) for (let k = 0; k < K!; k++) expected.push(element(i, j, k));
        }
        assertEquals([...await out.data()], expected, `${dtype} ${view.strides} ${I},${J},${K}`);
        view.dispose();
      }
    }
  });

  it("goes over arrays larger than a binding in shares of whole vectors", async () => {
    // Not a multiple of 16, as on some drivers.
    using small = await requestDevice({
      limits: { maxStorageBufferBindingSize: 4092 },
      tune: false,
    });
    for (const dtype of DTYPES.filter(isFloat)) {
      using a = counted(small, [1030, 5], dtype);
      using b = counted(small, [5], dtype, 3);
      using out = a.add(b);
      const [x, y] = await Promise.all([elements(a, [1030, 5]), elements(b, [1030, 5])]);
      assertEquals([...await out.data()], x.map((value, i) => value + y[i]!), dtype);
    }
  });
});

describe("modeOf()", () => {
  it("takes vectors where they are aligned, else the next best", () => {
    assertEquals(modeOf([5, 8], [8, 1], 4), "vector");
    assertEquals(modeOf([5, 8], [0, 1], 0), "vector");
    assertEquals(modeOf([7], [1], -64), "vector");
    assertEquals(modeOf([5, 8], [8, 1], 2), "even");
    assertEquals(modeOf([5, 8], [9, 1], 0), "even");
    assertEquals(modeOf([5, 8], [1, 5], 0), "even");
    assertEquals(modeOf([5, 8], [1, 0], 3), "single");
    assertEquals(modeOf([5, 7], [7, 1], 0), "apart");
  });
});
