import type { DType } from "@denoformers/attention";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { transposedCopy } from "../../../gpu/ops/transpose.ts";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { deviceAsGpu } from "../_forms.ts";

const device = await deviceAsGpu();

describe("transposedCopy()", () => {
  it("copies matrices of any size, between other axes in any order", async () => {
    const cases: [number[], number[]][] = [
      [[33, 70], [1, 0]],
      [[16, 16], [1, 0]],
      [[3, 2, 40, 37], [1, 0, 3, 2]],
      [[2, 40, 3, 32], [3, 2, 0, 1]],
      [[2, 3, 20, 5, 18], [4, 1, 3, 0, 2]],
    ];
    for (const dtype of ["f32", "i32"] as const satisfies DType[]) {
      for (const [shape, order] of cases) {
        const size = shape.reduce((a, b) => a * b, 1);
        using base = device.arange(size + 3, undefined, 1, { dtype });
        using view = base.slice(0, 3, size + 3).reshape(shape).permute(order);
        const copy = transposedCopy(runtimeOf(device), arrayOf(view));
        assert(copy, `${shape} by ${order} is a case for tiles`);
        copy.storage.release();
        using out = view.contiguous();
        const strides = order.map((axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1));
        const expected = Array.from({ length: size }, (_, i) => {
          let [rest, at] = [i, 3];
          for (let axis = shape.length - 1; axis >= 0; axis--) {
            at += rest % shape[order[axis]!]! * strides[axis]!;
            rest = Math.floor(rest / shape[order[axis]!]!);
          }
          return at;
        });
        assertEquals([...await out.data()], expected, `${dtype} ${shape} by ${order}`);
      }
    }
  });

  it("leaves other layouts to others", () => {
    using x = device.zeros([40, 40]);
    using halves = device.zeros([40, 40], { dtype: "f16" });
    using narrow = device.zeros([40, 15]);
    const views = [x.slice(1, 1, 30), x.transpose(0, 1).slice(1, 0, 40, 2).slice(0, 0, 15)];
    for (const view of [...views, halves.transpose(0, 1), narrow.transpose(0, 1)]) {
      assertEquals(transposedCopy(runtimeOf(device), arrayOf(view)), undefined);
    }
  });
});
