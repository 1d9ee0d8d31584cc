/** The gradients that kernels are held against: by differences of the reference itself, and by PyTorch's. */
import {
  referenceAttention,
  type ReferenceOptions,
  type ReferenceTensor,
} from "../../attention/reference.ts";
import {
  referenceAttentionGradients,
  type ReferenceGradient,
  type ReferenceGradientOptions,
} from "../../attention/reference_gradients.ts";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { numel } from "../../gpu/shape.ts";
import { alibiTerm, GRADIENT_CASES, numbers } from "./_gradient_golden.ts";
import { makeGolden } from "./masks/_golden.ts";

/** Float64 numbers in [-1, 1) from a linear congruential generator. */
function randomTensor(shape: readonly number[], seed: number) {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  const data = new Float64Array(numel(shape)).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { shape, data };
}

/** What to differentiate. */
interface Call {
  readonly query: readonly number[];
  readonly key: readonly number[];
  readonly value: readonly number[];
  readonly bias?: readonly number[];
  readonly options?: Pick<ReferenceOptions, "scale" | "allowed" | "added" | "factor">;
}

/** The sum of the results times their gradients; a log-sum-exp of -Infinity counts for nothing. */
function loss(
  [query, key, value]: readonly ReferenceTensor[],
  options: ReferenceOptions,
  upstream: { readonly out: ReferenceTensor; readonly lse: ReferenceTensor },
): number {
  const { out, lse } = referenceAttention(query!, key!, value!, options);
  const sum = (values: Float64Array, { data }: ReferenceTensor) =>
    values.reduce((total, x, i) => x === -Infinity ? total : total + x * data[i]!, 0);
  return sum(out.data, upstream.out) + sum(lse.data, upstream.lse);
}

/** Compares every gradient with central differences. */
function assertMatchesDifferences({ query, key, value, bias, options = {} }: Call): void {
  const inputs = [query, key, value].map((shape, n) => randomTensor(shape, n + 1));
  const added = bias && randomTensor(bias, 4);
  if (added) added.data[0] = -Infinity; // Hides, and so has no gradient.
  const all: ReferenceGradientOptions = { ...options, ...(added ? { bias: added } : {}) };
  const { out, lse } = referenceAttention(inputs[0]!, inputs[1]!, inputs[2]!, all);
  const upstream = { out: randomTensor(out.shape, 5), lse: randomTensor(lse.shape, 6) };
  const gradients = referenceAttentionGradients(inputs[0]!, inputs[1]!, inputs[2]!, upstream.out, {
    ...all,
    lseGradient: upstream.lse,
  });
  const { dQuery, dKey, dValue, dBias } = gradients;
  const pairs: [string, { data: Float64Array }, ReferenceGradient][] = [
    ["dQuery", inputs[0]!, dQuery],
    ["dKey", inputs[1]!, dKey],
    ["dValue", inputs[2]!, dValue],
    ...(added ? [["dBias", added, dBias!] as [string, typeof added, ReferenceGradient]] : []),
  ];
  const step = 2 ** -16;
  for (const [message, { data }, gradient] of pairs) {
    const differences = data.map((x, at) => {
      if (x === -Infinity) return 0;
      const losses = [x + step, x - step].map((moved) => {
        data[at] = moved;
        return loss(inputs, all, upstream);
      });
      data[at] = x;
      return (losses[0]! - losses[1]!) / (2 * step);
    });
    // Off by the third derivative, some 1, times step² / 6 = 4e-11, and by the loss's rounding, 1e-15, over
    // two steps of 1.5e-5.
    assertAllClose(gradient.data, differences, { atol: 1e-9, rtol: 1e-9, message });
  }
}

/** A dropout of a third of the weights, by their places. */
const factor = (b: number, h: number, i: number, j: number) => (b + 2 * h + i + j) % 3 ? 1.5 : 0;

const CALLS: Readonly<Record<string, Call>> = {
  "without options": { query: [2, 3, 2, 4], key: [2, 5, 2, 4], value: [2, 5, 2, 3] },
  "with a mask that leaves a query without keys": {
    query: [1, 4, 2, 3],
    key: [1, 3, 2, 3],
    value: [1, 3, 2, 3],
    options: { allowed: (_b, _h, i, j) => j < i },
  },
  "with a scale": {
    query: [1, 3, 1, 2],
    key: [1, 4, 1, 2],
    value: [1, 4, 1, 2],
    options: { scale: -0.7 },
  },
  "with dropout": {
    query: [2, 3, 2, 2],
    key: [2, 4, 2, 2],
    value: [2, 4, 2, 3],
    options: { factor },
  },
  "with a bias for every pair, of 3-D inputs": {
    query: [2, 3, 4],
    key: [2, 4, 4],
    value: [2, 4, 2],
    bias: [2, 3, 4],
  },
  "with a bias for keys alone, dropout and ALiBi": {
    query: [2, 3, 2, 2],
    key: [2, 4, 2, 2],
    value: [2, 4, 2, 3],
    bias: [4],
    options: { factor, added: (_b, h, i, j) => -(h + 1) * Math.abs(i - j) / 4 },
  },
  "with a bias for heads alone, and query heads that share keys": {
    query: [2, 3, 6, 2],
    key: [2, 4, 2, 2],
    value: [2, 4, 2, 3],
    bias: [2, 1, 1, 1],
  },
  "of 5-D inputs with a bias that broadcasts over groups": {
    query: [1, 3, 2, 3, 2],
    key: [1, 4, 2, 3, 2],
    value: [1, 4, 2, 3, 1],
    bias: [1, 3, 3, 1],
    options: { allowed: (_b, h, i, j) => (h + i + j) % 4 > 0 },
  },
};

