/**
 * Weights are exact however far from zero the scores are. Scores are whole numbers here, `size` and a small one, so
 * that f32 has them without rounding in any order, and weights follow from the small ones alone.
 */
import {
  ALL_BACKWARD_OPS,
  type AttentionForwardOp,
  type AttentionForwardOptions,
  BlockDiagonalCausalWithOffsetPaddedKeysMask,
  type Device,
  LowerTriangularMask,
  memoryEfficientAttention,
  memoryEfficientAttentionBackward,
  memoryEfficientAttentionForwardRequiresGrad,
  memoryEfficientAttentionPartial,
  mergeAttentions,
  noGrad,
  PagedBlockDiagonalCausalWithOffsetPaddedKeysMask,
  requestDevice,
  SplitKForwardOp,
  type Tensor,
} from "@denoformers/attention";
import { assert, assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { lowWords } from "../../attention/ops/log_sum_exp.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import { sharedDevice } from "../_device.ts";
import { beyondCore, isCore } from "../_extent.ts";
import { forwardOpsOn } from "./_ops.ts";

const device: Device = await sharedDevice();

const [M, N, K] = [9, 600, 8];
/** Up to the whole numbers that f32 has; the last three are far beyond what one f32 log-sum-exp can tell apart. */
const SIZES = [0, 20_000, -244_000, 8_000_000, -8_000_000];
/** Sums of 600 weights, each off by some last places (1.2e-7), and the logarithm of their sum by 2^-21 at most. */
const CLOSE = 1.5e-6;

const small = (j: number) => (j * 7) % 4;
const valueOf = (j: number) => ((j * 13) % 17) / 17;

/** What is added to the scores of a kind of call, or -Infinity where a query may not attend. */
interface Kind {
  readonly options: () => AttentionForwardOptions;
  readonly added: (i: number, j: number) => number;
}

const KINDS: Readonly<Record<string, Kind>> = {
  "no mask": { options: () => ({}), added: () => 0 },
  "a causal mask": {
    options: () => ({ attnBias: new LowerTriangularMask() }),
    added: (i, j) => j <= i ? 0 : -Infinity,
  },
  "a tensor bias": {
    options: () => {
      const cells = Float32Array.from(
        { length: M * N },
        (_, at) => bias(Math.floor(at / N), at % N),
      );
      return { attnBias: device.tensor(cells, { shape: [1, 1, M, N] }) };
    },
    added: bias,
  },
  "ALiBi": {
    options: () => ({ alibiSlopes: device.full([1], 1) }),
    added: (i, j) => -Math.abs(i + N - M - j),
  },
};

function bias(i: number, j: number): number {
  return (i * j) % 5 === 4 ? -Infinity : (i + j) % 3;
}

/** Weights by the formula in f64, of the small parts of the scores. */
function weights(added: Kind["added"]): number[][] {
  return Array.from({ length: M }, (_, i) => {
    const exponentials = Array.from({ length: N }, (_, j) => Math.exp(small(j) + added(i, j)));
    const sum = exponentials.reduce((a, b) => a + b, 0);
    return exponentials.map((e) => e / sum);
  });
}

function inputs(size: number, on = device): [q: Tensor, k: Tensor, v: Tensor] {
  const [a, b] = [4000, size / 8000];
  const q = Float32Array.from({ length: M * K }, (_, at) => [b, b, 1][at % K] ?? 0);
  const k = Float32Array.from(
    { length: N * K },
    (_, at) => [a, a, small(Math.floor(at / K))][at % K] ?? 0,
  );
  const v = Float32Array.from({ length: N * K }, (_, at) => valueOf(Math.floor(at / K)));
  return [
    on.tensor(q, { shape: [1, M, 1, K] }),
    on.tensor(k, { shape: [1, N, 1, K] }),
    on.tensor(v, { shape: [1, N, 1, K] }),
  ];
}

/** The largest difference of the first column of rows of 8 from what is expected. */
async function difference(rows: Tensor, expected: readonly number[]): Promise<number> {
  const data = await rows.data();
  return Math.max(...expected.map((value, i) => Math.abs(data[i * K]! - value)));
}

const outOf = (all: number[][]) =>
  all.map((row) => row.reduce((sum, weight, j) => sum + weight * valueOf(j), 0));
const dValueOf = (all: number[][]) =>
  Array.from({ length: N }, (_, j) => all.reduce((sum, row) => sum + row[j]!, 0));

describe("attention of scores far from zero", () => {
  for (const [name, { options, added }] of Object.entries(KINDS)) {
    const expected = weights(added);
    for (const op of forwardOpsOn(device)) {
      it(`has right weights forward, ${op.name}, ${name}`, async () => {
        for (const size of SIZES) {
          const out = memoryEfficientAttention(...inputs(size), { ...options(), scale: 1, op });
          assertLess(await difference(out, outOf(expected)), CLOSE, `${size}`);
        }
      });
    }

    for (const backward of ALL_BACKWARD_OPS) {
      for (const needsQuery of [true, ...name === "no mask" ? [false] : beyondCore(false)]) {
        it(`has right weights backward, ${backward.name}, ${name}, query gradient ${needsQuery}`, async () => {
          for (const size of SIZES) {
            const [q, k, v] = inputs(size);
            q.requiresGrad = needsQuery;
            v.requiresGrad = true;
            const op = [undefined, backward] as unknown as [AttentionForwardOp, typeof backward];
            memoryEfficientAttention(q, k, v, { ...options(), scale: 1, op }).sum().backward();
            assertLess(await difference(v.grad!, dValueOf(expected)), M * CLOSE, `${size}`);
          }
        });
      }

      it(`has right weights by log-sum-exps handed over, ${backward.name}, ${name}`, async () => {
        for (const size of SIZES) {
          const [q, k, v] = inputs(size);
          const all = { ...options(), scale: 1 };
          const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, k, v, all);
          const given = [out, q, k, v] as const;
          const run = (lse: Tensor) =>
            memoryEfficientAttentionBackward(device.ones(out.shape), given[0], lse, q, k, v, {
              ...all,
              op: backward,
            }).dValue;
          assertLess(await difference(run(lse), dValueOf(expected)), M * CLOSE, `${size}`);
          // A copy is one f32 a row: off by half of its last place at most, as a factor of the weights.
          const bound = Math.exp(Math.abs(size) * 2 ** -24) - 1;
          const off = await difference(run(lse.clone()), dValueOf(expected));
          const largest = Math.max(...dValueOf(expected));
          assertLess(off, largest * bound + M * CLOSE, `${size}, a copy`);
        }
      });
    }
  }

  it("has weights that sum to 1 where scores are rounded, in every row", async () => {
    for (const size of [10, 1e3, 1e5, 1e7]) {
      const [q, k, v] = [1, 2, 3].map((seed) =>
        device.randn([1, 64, 4, isCore ? K : 40], { seed })
      );
      q!.requiresGrad = k!.requiresGrad = v!.requiresGrad = true;
      memoryEfficientAttention(q!, k!, v!, { scale: size / 20 }).sum().backward();
      const sums = await v!.grad!.sum({ axis: 1 }).data();
      // 64 rows; a whole sum is off by its last place, 3.8e-6.
      for (const sum of sums) assertLess(Math.abs(sum - 64) / 64, 1e-6, `${size}`);
    }
  });
});

