import type { DType, Tensor } from "@denoformers/attention";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { contiguousLayout, type Layout, selectLayout, sliceLayout } from "../../../gpu/layout.ts";
import { embed } from "../../../gpu/ops/embed.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import { assertNoLeak, nanPadded, sharedDevice } from "../../_device.ts";
import { computed, indices, numel, randomValues, read } from "../_values.ts";

const device = await sharedDevice();

function embedded(source: Tensor, shape: readonly number[], region: Layout): Tensor {
  return computed(device, (runtime) => embed(runtime, arrayOf(source), shape, region));
}

/** The elements of zeros with these values at a region. */
function expected(values: ArrayLike<number>, shape: readonly number[], region: Layout): number[] {
  const out = new Array<number>(numel(shape)).fill(0);
  indices(region.shape).forEach((index, i) => {
    const place = index.reduce((at, k, axis) => at + k * region.strides[axis]!, region.offset);
    out[place] = values[i]!;
  });
  return out;
}

const SHAPE = [4, 5, 6];
const WHOLE = contiguousLayout(SHAPE);
const REGIONS: Layout[] = [
  sliceLayout(WHOLE, 0, 1, 3, 1),
  sliceLayout(WHOLE, 2, 1, 6, 2),
  selectLayout(WHOLE, 1, 3),
  selectLayout(sliceLayout(WHOLE, 2, 3, 5, 1), 0, 2),
  sliceLayout(WHOLE, 1, 2, 2, 1),
  WHOLE,
];

describe("embed()", () => {
  it("puts the elements at their places and zeros elsewhere, in every type", async () => {
    await assertNoLeak(device, async () => {
      for (const dtype of ["f32", "f16", "bf16", "i32", "u32", "bool"] as const) {
        for (const region of REGIONS) {
          const values = randomValues(numel(region.shape), 1, 0, 9).map(Math.round);
          using source = device.tensor(values, { shape: region.shape, dtype });
          using out = embedded(source, SHAPE, region);
          assertEquals<DType>(out.dtype, dtype);
          const data = expected(await source.data(), SHAPE, region);
          assertEquals(await read(out), { shape: SHAPE, data });
        }
      }
    });
  });

  it("takes strided arrays, and reads nothing beside them", async () => {
    for (const dtype of ["f32", "f16"] as const) {
      const region = REGIONS[1]!;
      using source = nanPadded(device, randomValues(numel(region.shape), 2), region.shape, dtype);
      using out = embedded(source, SHAPE, region);
      assertEquals([...await out.data()], expected(await source.data(), SHAPE, region));
    }
  });

  it("throws RangeError where the region has another shape", () => {
    using source = device.ones([4, 5]);
    assertThrows(
      () => embedded(source, SHAPE, WHOLE),
      RangeError,
      "Cannot embed: the array has shape [4, 5], expected that of its region, [4, 5, 6]",
    );
  });
});
