/** Runs a product by a given plan and compares it with 64-bit floats. */
import type { Device, DType } from "@denoformers/attention";
import { assert, assertEquals } from "@std/assert";
import type { DeviceArray } from "../../../../gpu/array.ts";
import { runtimeOf } from "../../../../gpu/device.ts";
import { roundedTo } from "../../../../gpu/dtype.ts";
import { matmul } from "../../../../gpu/ops/matmul.ts";
import type { MatmulPlan } from "../../../../gpu/ops/matmul/candidates.ts";
import { arrayOf, tensorFrom } from "../../../../gpu/tensor/base.ts";
import { nanPadded } from "../../../_device.ts";
import { type HostArray, naiveMatmul, numel, randomValues } from "../../_values.ts";

/** A product to compute. */
export interface Product {
  /** Sizes. */
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** Which operands are transposed views: A, then B; `n` or `t`. */
  readonly layout?: "nn" | "nt" | "tn" | "tt";
  /** Whether the operands lie within NaNs, at odd places. Else they are dense. */
  readonly padded?: boolean;
  /** Leading axes of A and of B. */
  readonly leads?: readonly [readonly number[], readonly number[]];
  readonly dtype?: DType;
  readonly bias?: boolean;
}

/** Largest relative error of one rounding. */
const ROUNDING: Readonly<Record<string, number>> = { f32: 0, f16: 2 ** -11, bf16: 2 ** -8 };

/** Computes a product by a plan, twice, and asserts that it is right and both times the same. */
export async function assertPlan(
  device: Device,
  plan: MatmulPlan,
  product: Product,
): Promise<void> {
  const { m, k, n, layout = "nn", dtype = "f32", leads = [[], []] } = product;
  const a = host([...leads[0], m, k], 1, dtype);
  const b = host([...leads[1], k, n], 2, dtype);
  const bias = product.bias ? host([n], 3, dtype) : undefined;
  using left = upload(device, a, layout[0] === "t", product);
  using right = upload(device, b, layout[1] === "t", product);
  using row = bias && upload(device, bias, false, product);
  const runtime = runtimeOf(device);
  const run = (): DeviceArray =>
    matmul(runtime, arrayOf(left), arrayOf(right), { plan, bias: row && arrayOf(row) });
  using first = tensorFrom(device, runtime, run());
  using second = tensorFrom(device, runtime, run());
  const data = await first.data();
  assertEquals(await second.data(), data);
  const lead = leads[0].length > leads[1].length ? leads[0] : leads[1];
  const { product: exact, magnitudes } = naiveMatmul(a, b, lead);
  assertEquals(first.shape, exact.shape);
  for (const [i, sum] of exact.data.entries()) {
    const expected = sum + (bias?.data[i % n] ?? 0);
    // One rounding a product and one for the bias, in any order; then that to the type of the result.
    const magnitude = magnitudes[i]! + Math.abs(bias?.data[i % n] ?? 0);
    const bound = (k + 1) * 2 ** -24 * magnitude + ROUNDING[dtype]! * 1.01 * Math.abs(expected);
    assert(
      Math.abs(Number(data[i]) - expected) <= bound,
      `${JSON.stringify(product)}: element ${i} is ${data[i]}, expected ${expected}`,
    );
  }
}

function host(shape: readonly number[], seed: number, dtype: DType): HostArray {
  const data = [...randomValues(numel(shape), seed)].map((value) => roundedTo(dtype, value));
  return { shape, data };
}

/** The array on the device; a transposed one is turned, stored and seen turned back. */
function upload(
  device: Device,
  { shape, data }: HostArray,
  isTransposed: boolean,
  { padded = false, dtype = "f32" }: Product,
) {
  if (!isTransposed) {
    return padded
      ? nanPadded(device, data, shape, dtype)
      : device.tensor(Float32Array.from(data), { shape, dtype });
  }
  const [rows, columns] = shape.slice(-2) as [number, number];
  const turned = data.map((_, i) => {
    const [matrix, place] = [Math.floor(i / (rows * columns)), i % (rows * columns)];
    return data[matrix * rows * columns + place % rows * columns + Math.floor(place / rows)]!;
  });
  const turnedShape = [...shape.slice(0, -2), columns, rows];
  using stored = padded
    ? nanPadded(device, turned, turnedShape, dtype)
    : device.tensor(Float32Array.from(turned), { shape: turnedShape, dtype });
  return stored.transpose(-1, -2);
}