describe("parts of the keys, with scores far from zero", () => {
  const expected = weights(KINDS["no mask"]!.added);
  const bounds = [[0, 100], [100, 350], [350, N]] as const;
  const partsOf = ([q, k, v]: readonly Tensor[]) =>
    bounds.map(([begin, end]) =>
      memoryEfficientAttentionPartial(q!, k!.slice(1, begin, end), v!.slice(1, begin, end), {
        scale: 1,
      })
    );

  it("merge to right weights, and right gradients", async () => {
    for (const size of SIZES) {
      const [q, k, v] = inputs(size);
      q.requiresGrad = v.requiresGrad = true;
      const parts = partsOf([q, k, v]);
      const { out, lse } = mergeAttentions(
        parts.map(({ out }) => out),
        parts.map(({ lse }) => lse),
      );
      assertLess(await difference(out, outOf(expected)), CLOSE, `${size}`);
      const log = Math.log(exponentials());
      const rounding = Math.abs(size) * 2 ** -24 + 2e-6;
      assertLess(Math.abs((await lse!.data())[0]! - size - log), rounding, `${size}`);
      out.sum().backward();
      assertLess(await difference(v.grad!, dValueOf(expected)), M * CLOSE, `${size}`);
    }
  });

  it("merge step by step, and as views", async () => {
    for (const size of SIZES) {
      const [first, ...rest] = noGrad(() => partsOf(inputs(size)));
      let whole = { out: first!.out, lse: first!.lse };
      for (const { out, lse } of rest) {
        const rows = (tensor: Tensor, axis: number) => tensor.slice(axis, 0, M);
        const merged = mergeAttentions([whole.out, rows(out, 1)], [whole.lse, rows(lse, -1)]);
        whole = { out: merged.out, lse: merged.lse! };
      }
      assertLess(await difference(whole.out, outOf(expected)), CLOSE, `${size}`);
    }
  });

  it("merge copies of log-sum-exps within their last place", async () => {
    for (const size of SIZES) {
      const parts = noGrad(() => partsOf(inputs(size)));
      const { out } = mergeAttentions(
        parts.map(({ out }) => out),
        parts.map(({ lse }) => lse.clone()),
      );
      const bound = Math.exp(Math.abs(size) * 2 ** -23) - 1;
      assertLess(await difference(out, outOf(expected)), bound + CLOSE, `${size}`);
    }
  });

  it("have no second words once a log-sum-exp was changed in place", () => {
    const { lse } = noGrad(() => partsOf(inputs(8_000_000)))[0]!;
    const array = arrayOf(lse);
    assertEquals(lowWords(array)?.layout.offset, array.layout.offset + 1);
    array.storage.version++;
    assertEquals(lowWords(array), undefined);
  });

  it("are merged where a kernel does not see all keys at once", async () => {
    using small = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: 16_384 }, // Keys take 19,200 bytes.
    });
    for (const size of SIZES) {
      const out = memoryEfficientAttention(...inputs(size, small), { scale: 1 });
      assertLess(await difference(out, outOf(expected)), CLOSE, `${size}`);
    }
    const { kernels } = await small.profile(() =>
      memoryEfficientAttention(...inputs(0, small), { scale: 1 })
    );
    assert(kernels.some(({ kernel }) => kernel === "merge_attentions"));
  });

  it("are merged by the op that cuts keys, padded and paged", async () => {
    const all = KINDS["no mask"]!.added;
    for (const size of SIZES) {
      const [q, k, v] = inputs(size);
      const padded = BlockDiagonalCausalWithOffsetPaddedKeysMask.fromSeqlens([1], N, [N]);
      const pages = [[4, 2, 0, 1, 3]];
      const type = PagedBlockDiagonalCausalWithOffsetPaddedKeysMask;
      const masks = [padded, padded.makePaged(pages, 120, type)];
      for (const attnBias of masks) {
        const row = q.slice(1, 0, 1);
        const out = memoryEfficientAttention(row, k, v, {
          attnBias,
          scale: 1,
          op: SplitKForwardOp,
        });
        const [first] = outOf(weights(all));
        assertLess(await difference(out, [first!]), CLOSE, `${size}`);
      }
    }
  });

  function exponentials(): number {
    return Array.from({ length: N }, (_, j) => Math.exp(small(j))).reduce((a, b) => a + b, 0);
  }
});

