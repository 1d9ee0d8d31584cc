import {
  referenceAttention,
  type ReferenceBias,
  type ReferenceTensor,
} from "../../attention/reference.ts";
import { assertAllClose } from "@denoformers/attention/testing";
import { assert, assertAlmostEquals, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

interface GoldenCase {
  name: string;
  query: ReferenceTensor;
  key: ReferenceTensor;
  value: ReferenceTensor;
  causal: boolean;
  scale?: number;
  bias?: ReferenceBias;
  out: ReferenceTensor;
  lse: ReferenceTensor;
}

const GOLDEN: GoldenCase[] = JSON.parse(
  Deno.readTextFileSync(new URL("../fixtures/attention_golden.json", import.meta.url)),
);

const EXACT = { atol: 1e-12, rtol: 1e-12 };

/** Numbers in [-1, 1) from a linear congruential generator. */
function randomTensor(shape: number[], seed: number): { shape: number[]; data: Float64Array } {
  let state = Math.imul(seed, 0x9e3779b1) >>> 0;
  const data = new Float64Array(shape.reduce((a, b) => a * b, 1)).map(() => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
  return { shape, data };
}

/** Repeats each head of `[B, M, H, K]`. */
function repeatHeads(tensor: ReferenceTensor, times: number): ReferenceTensor {
  const [B, M, H, K] = tensor.shape as [number, number, number, number];
  const data: number[] = [];
  for (let row = 0; row < B * M * H; row++) {
    for (let t = 0; t < times; t++) {
      for (let k = 0; k < K; k++) data.push(tensor.data[row * K + k]!);
    }
  }
  return { shape: [B, M, H * times, K], data };
}

describe("referenceAttention()", () => {
  for (const { name, query, key, value, causal, scale, bias, out, lse } of GOLDEN) {
    it(`agrees with PyTorch: ${name}`, () => {
      const result = referenceAttention(query, key, value, {
        ...(scale === undefined ? {} : { scale }),
        ...(bias === undefined ? {} : { bias }),
        ...(causal ? { allowed: (_b, _h, i, j) => j <= i } : {}),
      });
      assertAllClose(result.out, out, EXACT);
      assertAllClose(result.lse, lse, EXACT);
    });
  }

  it("computes a case done by hand", () => {
    // Scores ln 1 and ln 3 weigh the values 1/4 and 3/4.
    const { out, lse } = referenceAttention(
      { shape: [1, 1, 1, 1], data: [1] },
      { shape: [1, 2, 1, 1], data: [0, Math.log(3)] },
      { shape: [1, 2, 1, 2], data: [4, 8, 12, 16] },
    );
    assertEquals(out.shape, [1, 1, 1, 2]);
    assertEquals(lse.shape, [1, 1, 1]);
    assertAllClose(out.data, [10, 14], EXACT);
    assertAllClose(lse.data, [Math.log(4)], EXACT);
  });

  it("scales by K ** -0.5 before the bias", () => {
    const query = { shape: [1, 1, 4], data: [1, 1, 1, 1] };
    const key = { shape: [1, 2, 4], data: [1, 1, 1, 1, 0, 0, 0, 0] };
    const value = { shape: [1, 2, 1], data: [1, 0] };
    const bias = { shape: [2], data: [0, 2] };
    const { out } = referenceAttention(query, key, value, { bias });
    assertAllClose(out, { shape: [1, 1, 1], data: [0.5] }, EXACT);
  });

  it("gives the mean of the values for a scale of 0", () => {
    const { out, lse } = referenceAttention(
      randomTensor([1, 3, 1, 4], 1),
      randomTensor([1, 4, 1, 4], 2),
      { shape: [1, 4, 1, 1], data: [1, 2, 3, 6] },
      { scale: 0 },
    );
    assertAllClose(out.data, [3, 3, 3], EXACT);
    assertAllClose(lse.data, new Array(3).fill(Math.log(4)), EXACT);
  });

  it("gives out 0 and lse -Infinity for a query without a key", () => {
    const query = randomTensor([1, 2, 1, 3], 1);
    const key = randomTensor([1, 2, 1, 3], 2);
    const value = randomTensor([1, 2, 1, 3], 3);
    const none = [
      { bias: { shape: [2, 1], data: [-Infinity, 0] } },
      { bias: { shape: [2, 1], data: [0, 1], boolean: true } },
      { allowed: (_b: number, _h: number, i: number): boolean => i === 1 },
    ];
    const whole = referenceAttention(query, key, value);
    for (const options of none) {
      const { out, lse } = referenceAttention(query, key, value, options);
      assertEquals([...out.data.subarray(0, 3)], [0, 0, 0]);
      assertEquals(lse.data[0], -Infinity);
      assertEquals([...out.data.subarray(3)], [...whole.out.data.subarray(3)]);
      assertEquals(lse.data[1], whole.lse.data[1]);
    }
  });

  it("does not read keys and values that are not allowed", () => {
    const query = randomTensor([1, 3, 2, 4], 1);
    const key = randomTensor([1, 4, 2, 4], 2);
    const value = randomTensor([1, 4, 2, 4], 3);
    const masks = [
      { bias: { shape: [1, 1, 1, 4], data: [0, 0, -Infinity, 0] } },
      { bias: { shape: [4], data: [1, 1, 0, 1], boolean: true } },
      { allowed: (_b: number, _h: number, _i: number, j: number): boolean => j !== 2 },
    ];
    for (const options of masks) {
      const expected = referenceAttention(query, key, value, options);
      const spoilt = {
        key: { ...key, data: key.data.map((x, n) => Math.floor(n / 8) === 2 ? NaN : x) },
        value: { ...value, data: value.data.map((x, n) => Math.floor(n / 8) === 2 ? NaN : x) },
      };
      const { out, lse } = referenceAttention(query, spoilt.key, spoilt.value, options);
      assertEquals(out, expected.out);
      assertEquals(lse, expected.lse);
    }
  });

  it("lets NaN in an allowed key through", () => {
    const key = { shape: [1, 2, 1], data: [1, NaN] };
    const value = { shape: [1, 2, 1], data: [1, 2] };
    const { out } = referenceAttention({ shape: [1, 1, 1], data: [1] }, key, value);
    assert(Number.isNaN(out.data[0]));
  });

  it("broadcasts a bias as if it were repeated", () => {
    const [B, Mq, Mkv, H] = [2, 3, 4, 2];
    const query = randomTensor([B, Mq, H, 5], 1);
    const key = randomTensor([B, Mkv, H, 5], 2);
    const value = randomTensor([B, Mkv, H, 5], 3);
    for (const shape of [[Mkv], [Mq, 1], [H, 1, 1], [B, 1, 1, Mkv], [1, H, Mq, Mkv], []]) {
      const bias = randomTensor(shape, 4);
      const sizes = [...new Array<number>(4 - shape.length).fill(1), ...shape];
      const data: number[] = [];
      for (let b = 0; b < B; b++) {
        for (let h = 0; h < H; h++) {
          for (let i = 0; i < Mq; i++) {
            for (let j = 0; j < Mkv; j++) {
              const place = [b, h, i, j].reduce(
                (at, n, axis) => at * sizes[axis]! + Math.min(n, sizes[axis]! - 1),
                0,
              );
              data.push(bias.data[place]!);
            }
          }
        }
      }
      assertEquals(
        referenceAttention(query, key, value, { bias }),
        referenceAttention(query, key, value, { bias: { shape: [B, H, Mq, Mkv], data } }),
      );
    }
  });

  it("gives grouped queries the result of repeated key heads", () => {
    const query = randomTensor([2, 3, 6, 4], 1);
    const key = randomTensor([2, 5, 2, 4], 2);
    const value = randomTensor([2, 5, 2, 4], 3);
    assertEquals(
      referenceAttention(query, key, value),
      referenceAttention(query, repeatHeads(key, 3), repeatHeads(value, 3)),
    );
  });

  it("does not change when all scores shift", () => {
    const query = randomTensor([1, 3, 2, 4], 1);
    const key = randomTensor([1, 5, 2, 4], 2);
    const value = randomTensor([1, 5, 2, 4], 3);
    const plain = referenceAttention(query, key, value);
    const shifted = referenceAttention(query, key, value, { bias: { shape: [1], data: [100] } });
    assertAllClose(shifted.out, plain.out, EXACT);
    assertAllClose(shifted.lse.data, plain.lse.data.map((x) => x + 100), EXACT);
  });

  it("stays finite for scores of 1e4", () => {
    const { out, lse } = referenceAttention(
      { shape: [1, 2, 1], data: [1, -1] },
      { shape: [1, 3, 1], data: [1e4, 1e4, -1e4] },
      { shape: [1, 3, 1], data: [1, 3, 7] },
      { scale: 1 },
    );
    assertAllClose(out.data, [2, 7], EXACT);
    assertAlmostEquals(lse.data[0]!, 1e4 + Math.log(2), 1e-9);
    assertAlmostEquals(lse.data[1]!, 1e4, 1e-9);
  });

  it("takes 3-D inputs as one head", () => {
    const query = randomTensor([2, 3, 4], 1);
    const key = randomTensor([2, 5, 4], 2);
    const value = randomTensor([2, 5, 6], 3);
    const bias = randomTensor([2, 3, 5], 4);
    const flat = referenceAttention(query, key, value, { bias });
    const headed = referenceAttention(
      { ...query, shape: [2, 3, 1, 4] },
      { ...key, shape: [2, 5, 1, 4] },
      { ...value, shape: [2, 5, 1, 6] },
      { bias: { ...bias, shape: [2, 1, 3, 5] } },
    );
    assertEquals(flat.out.shape, [2, 3, 6]);
    assertEquals(flat.lse.shape, [2, 1, 3]);
    assertEquals(flat.out.data, headed.out.data);
    assertEquals(flat.lse.data, headed.lse.data);
  });

  it("takes 5-D inputs as groups of heads", () => {
    const query = randomTensor([2, 3, 2, 3, 4], 1);
    const key = randomTensor([2, 5, 2, 3, 4], 2);
    const value = randomTensor([2, 5, 2, 3, 6], 3);
    const bias = randomTensor([2, 2, 3, 3, 5], 4);
    const allowed = (_b: number, h: number, _i: number, j: number): boolean => j !== h % 5;
    const grouped = referenceAttention(query, key, value, { bias, allowed });
    const merged = referenceAttention(
      { ...query, shape: [2, 3, 6, 4] },
      { ...key, shape: [2, 5, 6, 4] },
      { ...value, shape: [2, 5, 6, 6] },
      { bias: { ...bias, shape: [2, 6, 3, 5] }, allowed },
    );
    assertEquals(grouped.out.shape, [2, 3, 2, 3, 6]);
    assertEquals(grouped.lse.shape, [2, 2, 3, 3]);
    assertEquals(grouped.out.data, merged.out.data);
    assertEquals(grouped.lse.data, merged.lse.data);
  });

  it("takes axes of size 0", () => {
    const run = (B: number, Mq: number, Mkv: number, H: number, K: number, Kv: number) =>
      referenceAttention(
        randomTensor([B, Mq, H, K], 1),
        randomTensor([B, Mkv, H, K], 2),
        randomTensor([B, Mkv, H, Kv], 3),
      );
    assertEquals(run(0, 2, 3, 1, 4, 5).out.shape, [0, 2, 1, 5]);
    assertEquals(run(1, 0, 3, 2, 4, 5).lse.shape, [1, 2, 0]);
    assertEquals(run(1, 2, 3, 0, 4, 5).lse.shape, [1, 0, 2]);
    assertEquals(run(1, 2, 3, 1, 4, 0).out.shape, [1, 2, 1, 0]);
    const noKeys = run(1, 2, 0, 1, 4, 1);
    assertEquals([...noKeys.out.data], [0, 0]);
    assertEquals([...noKeys.lse.data], [-Infinity, -Infinity]);
    const emptyHeads = run(1, 1, 3, 1, 0, 1);
    assertAlmostEquals(emptyHeads.lse.data[0]!, Math.log(3), 1e-12);
  });

  it("throws on inputs that do not go together", () => {
    const t = (...shape: number[]): ReferenceTensor => randomTensor(shape, 1);
    assertThrows(
      () => referenceAttention(t(1, 2, 3, 4), t(1, 2, 4), t(1, 2, 4)),
      TypeError,
      "expected three tensors of rank 3, 4 or 5",
    );
    assertThrows(() => referenceAttention(t(2, 4), t(2, 4), t(2, 4)), TypeError, "rank 3, 4 or 5");
    assertThrows(
      () => referenceAttention(t(1, 2, 4), t(1, 2, 5), t(1, 2, 4)),
      RangeError,
      "sizes disagree: query [1, 2, 4], key [1, 2, 5], value [1, 2, 4]",
    );
    assertThrows(
      () => referenceAttention(t(1, 2, 4), t(1, 2, 4), t(1, 3, 4)),
      RangeError,
      "sizes disagree",
    );
    assertThrows(
      () => referenceAttention(t(1, 2, 6, 4), t(1, 2, 4, 4), t(1, 2, 4, 4)),
      RangeError,
      "4 key heads do not divide 6 query heads",
    );
    assertThrows(
      () => referenceAttention(t(1, 2, 4), t(1, 3, 4), t(1, 3, 4), { bias: t(1, 3, 3) }),
      RangeError,
      "bias [1, 3, 3] does not broadcast to [1, 2, 3]",
    );
    assertThrows(
      () => referenceAttention({ shape: [1, 2, 4], data: [1] }, t(1, 2, 4), t(1, 2, 4)),
      RangeError,
      "query [1, 2, 4] has 1 elements, expected 8",
    );
  });
});
