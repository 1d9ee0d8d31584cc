/** Every mask through every op: against the reference, and with NaN wherever a mask hides keys. */
import {
  AttentionBias,
  type AttentionForwardOp,
  BlockDiagonalCausalWithOffsetGappyKeysMask,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  BlockDiagonalMask,
  memoryEfficientAttention,
  memoryEfficientAttentionForwardRequiresGrad,
} from "@denoformers/attention";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import * as masks from "../../attention/masks/mod.ts";
import { sharedDevice } from "../_device.ts";
import { forwardOpsOn } from "./_ops.ts";
import { assertMatchesReference, type Case, randomValues } from "./_compare.ts";
import { MASK_CASES, MASK_FAMILIES, type MaskCase, SHORT_BLOCKS } from "./_mask_cases.ts";

const device = await sharedDevice();
const H = 2;
const K = 8;

function caseOf({ mask, B, Mq, Mkv }: MaskCase, rest: Partial<Case>): Case {
  const [query, key] = [[B, Mq, H, K], [B, Mkv, H, K]];
  return { query, key, value: key, mask, padded: false, ...rest };
}

it("_mask_cases.ts has every mask class but the abstract ones", () => {
  const concrete = Object.entries(masks).flatMap(([name, value]) => {
    const isMask = typeof value === "function" && value.prototype instanceof AttentionBias;
    return isMask ? [name] : [];
  });
  const elsewhere = ["PagedMask", "MaskWithTensorBias", "LowerTriangularMaskWithTensorBias"];
  assertEquals(concrete.filter((name) => !elsewhere.includes(name)), [...MASK_CASES.keys()].sort());
});

for (const op of forwardOpsOn(device)) {
  describe(`${op.name} masks`, () => {
    for (const [name, cases] of MASK_CASES) {
      it(`computes what ${name} allows`, async () => {
        for (const maskCase of cases) {
          await assertMatchesReference(device, caseOf(maskCase, { op }));
        }
      });
    }

    it("adds a tensor bias and ALiBi to each", async () => {
      for (const maskCase of [...MASK_CASES.values()].map((cases) => cases[0]!)) {
        const bias = [maskCase.B, H, maskCase.Mq, maskCase.Mkv];
        await assertMatchesReference(device, caseOf(maskCase, { op, bias, alibi: [0.5, 0.03] }));
      }
    });

    it("takes a bool tensor with it", async () => {
      for (const maskCase of [...MASK_FAMILIES, ...SHORT_BLOCKS]) {
        const bias = [maskCase.Mq, maskCase.Mkv];
        await assertMatchesReference(device, caseOf(maskCase, { op, bias, boolean: true }));
      }
    });

    it("takes ranks 3 and 5", async () => {
      for (const maskCase of [...MASK_FAMILIES, ...SHORT_BLOCKS]) {
        const { B, Mq, Mkv } = maskCase;
        for (const heads of [[], [2, 3]]) {
          const [query, key] = [[B, Mq, ...heads, K], [B, Mkv, ...heads, K]];
          await assertMatchesReference(device, caseOf(maskCase, { op, query, key, value: key }));
        }
      }
    });

    it("never looks at keys and values that no query sees", async () => {
      for (const maskCase of [...MASK_CASES.values()].flat()) {
        const { mask, Mq, Mkv } = maskCase;
        const seen = rowsThatSee(mask, Mq, Mkv).map((rows) => rows.length > 0);
        const clean = await run(op, maskCase, []);
        const hidden = seen.flatMap((isSeen, key) => isSeen ? [] : [key]);
        assertEquals(await run(op, maskCase, hidden), clean, mask.constructor.name);
        assert(![...clean.out, ...clean.lse].some((x) => Number.isNaN(x)));
      }
    });

    it("shows NaN in a key to the queries that see it and to no other", async () => {
      for (const maskCase of [...MASK_FAMILIES, ...SHORT_BLOCKS]) {
        const { mask, Mq, Mkv, B } = maskCase;
        const viewers = rowsThatSee(mask, Mq, Mkv);
        const key = viewers.findIndex((rows) => rows.length > 0 && rows.length < Mq);
        const clean = await run(op, maskCase, []);
        const dirty = await run(op, maskCase, [key]);
        for (let at = 0; at < clean.out.length; at++) {
          const row = Math.floor(at / H / K) % Mq;
          const expected = viewers[key]!.includes(row) ? NaN : clean.out[at];
          assertEquals(dirty.out[at], expected, `${mask.constructor.name}, row ${row} of B = ${B}`);
        }
      }
    });

    it("passes upstream's traps", async () => {
      // Blocks without keys between blocks with many.
      const trap = BlockDiagonalMask.fromSeqlens([3, 5, 3, 2], [0, 1028, 0, 1028]);
      await assertMatchesReference(
        device,
        caseOf({ mask: trap, B: 1, Mq: 13, Mkv: 2056 }, { op }),
      );
      const lengths = [5, 8, 7, 1, 9, 3, 12, 32];
      for (const first of [4, 1]) {
        const queries = lengths.map((_, b) => b === 0 ? first : 1);
        const mask = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens(queries, 32, lengths);
        const [Mq, Mkv] = [first + 7, 32 * 8];
        const [query, key] = [[1, Mq, 3, K], [1, Mkv, 3, K]];
        const maskCase = { mask, B: 1, Mq, Mkv };
        await assertMatchesReference(device, caseOf(maskCase, { op, query, key, value: key }));
      }
      // Upstream's test of this class makes another one.
      const gappy = BlockDiagonalCausalWithOffsetGappyKeysMask.fromSeqlens(
        [5, 9, 2],
        [0, 3, 40, 90],
        [30, 35, 50],
      );
      await assertMatchesReference(device, caseOf({ mask: gappy, B: 1, Mq: 16, Mkv: 90 }, { op }));
    });
  });
}

