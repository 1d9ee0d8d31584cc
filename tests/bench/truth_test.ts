import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { referenceAttention } from "../../attention/reference.ts";
import { referenceAttentionGradients } from "../../attention/reference_gradients.ts";
import { allCases } from "./cases.ts";
import { headsFirst, readerOf } from "./contender.ts";
import { dQueryRow, keyGradientRows, outRow } from "./truth.ts";
import { errorOf } from "./verify.ts";

const [M, K] = [7, 4];

/** A head's worth of numbers that differ. */
function numbers(seed: number): Float32Array {
  return Float32Array.from({ length: M * K }, (_, n) => Math.sin(seed + 1.7 * n));
}

describe("rows in float64", () => {
  const head = {
    query: numbers(1),
    key: numbers(2),
    value: numbers(3),
    gradient: numbers(4),
    K,
  };
  const tensor = (data: Float32Array) => ({ shape: [1, M, K], data });
  const inputs = [tensor(head.query), tensor(head.key), tensor(head.value)] as const;
  const added = (j: number) => 0.3 * j;
  const terms = (row: number) => ({ begin: 0, end: row + 1, added });
  const options = {
    allowed: (_b: number, _h: number, i: number, j: number) => j <= i,
    added: (_b: number, _h: number, _i: number, j: number) => added(j),
  };
  const rows = Array.from({ length: M }, (_, row) => row);
  // Both are float64, and differ in the order of sums.
  const close = { atol: 1e-12, rtol: 1e-12 };

  it("outRow() gives the reference's output", () => {
    const { out } = referenceAttention(...inputs, options);
    const found = rows.flatMap((row) => [...outRow(head, row, terms(row))]);
    assertAllClose(found, [...out.data], close);
  });

  it("dQueryRow() and keyGradientRows() give the reference's gradients", () => {
    const expected = referenceAttentionGradients(...inputs, tensor(head.gradient), options);
    const dQuery = rows.flatMap((row) => [...dQueryRow(head, row, terms(row))]);
    assertAllClose(dQuery, [...expected.dQuery.data], close);
    const found = keyGradientRows(head, rows, terms);
    assertAllClose(found.flatMap(({ dKey }) => [...dKey]), [...expected.dKey.data], close);
    assertAllClose(found.flatMap(({ dValue }) => [...dValue]), [...expected.dValue.data], close);
  });
});

describe("errorOf()", () => {
  const what = { ...allCases()[0]!, B: 2, H: 2, Mq: 2, Mkv: 2, K: 1 };
  // Elements are their place, 100 b + 10 i + h.
  const data = Float32Array.of(0, 1, 10, 11, 100, 101, 110, 111);

  it("finds rows in results of either order", async () => {
    for (
      const reader of [
        readerOf(what, "BMHK", { out: data }),
        readerOf(what, "BHMK", { out: headsFirst(what, data) }),
      ]
    ) {
      assertEquals([...await reader("out", 1, 0)], [100, 110]);
      const known = { name: "out", b: 1, h: 0, row: 1 } as const;
      assertEquals(await errorOf([{ ...known, values: Float64Array.of(110) }], reader), 0);
      assertEquals(await errorOf([{ ...known, values: Float64Array.of(88) }], reader), 22 / 88);
    }
  });

  it("is NaN where a result is, which no tolerance allows", async () => {
    const reader = readerOf(what, "BMHK", { out: new Float32Array(8).fill(NaN) });
    const known = { name: "out", b: 0, h: 0, row: 0, values: Float64Array.of(1) } as const;
    assertEquals(await errorOf([known], reader), NaN);
  });
});
