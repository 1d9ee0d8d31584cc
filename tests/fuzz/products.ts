/** Matrix products: batched, broadcast, of strided operands; and the affine function. */
import { type Device, type DType, linear, tidy } from "@denoformers/attention";
import fc from "fast-check";
import { assertIs, held } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import { commonShape, type Host, numel, permuted, product, someNumbers, zipped } from "./_host.ts";
import { assertRefused } from "./_refused.ts";
import { type Lie, LIES, lying, narrowed, narrowings, shapes } from "./_shapes.ts";

/** One call. */
interface ProductCase {
  readonly op: "matmul" | "linear";
  readonly dtype: DType;
  readonly lead: readonly number[];
  readonly narrowing: {
    readonly left: { readonly ones: readonly boolean[]; readonly dropped: number };
    readonly right: { readonly ones: readonly boolean[]; readonly dropped: number };
  };
  readonly M: number;
  readonly K: number;
  readonly N: number;
  /** Added to the second K, so that it does not fit. */
  readonly gap: number;
  readonly lies: readonly [Lie, Lie];
  readonly bias: boolean;
  readonly numbers: number;
}

const side = fc.oneof({ weight: 6, arbitrary: fc.integer({ min: 1, max: 9 }) }, {
  weight: 1,
  arbitrary: fc.constantFrom(0, 16, 33, 64, 70),
});

/** `matmul` and `linear`. */
export const products: Family<ProductCase> = {
  name: "products",
  weight: 8,
  quick: 8,
  cases(scope) {
    const lie = fc.constantFrom(...scope.pick(LIES, 2));
    return fc.record({
      op: fc.constantFrom("matmul", "linear"),
      dtype: scope.some<DType>(["f32", "f16", "bf16"], 1),
      lead: shapes(2, 3),
      narrowing: fc.record({ left: narrowings, right: narrowings }),
      M: side,
      K: side,
      N: side,
      gap: fc.oneof({ weight: 8, arbitrary: fc.constant(0) }, fc.integer({ min: 1, max: 2 })),
      lies: fc.tuple(lie, lie),
      bias: fc.boolean(),
      numbers: fc.nat(99),
    });
  },
  async check(device: Device, drawn) {
    const { op, dtype, lies, gap } = drawn;
    const { a, b, bias } = operandsOf(drawn);
    const call = () =>
      tidy(() => {
        const [x, y] = [lying(device, a, dtype, lies[0]), lying(device, b, dtype, lies[1])];
        if (op === "matmul") return x.matmul(y);
        return linear(x, y, bias && lying(device, bias, dtype, "offset"));
      });
    const fits = gap === 0 &&
      (op === "linear" || commonShape([a.shape.slice(0, -2), b.shape.slice(0, -2)]));
    if (!fits) return assertRefused(call);
    const transposed = op === "linear" ? permuted(b, [1, 0]) : b;
    const expected = product(a, transposed);
    const [found] = await take([call()]);
    // 70 products of about 1, summed in f32: 70 roundings of half of 2^-23 times some 30.
    const tolerance = { atol: 2e-5, rtol: 1e-5 };
    const sums = bias ? zipped([expected, bias], (x, y) => x + y) : expected;
    assertIs(found!, sums, dtype, tolerance, op);
  },
};

function operandsOf({ op, dtype, lead, narrowing, M, K, N, gap, bias, numbers }: ProductCase) {
  const make = (shape: readonly number[], which: number): Host => ({
    shape,
    data: someNumbers(numel(shape), 3 * numbers + which).map((x) => held(dtype, x)),
  });
  if (op === "linear") {
    return {
      a: make([...lead, M, K], 0),
      b: make([N, K + gap], 1),
      bias: bias ? make([N], 2) : undefined,
    };
  }
  return {
    a: make([...narrowed(lead, narrowing.left), M, K], 0),
    b: make([...narrowed(lead, narrowing.right), K + gap, N], 1),
    bias: undefined,
  };
}
