/** From one element type to another, and on. */
import { type Device, type DType, tidy } from "@denoformers/attention";
import fc from "fast-check";
import { isFloat } from "../../gpu/dtype.ts";
import { assertIs, held } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import { type Host, host, mapped } from "./_host.ts";
import { type Lie, LIES, lying, shapes } from "./_shapes.ts";

/** Types one after the other, and numbers to begin with. */
interface ConversionCase {
  readonly shape: readonly number[];
  readonly values: readonly number[];
  readonly lie: Lie;
  readonly dtypes: readonly DType[];
}

const ALL: readonly DType[] = ["f32", "f16", "bf16", "i32", "u32", "bool"];

/** Numbers that lie between those of a 16-bit type, at its end, and beyond. */
const EDGES = [0, 1, -1, 65504, 65519.9, 65520, 1e6, -1e6, 0.1, 1 / 3, 2049, 2 ** -25, 1.00390625];

/** `to()`. */
export const conversions: Family<ConversionCase> = {
  name: "conversions",
  weight: 6,
  quick: 12,
  cases: (scope) =>
    fc.record({
      shape: shapes(3),
      values: fc.array(
        fc.oneof(fc.float({ min: -3e4, max: 3e4, noNaN: true }), fc.constantFrom(...EDGES)),
        { minLength: 1, maxLength: 6 },
      ),
      lie: fc.constantFrom(...scope.pick(LIES, 2)),
      dtypes: fc.array(scope.some(ALL, 3), { minLength: 2, maxLength: 4 }),
    }),
  async check(device: Device, { shape, values, lie, dtypes }) {
    const [first, ...rest] = dtypes as [DType, ...DType[]];
    const start = host(shape, (_, at) => converted(values[at % values.length]!, "f32", first));
    const expected: Host[] = [];
    rest.reduce((model, dtype, i) => {
      const next = mapped(model, (x) => converted(x, dtypes[i]!, dtype));
      expected.push(next);
      return next;
    }, start);
    const tensors = tidy(() => {
      let tensor = lying(device, start, first, lie);
      return rest.map((dtype) => tensor = tensor.to(dtype));
    });
    for (const [i, found] of (await take(tensors)).entries()) {
      assertIs(found, expected[i]!, rest[i]!, { atol: 0, rtol: 0 }, `${dtypes[i]} to ${rest[i]}`);
    }
  },
};

/** As documented: floats to integers towards zero, to bool by `!= 0`, to floats to the nearest. */
function converted(x: number, from: DType, to: DType): number {
  if (to === "bool") return Number(x !== 0);
  if (isFloat(to)) return held(to, held("f32", x));
  if (!isFloat(from)) return to === "u32" ? x >>> 0 : x | 0;
  // WGSL takes what is out of range for the nearest number that both types hold.
  const [low, high] = to === "u32" ? [0, 2 ** 32 - 2 ** 8] : [-(2 ** 31), 2 ** 31 - 2 ** 7];
  return Math.min(Math.max(Math.trunc(x), low), high);
}