describe("visible scores near the lowest numbers", () => {
  const lowest = -3.4028234663852886e38;

  it("count as any others where parts are merged", async () => {
    for (const score of [-3.39e38, -3.402e38, lowest]) {
      const outs = [7, 9].map((value) => device.full([1, 1, 1, 1], value));
      const lses = [score, score].map((value) => device.full([1, 1, 1], value));
      assertEquals(await mergeAttentions(outs, lses).out.item(), 8, `${score}`);
    }
  });

  for (const op of forwardOpsOn(device)) {
    it(`are not taken for hidden ones by ${op.name}`, async () => {
      const v = device.tensor([7, 9], { shape: [1, 2, 1, 1] });
      const attend = (score: number, options: AttentionForwardOptions) =>
        memoryEfficientAttentionForwardRequiresGrad(
          device.ones([1, 2, 1, 1]),
          device.full([1, 2, 1, 1], score),
          v,
          { ...options, scale: 1, op },
        );
      const causal = new LowerTriangularMask();
      for (const score of [-1.6e38, -2.31e38, -3e38, -3.4e38]) {
        const calls = [
          { options: { attnBias: causal }, expected: [7, 8] },
          { options: { attnBias: causal, alibiSlopes: [0] }, expected: [7, 8] },
          { options: { attnBias: device.zeros([1, 1, 2, 2]) }, expected: [8, 8] },
        ];
        for (const { options, expected } of calls) {
          const { out, lse } = attend(score, options as AttentionForwardOptions);
          assertEquals([...await out.data()], expected, `${score}`);
          assert((await lse.data()).every(Number.isFinite), `${score}`);
        }
      }
      // PyTorch's masks hold the lowest number: keys that are all so low share the weight.
      const masked = attend(-1, { attnBias: device.full([1, 1, 2, 2], lowest) });
      assertEquals([...await masked.out.data()], [8, 8]);
      const onlyOne = device.tensor([0, lowest, lowest, -Infinity], { shape: [1, 1, 2, 2] });
      assertEquals([...await attend(-1, { attnBias: onlyOne }).out.data()], [7, 7]);
    });
  }
});
