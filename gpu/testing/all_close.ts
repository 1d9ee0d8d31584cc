import { assertArguments, checkedOptions, type OptionNames, told } from "../checks.ts";
import type { DType, TensorData } from "../dtype.ts";
import { TensorBase } from "../tensor/base.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { unravel } from "./unravel.ts";

/** Tolerances of `torch.testing.assert_close`. */
const DEFAULTS: Readonly<Record<DType, { readonly atol: number; readonly rtol: number }>> = {
  f32: { atol: 1e-5, rtol: 1.3e-6 },
  f16: { atol: 1e-5, rtol: 1e-3 },
  bf16: { atol: 1e-5, rtol: 1.6e-2 },
  i32: { atol: 0, rtol: 0 },
  u32: { atol: 0, rtol: 0 },
  bool: { atol: 0, rtol: 0 },
};

/** How many differing elements an error lists one by one. */
const LISTED_MISMATCHES = 5;

/** Values that {@linkcode assertAllClose} compares: a flat list, or elements with their shape. */
export type AllCloseValues =
  | ArrayLike<number>
  | { readonly shape: readonly number[]; readonly data: ArrayLike<number> };

/** Options of {@linkcode assertAllClose}. */
export interface AllCloseOptions {
  /**
   * Allowed absolute difference; 1e-5 (0 for tensors of integers and bools) unless `rtol` is given, which then
   * needs `atol` too.
   */
  readonly atol?: number;
  /**
   * Allowed difference relative to the expected value; 1.3e-6 (1e-3 for tensors of f16, 1.6e-2 for bf16, 0 for
   * integers and bools) unless `atol` is given.
   */
  readonly rtol?: number;
  /** Whether NaN equals NaN; false unless told. */
  readonly equalNan?: boolean;
  /** Text to put before the error's own. */
  readonly message?: string;
}

const ALL_CLOSE_OPTIONS: OptionNames<AllCloseOptions> = {
  atol: "",
  rtol: "",
  equalNan: "boolean",
  message: "string",
};

interface Elements {
  readonly shape: readonly number[] | undefined;
  readonly data: ArrayLike<number>;
}

interface Mismatch {
  readonly place: number;
  readonly absolute: number;
  readonly relative: number;
}

/**
 * Asserts that every element is close to the one expected, in the manner of
 * `torch.testing.assert_close`: `|actual - expected| <= atol + rtol * |expected|`.
 *
 * Infinities must be equal. NaN fails unless `equalNan` is set and both are NaN. Shapes must be
 * equal where both sides have one; a flat list goes with any shape of as many elements. The default
 * tolerances are those for f32; `atol` and `rtol` are given together or not at all.
 *
 * With a tensor on either side it reads that back, so await it: without `await` a difference fails the run of
 * `deno test`, but names no test. Two tensors must agree in dtype too, and the default tolerances
 * are those for the dtype.
 *
 * @param actual The values under test.
 * @param expected The values they should be close to.
 * @param options Tolerances, how to treat NaN, and a text for the error.
 * @throws {Error} If shapes, dtypes or elements differ.
 * @throws {TypeError} For what is neither numbers nor a tensor, such as a promise of either.
 *
 * @example Compare tensors
 * ```ts
 * import { requestDevice } from "@denoformers/attention";
 * import { assertAllClose } from "@denoformers/attention/testing";
 *
 * using device = await requestDevice();
 * const x = device.tensor([[1, 2], [3, 4]]);
 * await assertAllClose(x.add(x), x.mul(2));
 * await assertAllClose(x.sum(), [10]);
 * ```
 *
 * @example Allow a greater difference
 * ```ts
 * import { assertAllClose } from "@denoformers/attention/testing";
 *
 * assertAllClose(
 *   { shape: [2, 2], data: [1, 2, 3, 4.01] },
 *   { shape: [2, 2], data: [1, 2, 3, 4] },
 *   { atol: 0, rtol: 0.01 },
 * );
 * ```
 */
