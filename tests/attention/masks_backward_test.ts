/** Gradients under every mask: against the reference, and with NaN wherever nobody may look. */
import {
  ALL_BACKWARD_OPS,
  type AttentionBackwardOp,
  BlockDiagonalMask,
  BlockDiagonalPaddedKeysMask,
  type Device,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  memoryEfficientAttention,
  tidy,
} from "@denoformers/attention";
import { assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";
import { type Case, randomValues } from "./_compare.ts";
import { assertGradientsMatchReference } from "./_compare_gradients.ts";
import { MASK_CASES, MASK_FAMILIES, type MaskCase } from "./_mask_cases.ts";

const device: Device = await sharedDevice();
const [H, K] = [2, 4];

/** A case of a mask, with so many heads of keys. */
function maskCase({ mask, B, Mq, Mkv }: MaskCase, keyHeads = H): Case {
  return { query: [B, Mq, H, K], key: [B, Mkv, keyHeads, K], value: [B, Mkv, keyHeads, K], mask };
}

describe("FlashBackwardOp agrees with the reference", () => {
  for (const [name, cases] of MASK_CASES) {
    it(`under ${name}`, async () => {
      for (const testCase of cases) {
        await assertGradientsMatchReference(device, maskCase(testCase));
      }
    });
  }

  it("under every family of masks where heads share keys", async () => {
    for (const testCase of MASK_FAMILIES) {
      await assertGradientsMatchReference(device, maskCase(testCase, 1));
    }
  });
});

/** What to put NaN into: rows of query and incoming gradient, rows of key and value. */
interface Poison extends MaskCase {
  readonly queries: readonly number[];
  readonly keys: readonly number[];
}

/** Gradients as arrays of rows. */
async function gradientRows(
  op: AttentionBackwardOp,
  { mask, B, Mq, Mkv, queries, keys }: Poison,
  parts: { readonly queries: boolean; readonly gradients: boolean; readonly keys: boolean },
): Promise<{ query: number[][]; key: number[][]; value: number[][] }> {
  const rowSize = H * K;
  const upload = (M: number, seed: number, rows: readonly number[]) => {
    const data = randomValues(B * M * rowSize, seed);
    for (let row = 0; row < B * M; row++) {
      if (rows.includes(row % M)) data.fill(NaN, row * rowSize, (row + 1) * rowSize);
    }
    return device.tensor(data, { shape: [B, M, H, K] });
  };
  const leaves = tidy(() => {
    const query = upload(Mq, 1, parts.queries ? queries : []);
    const key = upload(Mkv, 2, parts.keys ? keys : []);
    const value = upload(Mkv, 3, parts.keys ? keys : []);
    for (const leaf of [query, key, value]) leaf.requiresGrad = true;
    const out = memoryEfficientAttention(query, key, value, {
      attnBias: mask,
      op: [undefined, op],
    });
    out.backward(upload(Mq, 4, parts.gradients ? queries : []));
    return { query, key, value };
  });
  const rows = async (name: keyof typeof leaves) => {
    const data = await leaves[name].grad!.data();
    leaves[name].dispose();
    return Array.from(
      { length: data.length / rowSize },
      (_, row) => [...data.subarray(row * rowSize, (row + 1) * rowSize)],
    );
  };
  return { query: await rows("query"), key: await rows("key"), value: await rows("value") };
}

for (const op of ALL_BACKWARD_OPS) {
  describe(`${op.name} keeps NaN`, () => {
    // Keys that nobody sees, within tiles and at their ends; queries that see nothing.
    const unseen: Record<string, Poison> = {
      "before and behind padded keys": {
        mask: BlockDiagonalPaddedKeysMask.fromSeqlens([3, 34, 0], 40, [5, 37, 2]),
        B: 1,
        Mq: 37,
        Mkv: 120,
        queries: [],
        keys: Array.from({ length: 120 }, (_, j) => j).filter((j) =>
          j % 40 >= [5, 37, 0][j / 40 | 0]!
        ),
      },
      "of queries above a bottom-right diagonal": {
        mask: new LowerTriangularFromBottomRightMask(),
        B: 2,
        Mq: 40,
        Mkv: 35,
        queries: [0, 1, 2, 3, 4],
        keys: [],
      },
      "of keys behind the last query": {
        mask: new LowerTriangularMask(),
        B: 2,
        Mq: 35,
        Mkv: 70,
        queries: [],
        keys: Array.from({ length: 35 }, (_, j) => 35 + j),
      },
    };
    for (const [name, poison] of Object.entries(unseen)) {
      it(`${name} out of all gradients, which are 0 there`, async () => {
        const clean = await gradientRows(op, poison, {
          queries: false,
          gradients: false,
          keys: false,
        });
        const found = await gradientRows(op, poison, {
          queries: true,
          gradients: true,
          keys: true,
        });
        assertEquals(found, clean);
        const { B, Mq, Mkv, queries, keys } = poison;
        const zeros = new Array(H * K).fill(0);
        for (let b = 0; b < B; b++) {
          for (const i of queries) assertEquals(found.query[b * Mq + i], zeros);
          for (const j of keys) {
            assertEquals(found.key[b * Mkv + j], zeros);
            assertEquals(found.value[b * Mkv + j], zeros);
          }
        }
      });
    }

    // Query 20 and what it gets is NaN: so are the gradients of the keys that it sees, and of no others.
    const seen: Record<string, Poison & { readonly sees: (j: number) => boolean }> = {
      "to the keys that its query sees": {
        mask: new LowerTriangularMask(),
        B: 1,
        Mq: 45,
        Mkv: 45,
        queries: [20],
        keys: [],
        sees: (j) => j <= 20,
      },
      "within its block": {
        mask: BlockDiagonalMask.fromSeqlens([18, 5, 22], [19, 4, 22]),
        B: 1,
        Mq: 45,
        Mkv: 45,
        queries: [20],
        keys: [],
        sees: (j) => 19 <= j && j < 23,
      },
    };
    for (const [name, poison] of Object.entries(seen)) {
      for (const which of ["queries", "gradients"] as const) {
        it(`of ${which} ${name}`, async () => {
          const parts = { queries: false, gradients: false, keys: false };
          const clean = await gradientRows(op, poison, parts);
          const found = await gradientRows(op, poison, { ...parts, [which]: true });
          for (const name of ["key", "value"] as const) {
            for (const [j, row] of found[name].entries()) {
              if (!poison.sees(j)) assertEquals(row, clean[name][j], `${name} ${j}`);
              else if (which === "gradients" || name === "key") {
                assertEquals(row, new Array(H * K).fill(NaN), `${name} ${j}`);
              }
            }
          }
          for (const [i, row] of found.query.entries()) {
            if (i !== 20) assertEquals(row, clean.query[i], `query ${i}`);
          }
        });
      }
    }
  });
}
