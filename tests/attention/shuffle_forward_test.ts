/** The kernel that hands keys round by the subgroup, against the reference: masks, terms, layouts, parts of keys. */
import { LowerTriangularMask, type Tensor, tidy } from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { attentionInputs } from "../../attention/inputs.ts";
import type { AttentionKernelConfig, Tiles } from "../../attention/kernels/_kernel.ts";
import {
  shuffleForwardBlockRows,
  shuffleForwardKernel,
  shuffleForwardTiles,
} from "../../attention/kernels/shuffle_forward.ts";
import { compiledIn } from "../../attention/ops/compiled.ts";
import { runAttention } from "../../attention/ops/launch.ts";
import { withResults } from "../../attention/ops/results.ts";
import { referenceAttention } from "../../attention/reference.ts";
import { nanPadded, sharedDevice } from "../_device.ts";
import {
  bmhk,
  type Case,
  describeCase,
  type Host,
  hostInputs,
  randomValues,
  referenceOptions,
  TIGHT,
} from "./_compare.ts";
import { MASK_FAMILIES } from "./_mask_cases.ts";

const device = await sharedDevice();
const { subgroupSize } = device.info;
const threads = Math.max(32, subgroupSize);

/** Four keys, each of which several lanes read; wherever there are subgroups, also where it is no good choice. */
const SHARED: Tiles = { lanes: subgroupSize / 4, rows: 2, threads, tile: 4 };
/** As many keys as lanes. */
const OWN: Tiles = { lanes: 1, rows: 2, threads, tile: subgroupSize };

/** Output and log-sum-exp of a case. */
async function attend(testCase: Case, tiles: Tiles, splits = 1): Promise<Record<string, Host>> {
  const { mask, boolean, alibi, p, dtype = "f32", padded = true } = testCase;
  const { q, k, v, bias } = hostInputs(testCase);
  const upload = ({ shape, data }: Host): Tensor =>
    padded ? nanPadded(device, data, shape, dtype) : device.tensor(data, { shape, dtype });
  const { out, lse } = tidy(() => {
    const tensor = bias &&
      (boolean ? device.tensor(bias.data, { shape: bias.shape, dtype: "bool" }) : upload(bias));
    const inputs = attentionInputs("test", upload(q), upload(k), upload(v), {
      attnBias: mask && tensor ? mask.addBias(tensor) : mask ?? tensor,
      alibiSlopes: alibi,
      p,
      seed: 7,
    });
    return withResults(inputs, true, (outputs) => {
      const work = {
        kernel: shuffleForwardKernel,
        config: { ...tiles, ...compiledIn(inputs) },
        blockRows: shuffleForwardBlockRows(tiles),
        rowHeads: 1,
        splits,
      };
      runAttention(inputs, work, outputs);
    }) as { out: Tensor; lse: Tensor };
  });
  const result = {
    out: { shape: q.shape.with(-1, v.shape.at(-1)!), data: await out.data() },
    lse: { shape: lse.shape, data: await lse.data() },
  };
  out.dispose();
  lse.dispose();
  return result;
}

async function assertMatches(testCase: Case, tiles = SHARED, splits = 1): Promise<void> {
  const { out, lse } = await attend(testCase, tiles, splits);
  const inputs = hostInputs(testCase);
  const { q, k, v } = inputs;
  const expected = referenceAttention(q, k, v, referenceOptions(testCase, inputs));
  const message = describeCase(testCase);
  const rounding = testCase.dtype === "f16" ? 2 ** -11 : 0; // Half of a last bit.
  assertAllClose(out!, expected.out, { atol: TIGHT.atol, rtol: TIGHT.rtol + rounding, message });
  // A sum of exponentials and its logarithm, both rounded to 24 bits several times.
  assertAllClose(lse!, expected.lse, { atol: 4e-6, rtol: 1e-5, message: `LSE of ${message}` });
}

/** Nine vec4s of q and k, five of v: lanes do not share them evenly, and read them in several turns, the last short. */
const [H, K, Kv] = [2, 36, 20];