export function assertAllClose(
  actual: AllCloseValues,
  expected: AllCloseValues,
  options?: AllCloseOptions,
): void;
/** The same where at least one side is a tensor. */
export function assertAllClose(
  actual: Tensor | AllCloseValues,
  expected: Tensor | AllCloseValues,
  options?: AllCloseOptions,
): Promise<void>;
export function assertAllClose(
  actual: Tensor | AllCloseValues,
  expected: Tensor | AllCloseValues,
  options: AllCloseOptions = {},
): void | Promise<void> {
  assertArguments("compare tensors", arguments, 3, "write { atol, rtol }");
  checkedOptions("compare tensors", options, ALL_CLOSE_OPTIONS);
  if (actual instanceof TensorBase || expected instanceof TensorBase) {
    return comparisonOf(actual, expected, options);
  }
  compare(elementsOf(actual, "actual"), elementsOf(expected, "expected"), options, "f32");
}

/** Comparisons that wait for their tensors. */
let pending = 0;

/** A file of tests ends without waiting for what its last test left behind: a difference would pass unseen. */
function assertNonePending(): void {
  if (pending === 0) return;
  throw new Error(
    "Cannot compare tensors: the tests ended before an assertAllClose() did; await assertAllClose()",
  );
}

async function comparisonOf(
  actual: Tensor | AllCloseValues,
  expected: Tensor | AllCloseValues,
  options: AllCloseOptions,
): Promise<void> {
  // Node has no such event. The same listener is added once.
  globalThis.addEventListener?.("unload", assertNonePending);
  pending++;
  try {
    await compareTensors(actual, expected, options);
  } finally {
    pending--;
  }
}

async function compareTensors(
  actual: Tensor | AllCloseValues,
  expected: Tensor | AllCloseValues,
  options: AllCloseOptions,
): Promise<void> {
  const sides = [[actual, "actual"], [expected, "expected"]] as const;
  const dtypes = sides.flatMap(([values]) => values instanceof TensorBase ? [values.dtype] : []);
  const [dtype, other = dtype] = dtypes as [DType, DType?];
  if (dtype !== other) {
    throw new Error(prefixed(
      options.message,
      `Cannot compare tensors: dtype ${dtype} differs from expected ${other}; convert one with .to("${other}")`,
    ));
  }
  const [a, e] = await Promise.all(
    sides.map(async ([values, side]): Promise<Elements> =>
      values instanceof TensorBase
        ? { shape: values.shape, data: await values.data<TensorData>() }
        : elementsOf(values, side)
    ),
  );
  compare(a!, e!, options, dtype);
}

function compare(a: Elements, e: Elements, options: AllCloseOptions, dtype: DType): void {
  const { atol, rtol } = tolerances(options, dtype);
  const { equalNan = false } = options;
  assertSameShape(a, e, options.message);

  const mismatches: Mismatch[] = [];
  for (let place = 0; place < a.data.length; place++) {
    const x = a.data[place]!;
    const y = e.data[place]!;
    // Equality first: an infinity's distance from itself is NaN.
    if (x === y || (equalNan && Number.isNaN(x) && Number.isNaN(y))) continue;
    const absolute = Math.abs(x - y);
    // The bound of an infinite `y` is infinite, yet nothing finite is close to it.
    if (Number.isFinite(y) && absolute <= atol + rtol * Math.abs(y)) continue;
    mismatches.push({ place, absolute, relative: absolute / Math.abs(y) });
  }
  if (mismatches.length > 0) {
    throw new Error(prefixed(options.message, report(a, e, mismatches, atol, rtol)));
  }
}

function tolerances(
  { atol, rtol }: AllCloseOptions,
  dtype: DType,
): { readonly atol: number; readonly rtol: number } {
  if (atol === undefined && rtol === undefined) return DEFAULTS[dtype];
  if (atol === undefined || rtol === undefined) {
    const [given, missing] = atol === undefined ? ["rtol", "atol"] : ["atol", "rtol"];
    throw new TypeError(
      `Cannot compare tensors: ${given} is given without ${missing}; give both or neither`,
    );
  }
  for (const [name, value] of [["atol", atol], ["rtol", rtol]] as const) {
    if (!(typeof value === "number" && value >= 0)) {
      throw new RangeError(`Cannot compare tensors: ${name} is ${told(value)}, expected 0 or more`);
    }
  }
  return { atol, rtol };
}