/** For each key the rows that see it. */
function rowsThatSee(mask: AttentionBias, Mq: number, Mkv: number): number[][] {
  const matrix = mask.materialize([Mq, Mkv]);
  const rows = Array.from({ length: Mq }, (_, i) => i);
  return Array.from(
    { length: Mkv },
    (_, j) => rows.filter((i) => matrix[i * Mkv + j] === 0),
  );
}

/** Output and log-sum-exp with NaN in some keys and their values. */
async function run(op: AttentionForwardOp, { mask, B, Mq, Mkv }: MaskCase, poisoned: number[]) {
  const hidden = new Set(poisoned);
  const spoil = (x: number, at: number) => hidden.has(Math.floor(at / H / K) % Mkv) ? NaN : x;
  using q = device.tensor(randomValues(B * Mq * H * K, 1), { shape: [B, Mq, H, K] });
  const keys = randomValues(B * Mkv * H * K, 2).map(spoil);
  const values = randomValues(B * Mkv * H * K, 3).map(spoil);
  using k = device.tensor(keys, { shape: [B, Mkv, H, K] });
  using v = device.tensor(values, { shape: [B, Mkv, H, K] });
  const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, k, v, { attnBias: mask, op });
  const result = { out: await out.data(), lse: await lse.data() };
  out.dispose();
  lse.dispose();
  return result;
}

describe("memoryEfficientAttention() errors", () => {
  for (const { mask, Mq, Mkv } of MASK_FAMILIES.slice(2)) {
    const { name } = mask.constructor;
    it(`say what a ${name} was made for, what it got, and what to do`, () => {
      const assertRefused = (B: number, queries: number, keys: number, remedy: string) => {
        using q = device.zeros([B, queries, H, K]);
        using k = device.zeros([B, keys, H, K]);
        const attempt = () => memoryEfficientAttention(q, k, k, { attnBias: mask });
        assertThrows(attempt, RangeError, remedy);
        assertThrows(attempt, RangeError, `with a ${name}: `);
        assertThrows(
          attempt,
          RangeError,
          `query [${B}, ${queries}, ${H}, ${K}], key [${B}, ${keys}`,
        );
      };
      assertRefused(
        2,
        Mq,
        Mkv,
        "expected B = 1 for packed sequences, put them one after the other",
      );
      assertRefused(1, Mq + 1, Mkv, `expected Mq = ${Mq}, the sum of qSeqlen`);
      // Pages may be more than are used, but not fewer.
      assertRefused(1, Mq, mask.pages ? 4 : Mkv + 1, "expected Mkv ");
    });
  }
});
