/** Arbitraries of shapes, of values, and of ways in which a tensor lies in memory. */
import type { Device, DType, Tensor } from "@denoformers/attention";
import fc from "fast-check";
import { type Host, numel, placeOf } from "./_host.ts";

/** Shapes of up to `maxRank` axes: small sizes, 0 and 1 among them. */
export function shapes(maxRank: number, maxSize = 5): fc.Arbitrary<number[]> {
  const size = fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 1, max: maxSize }) }, {
    weight: 1,
    arbitrary: fc.constant(0),
  });
  return fc.array(size, { maxLength: maxRank });
}

/** Which axes of a shape become 1, and how many leading ones are dropped, so that it broadcasts. */
export const narrowings = fc.record({
  ones: fc.array(fc.boolean(), { maxLength: 6 }),
  dropped: fc.nat(2),
});

/** A shape that broadcasts to another. */
export function narrowed(
  shape: readonly number[],
  { ones, dropped }: { readonly ones: readonly boolean[]; readonly dropped: number },
): number[] {
  return shape.map((size, axis) => ones[axis] ? 1 : size).slice(Math.min(dropped, shape.length));
}

/** How a tensor lies in memory: in order, with its axes reversed, every other of twice as many, behind others. */
export type Lie = "dense" | "transposed" | "stepped" | "offset";

/** All of them. */
export const LIES: readonly Lie[] = ["dense", "transposed", "stepped", "offset"];

/** Makes a tensor of these values that lies in memory so; call it within `tidy`. */
export function lying(device: Device, array: Host, dtype: DType, kind: Lie): Tensor {
  const { shape, data } = array;
  const rank = shape.length;
  const make = (values: readonly number[], of: readonly number[]) =>
    device.tensor(Float64Array.from(values), { shape: of, dtype });
  if (rank === 0 || kind === "dense") return make(data, shape);
  if (kind === "offset") {
    const behind = [1, 1, 1, ...data];
    return make(behind, [behind.length]).slice(0, 3).reshape(shape);
  }
  if (kind === "stepped") {
    const last = rank - 1;
    const wide = [...shape.slice(0, -1), 2 * shape[last]!];
    return make(data.flatMap((x) => [x, 1]), wide).slice(last, 0, wide[last], 2);
  }
  const reversed = shape.toReversed();
  const moved = new Array<number>(numel(shape));
  for (let place = 0; place < moved.length; place++) {
    const index: number[] = [];
    let rest = place;
    for (let axis = rank - 1; axis >= 0; axis--) {
      index.unshift(rest % reversed[axis]!);
      rest = Math.floor(rest / reversed[axis]!);
    }
    moved[place] = data[placeOf(index.toReversed(), shape)]!;
  }
  return make(moved, reversed).permute(shape.map((_, axis) => rank - 1 - axis));
}
