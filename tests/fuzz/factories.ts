/** What makes tensors: of numbers, of one number, of a range, at random. */
import type { Device, DType, Tensor } from "@denoformers/attention";
import { tidy } from "@denoformers/attention";
import fc from "fast-check";
import { nested } from "../gpu/_values.ts";
import { assertIs, held } from "./_compare.ts";
import { type Family, take, type Taken } from "./_family.ts";
import { type Host, host } from "./_host.ts";
import { assertRefused } from "./_refused.ts";
import { shapes } from "./_shapes.ts";

/** One call. */
interface FactoryCase {
  readonly of: "zeros" | "ones" | "full" | "arange" | "rand" | "randn" | "nested" | "flat";
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly value: number;
  readonly range: readonly [start: number, end: number, step: number];
  readonly seed: number;
}

const NAMES = ["zeros", "ones", "full", "arange", "rand", "randn", "nested", "flat"] as const;
const DTYPES: readonly DType[] = ["f32", "f16", "bf16", "i32", "u32", "bool"];

/** Factories of the device. */
export const factories: Family<FactoryCase> = {
  name: "factories",
  weight: 10,
  quick: 20,
  cases: (scope) =>
    fc.record({
      of: fc.constantFrom(...NAMES),
      shape: shapes(4),
      dtype: scope.some(DTYPES, 3),
      value: fc.constantFrom(0, 1, -1, 0.5, 7, 2 ** 31, 65520, NaN, Infinity, -0),
      range: fc.tuple(
        fc.integer({ min: -9, max: 9 }),
        fc.integer({ min: -9, max: 9 }),
        fc.constantFrom(1, 2, -1, 0.5, 0),
      ),
      seed: fc.oneof(fc.nat(3), fc.maxSafeNat()),
    }),
  async check(device, drawn) {
    const { of, dtype } = drawn;
    const isFloat = ["f32", "f16", "bf16"].includes(dtype);
    if (of === "rand" || of === "randn") {
      if (!isFloat) return assertRefused(() => make(device, drawn));
      return await checkRandom(device, drawn);
    }
    const expected = expectedOf(drawn);
    const isHeld = expected?.data.every((x) => isElement(dtype, x)) ?? false;
    // Zero elements hold any number, but a whole value is asked for as such.
    const isRefused = !expected || !isHeld || (of === "full" && !isElement(dtype, drawn.value));
    if (isRefused) return assertRefused(() => make(device, drawn));
    const [found] = await take([make(device, drawn)]);
    const stored = { ...expected, data: expected.data.map((x) => stores(dtype, x)) };
    assertIs(found!, stored, dtype, { atol: 0, rtol: 0 }, of);
  },
};

function isElement(dtype: DType, x: number): boolean {
  if (dtype === "i32") return x === (x | 0);
  return dtype === "u32" ? x === x >>> 0 : true;
}

function stores(dtype: DType, x: number): number {
  return dtype === "bool" ? Number(x !== 0) : held(dtype, x);
}

function make(device: Device, { of, shape, dtype, value, range, seed }: FactoryCase): Tensor {
  switch (of) {
    case "full":
      return device.full(shape, value, { dtype });
    case "arange":
      return device.arange(...range, { dtype });
    case "rand":
    case "randn":
      return device[of](shape, { seed, dtype });
    case "nested":
      return device.tensor(nested(counted(shape)), { dtype });
    case "flat":
      return device.tensor(Float64Array.from(counted(shape).data), { shape, dtype });
    default:
      return device[of](shape, { dtype });
  }
}

function counted(shape: readonly number[]): Host {
  return host(shape, (_, at) => at % 200);
}

function expectedOf(
  { of, shape, value, range: [start, end, step] }: FactoryCase,
): Host | undefined {
  if (of === "arange") {
    if (step === 0) return undefined;
    const count = Math.max(0, Math.ceil((end - start) / step));
    return host([count], (_, i) => start + i * step);
  }
  if (of === "zeros" || of === "ones") return host(shape, () => of === "zeros" ? 0 : 1);
  if (of === "full") return host(shape, () => value);
  // Of nested lists, an axis of size 0 hides those behind it.
  const shown = of === "nested" && shape.includes(0) ? shape.slice(0, shape.indexOf(0) + 1) : shape;
  return counted(shown);
}

/** The same seed gives the same numbers, whatever the shape; in range, and those of f16 are those of f32 rounded. */
async function checkRandom(device: Device, drawn: FactoryCase): Promise<void> {
  const { of, shape, seed, dtype } = drawn;
  const [found, again, wide] = await take(tidy(() => {
    const first = make(device, drawn);
    return [
      first,
      device[of as "rand"]([first.size], { seed, dtype }),
      device[of as "rand"](shape, { seed }),
    ];
  })) as [Taken, Taken, Taken];
  assertIs({ ...again, shape }, found, dtype, { atol: 0, rtol: 0 }, "numbers of one seed");
  const rounded = { shape, data: wide.data.map((x) => held(dtype, x)) };
  assertIs(found, rounded, dtype, { atol: 0, rtol: 0 }, `${dtype} of the numbers of one seed`);
  const isIn = (x: number) => of === "randn" ? Math.abs(x) < 10 : x >= 0 && x < 1;
  const outside = wide.data.find((x) => !isIn(x));
  if (outside !== undefined) throw new Error(`${of}() gave ${outside}`);
}