describe("shuffleForwardKernel()", { ignore: subgroupSize < 4 }, () => {
  it("takes any number of queries and keys", async () => {
    const rows = shuffleForwardBlockRows(SHARED);
    for (const queries of [1, rows - 1, rows, rows + 1, 2 * rows + 3]) {
      await assertMatches(bmhk([2, queries, 37, H, K, Kv]));
    }
    for (const keys of [1, 3, 4, 5, 8, 9]) {
      await assertMatches(bmhk([1, 11, keys, H, K, Kv]));
      await assertMatches(bmhk([1, 11, keys, H, K, Kv], { mask: new LowerTriangularMask() }));
    }
  });

  it("computes what masks of each family allow", async () => {
    for (const { mask, B, Mq, Mkv } of MASK_FAMILIES) {
      await assertMatches(bmhk([B, Mq, Mkv, H, K, Kv], { mask }));
    }
  });

  it("adds biases and ALiBi to each, and drops", async () => {
    for (const { mask, B, Mq, Mkv } of MASK_FAMILIES) {
      const terms = { mask, bias: [B, H, Mq, Mkv], alibi: [0.5, 0.03], p: 0.3 };
      await assertMatches(bmhk([B, Mq, Mkv, H, K, Kv], terms));
    }
    await assertMatches(bmhk([1, 9, 21, H, K, Kv], { bias: [9, 21], boolean: true }));
  });

  it("takes halves, and rows that begin at multiples of 16 bytes", async () => {
    for (const dtype of ["f32", "f16"] as const) {
      await assertMatches(bmhk([1, 67, 45, H, 64, 64], { dtype, padded: false }));
    }
  });

  it("takes as many keys at a time as there are lanes", async () => {
    const rest = { mask: new LowerTriangularMask(), p: 0.3 };
    await assertMatches(bmhk([1, 70, 75, H, K, Kv], rest), OWN);
  });

  it("computes parts of the keys, which merge", async () => {
    await assertMatches(bmhk([1, 70, 75, H, K, Kv]), SHARED, 3);
    await assertMatches(
      bmhk([1, 70, 75, H, K, Kv], { mask: new LowerTriangularMask() }),
      SHARED,
      3,
    );
  });

  it("gives the same bits each time, and declares that it uses subgroups", async () => {
    const testCase = bmhk([1, 70, 75, H, K, Kv]);
    assertEquals(await attend(testCase, SHARED), await attend(testCase, SHARED));
    const config: AttentionKernelConfig = {
      ...OWN,
      headDim: K,
      valueDim: Kv,
      storage: "f32",
      output: "f32",
      aligned: { query: false, key: false, value: false },
      tileSource: "computed",
      bias: "none",
      alibi: false,
      dropout: false,
      lse: true,
    };
    assertEquals(shuffleForwardKernel(config).subgroups, true);
  });

  it("never lets hidden NaN through, and shows what is seen", async () => {
    const [M, seen] = [40, 21];
    const values = randomValues(M * K, 5);
    const poisoned = values.map((x, i) => i >= seen * K ? NaN : x);
    const run = async (data: Float32Array): Promise<Float32Array> => {
      const { out } = withCausal(values, data, M);
      const result = await out.data();
      out.dispose();
      return result;
    };
    const [expected, result] = [await run(values), await run(poisoned)];
    assertEquals(result.slice(0, seen * K), expected.slice(0, seen * K));
    assert(result.slice(seen * K).every(Number.isNaN), "seen NaN must show");
  });
});

/** One head of causal attention, keys and values being the same. */
function withCausal(query: Float32Array, key: Float32Array, M: number): { out: Tensor } {
  return tidy(() => {
    const [q, k] = [query, key].map((data) => device.tensor(data, { shape: [1, M, 1, K] }));
    const inputs = attentionInputs("test", q!, k!, k!, { attnBias: new LowerTriangularMask() });
    const { out } = withResults(inputs, false, (outputs) => {
      const config = { ...SHARED, ...compiledIn(inputs) };
      const blockRows = shuffleForwardBlockRows(SHARED);
      const kernel = shuffleForwardKernel;
      runAttention(inputs, { kernel, config, blockRows, rowHeads: 1, splits: 1 }, outputs);
    });
    return { out };
  });
}

describe("shuffleForwardTiles()", () => {
  it("gives each lane of a subgroup its share of a tile, and workgroups whole subgroups", () => {
    for (const size of [4, 8, 16]) {
      for (const dim of [0, 1, 33, 64]) {
        const { lanes, tile, threads, rows } = shuffleForwardTiles(dim, 64, size)!;
        assertEquals([lanes * tile, threads % size, tile % 4], [size, 0, 0]);
        assert(rows >= 1);
      }
    }
  });

  it("gives none where registers hold no row, or there are no such subgroups", () => {
    for (const size of [0, 2, 32, 64]) {
      assertEquals(shuffleForwardTiles(64, 64, size), undefined);
    }
    for (const size of [4, 8]) assertEquals(shuffleForwardTiles(64, 257, size), undefined);
    assertEquals(shuffleForwardTiles(65, 64, 16), undefined);
  });
});