function elementsOf(values: AllCloseValues, side: string): Elements {
  if (typeof values !== "object" || values === null) fail(side, values);
  if (!("data" in values)) return { shape: undefined, data: numbersOf(side, values) };
  const { shape } = values;
  if (!Array.isArray(shape)) fail(`the shape of ${side}`, shape);
  const data = numbersOf(`the data of ${side}`, values.data);
  const count = shape.reduce((product, size) => product * size, 1);
  if (count !== data.length) {
    throw new RangeError(
      `Cannot compare tensors: ${side} has ${data.length} elements, expected ${count} for shape ${
        formatList(shape)
      }`,
    );
  }
  return { shape, data };
}

/** A list of numbers as it is; of BigInts as numbers, of booleans as 0 and 1. */
function numbersOf(name: string, list: ArrayLike<number>): ArrayLike<number> {
  const length: unknown = list?.length;
  if (typeof list !== "object" || typeof length !== "number") fail(name, list);
  if (ArrayBuffer.isView(list) && typeof list[0] === "number") return list;
  return Array.from<unknown, number>(list, (value, i) => {
    if (typeof value === "number") return value;
    if (typeof value === "boolean" || typeof value === "bigint") return Number(value);
    throw new TypeError(
      `Cannot compare tensors: ${name} has ${
        told(value)
      } at ${i}, expected numbers; give nested lists as ` +
        "{ shape, data } or as device.tensor(list)",
    );
  });
}

function fail(name: string, value: unknown): never {
  throw new TypeError(
    `Cannot compare tensors: ${name} is ${
      told(value)
    }, expected a list, { shape, data } or a Tensor` +
      (value instanceof Promise ? "; await it, as in await tensor.data()" : ""),
  );
}

function assertSameShape(a: Elements, e: Elements, message: string | undefined): void {
  const ranked = a.shape !== undefined && e.shape !== undefined;
  const shapeA = ranked ? a.shape : [a.data.length];
  const shapeE = ranked ? e.shape : [e.data.length];
  if (formatList(shapeA) === formatList(shapeE)) return;
  throw new Error(
    prefixed(
      message,
      `Cannot compare tensors: shape ${formatList(a.shape ?? shapeA)} differs from expected ${
        formatList(e.shape ?? shapeE)
      }`,
    ),
  );
}

function report(
  a: Elements,
  e: Elements,
  mismatches: readonly Mismatch[],
  atol: number,
  rtol: number,
): string {
  const shape = a.shape ?? e.shape ?? [a.data.length];
  const indexOf = (mismatch: Mismatch): string => formatList(unravel(mismatch.place, shape));
  const absolute = greatest(mismatches, (mismatch) => mismatch.absolute);
  const relative = greatest(mismatches, (mismatch) => mismatch.relative);
  const percentage = (100 * mismatches.length / a.data.length).toFixed(1);
  const lines = [
    `Expected tensors to be close: ${mismatches.length} of ${a.data.length} elements differ ` +
    `(${percentage}%)`,
    `  greatest absolute difference: ${absolute.absolute} at ${indexOf(absolute)} ` +
    `(up to ${atol} allowed)`,
    `  greatest relative difference: ${relative.relative} at ${indexOf(relative)} ` +
    `(up to ${rtol} allowed)`,
  ];
  for (const mismatch of mismatches.slice(0, LISTED_MISMATCHES)) {
    lines.push(
      `  at ${indexOf(mismatch)}: ${a.data[mismatch.place]}, expected ${e.data[mismatch.place]}`,
    );
  }
  const unlisted = mismatches.length - LISTED_MISMATCHES;
  if (unlisted > 0) lines.push(`  and ${unlisted} more`);
  return lines.join("\n");
}

/** The mismatch of the greatest size; NaN counts as greater than any number. */
function greatest(mismatches: readonly Mismatch[], size: (m: Mismatch) => number): Mismatch {
  return mismatches.reduce((best, mismatch) =>
    size(mismatch) > size(best) || (Number.isNaN(size(mismatch)) && !Number.isNaN(size(best)))
      ? mismatch
      : best
  );
}

function formatList(numbers: readonly number[]): string {
  return `[${numbers.join(", ")}]`;
}

function prefixed(message: string | undefined, text: string): string {
  return message === undefined ? text : `${message}: ${text}`;
}