describe("referenceAttentionGradients() is the quotient of differences", () => {
  for (const [name, call] of Object.entries(CALLS)) {
    it(name, () => assertMatchesDifferences(call));
  }
});

describe("referenceAttentionGradients() agrees with PyTorch", () => {
  for (const { name, made, scale, bias, slopes, gradient, ...testCase } of GRADIENT_CASES) {
    it(`on ${name}`, async () => {
      const [query, key, value] = [testCase.query, testCase.key, testCase.value].map(numbers);
      const [Mq, Mkv] = [query!.shape[1]!, key!.shape[1]!];
      const mask = made.length > 0 ? await makeGolden({ made }) : undefined;
      const matrix = mask?.materialize([Mq, Mkv]);
      const { dQuery, dKey, dValue, dBias } = referenceAttentionGradients(
        query!,
        key!,
        value!,
        numbers(gradient),
        {
          ...(scale === undefined ? {} : { scale }),
          ...(bias ? { bias: { ...numbers(bias), boolean: bias.boolean } } : {}),
          ...(matrix ? { allowed: (_b, _h, i, j) => matrix[i * Mkv + j] === 0 } : {}),
          ...(slopes ? { added: alibiTerm(slopes, Mq, Mkv) } : {}),
        },
      );
      // The file has nine digits, and at most twelve decimals.
      const stored = { atol: 1e-11, rtol: 1e-8 };
      assertAllClose(dQuery, numbers(testCase.dQuery), { ...stored, message: "dQuery" });
      assertAllClose(dKey, numbers(testCase.dKey), { ...stored, message: "dKey" });
      assertAllClose(dValue, numbers(testCase.dValue), { ...stored, message: "dValue" });
      assertEquals(dBias !== undefined, testCase.dBias !== undefined);
      if (dBias) assertAllClose(dBias, numbers(testCase.dBias!), { ...stored, message: "dBias" });
    });
  }
});

describe("referenceAttentionGradients()", () => {
  it("looks at no pair that is hidden or has the weight 0", () => {
    const shape = [1, 3, 1, 2];
    const [query, key, value, gradient] = [1, 2, 3, 4].map((seed) => randomTensor(shape, seed));
    // Query 0 and key 2 are NaN and see, or are seen by, nobody; the others see keys 0 and 1.
    const clean = { allowed: (_b: number, _h: number, i: number, j: number) => i > 0 && j < 2 };
    const expected = referenceAttentionGradients(query!, key!, value!, gradient!, clean);
    query!.data.fill(NaN, 0, 2);
    gradient!.data.fill(NaN, 0, 2);
    key!.data.fill(NaN, 4);
    value!.data.fill(NaN, 4);
    assertEquals(referenceAttentionGradients(query!, key!, value!, gradient!, clean), expected);
    assertEquals([...expected.dQuery.data.subarray(0, 2)], [0, 0]);
    assertEquals([...expected.dKey.data.subarray(4)], [0, 0]);
    assertEquals([...expected.dValue.data.subarray(4)], [0, 0]);
  });

  it("gives no gradient of a boolean bias", () => {
    const [query, key, value, gradient] = [1, 2, 3, 4].map((n) => randomTensor([1, 2, 1, 2], n));
    const bias = { shape: [2], data: [1, 0], boolean: true };
    const { dBias } = referenceAttentionGradients(query!, key!, value!, gradient!, { bias });
    assertEquals(dBias, undefined);
  });

  it("throws on gradients of other shapes than what they are of", () => {
    const t = randomTensor([1, 2, 1, 2], 1);
    assertThrows(
      () => referenceAttentionGradients(t, t, t, randomTensor([1, 2, 2], 1)),
      RangeError,
      "gradient has shape [1, 2, 2], expected [1, 2, 1, 2]",
    );
    assertThrows(
      () => referenceAttentionGradients(t, t, t, t, { lseGradient: randomTensor([1, 2], 1) }),
      RangeError,
      "lseGradient has shape [1, 2], expected [1, 1, 2]",
    );
  });
});
