/** The public functions: what they promise about memory, and what they say of wrong arguments. */
import {
  type AttentionBias,
  FlashForwardOp,
  LowerTriangularMask,
  MathForwardOp,
  memoryEfficientAttention,
  memoryEfficientAttentionForward,
  memoryEfficientAttentionForwardRequiresGrad,
  requestDevice,
  ShuffleForwardOp,
  type Tensor,
} from "@denoformers/attention";
import { assertEquals, assertLess, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../_device.ts";

const device = await sharedDevice();
const MIB = 2 ** 20;

/** Runs a function and gives the most memory it took beyond what was in use, in bytes. */
function peakOf(run: () => void): number {
  const before = device.memory().allocatedBytes;
  device.resetPeakMemory();
  run();
  return device.memory().peakBytes - before;
}

describe("memoryEfficientAttention() memory", () => {
  it("stays below inputs + output + 1 MiB at N = 4096, B1 H8 K64", async () => {
    const shape = [1, 4096, 8, 64];
    const bytes = 4096 * 8 * 64 * 4;
    const peak = peakOf(() => {
      using q = device.randn(shape, { seed: 1 });
      using k = device.randn(shape, { seed: 2 });
      using v = device.randn(shape, { seed: 3 });
      using _out = memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask() });
    });
    await device.sync(); // On a CPU driver it takes seconds; the next test is to start from an idle device.
    assertLess(peak, 4 * bytes + MIB);
  });

  it("grows with N, where the formula's grows with N squared", () => {
    const peakAt = (N: number, op = FlashForwardOp) => {
      using q = device.zeros([1, N, 2, 16]);
      return peakOf(() => memoryEfficientAttention(q, q, q, { op }).dispose());
    };
    assertEquals(peakAt(512), 512 * 2 * 16 * 4);
    assertEquals(peakAt(1024), 2 * peakAt(512));
    const scores = 2 * 1024 * 1024 * 4;
    assertLess(2 * scores - 1, peakAt(1024, MathForwardOp));
    assertLess(3.5, peakAt(1024, MathForwardOp) / peakAt(512, MathForwardOp));
  });

  it("adds the log-sum-exp alone where it is wanted", () => {
    using q = device.zeros([2, 100, 3, 16]);
    const peak = peakOf(() => {
      const { out, lse } = memoryEfficientAttentionForwardRequiresGrad(q, q, q);
      assertEquals(lse.shape, [2, 3, 100]);
      out.dispose();
      lse.dispose();
    });
    assertEquals(peak, 2 * 100 * 3 * 16 * 4 + 2 * 3 * 100 * 8); // Two words a row, see log_sum_exp.ts.
  });
});

describe("memoryEfficientAttention()", () => {
  it("lets every token see every other: one perturbed token changes them all", async () => {
    const [B, N, H, K] = [2, 12, 3, 8];
    const values = Float32Array.from({ length: B * N * H * K }, (_, i) => Math.sin(i));
    const perturbed = values.slice();
    perturbed[0]! += 1; // token 0 of batch 0
    const run = async (x: Float32Array) => {
      using qkv = device.tensor(x, { shape: [B, N, H, K] });
      using out = memoryEfficientAttention(qkv, qkv, qkv);
      return await out.data();
    };
    const [a, b] = [await run(values), await run(perturbed)];
    const changed = (batch: number, token: number) => {
      const start = (batch * N + token) * H * K;
      return a.slice(start, start + K).some((x, d) => x !== b[start + d]); // head 0
    };
    for (let token = 0; token < N; token++) {
      assertEquals(changed(0, token), true, `token ${token} did not see token 0`);
      assertEquals(changed(1, token), false, "a batch saw another's token");
    }
  });

  it("is the same as its forward variants", async () => {
    using q = device.randn([1, 33, 2, 8], { seed: 1 });
    const outs = [
      memoryEfficientAttention(q, q, q),
      memoryEfficientAttentionForward(q, q, q),
      memoryEfficientAttentionForwardRequiresGrad(q, q, q).out,
    ];
    const [first, ...others] = await Promise.all(outs.map((out) => out.data()));
    for (const other of others) assertEquals(other, first);
    for (const out of outs) out.dispose();
  });
});

it("attnBias: null is none, as xformers' None", async () => {
  using q = device.randn([1, 33, 2, 8], { seed: 1 });
  using plain = memoryEfficientAttention(q, q, q);
  using same = memoryEfficientAttention(q, q, q, { attnBias: null });
  assertEquals(await same.data(), await plain.data());
});

describe("memoryEfficientAttention() errors", () => {
  const q = device.zeros([2, 5, 4, 8]);

  function assertRefused(
    run: () => unknown,
    kind: typeof TypeError | typeof RangeError,
    text: string,
  ): void {
    const before = device.memory().tensors;
    assertThrows(run, kind, text);
    assertEquals(device.memory().tensors, before, "a refused call left tensors behind");
  }
  const attend = (key: Tensor, value: Tensor = key, options = {}) =>
    memoryEfficientAttention(q, key, value, options);

  const shapes: [string, number[], number[], string][] = [
    ["B", [3, 5, 4, 8], [3, 5, 4, 8], "B differs between query and key (axis 0): 2 and 3"],
    ["Mkv", [2, 5, 4, 8], [2, 6, 4, 8], "Mkv differs between key and value (axis 1): 5 and 6"],
    ["K", [2, 5, 4, 9], [2, 5, 4, 8], "K differs between query and key (axis -1): 8 and 9"],
    ["H of key and value", [2, 5, 4, 8], [2, 5, 2, 8], "H differs between key and value"],
    ["H", [2, 5, 3, 8], [2, 5, 3, 8], "query has 4 heads and key 3"],
  ];
  for (const [name, key, value, text] of shapes) {
    it(`names both sizes where ${name} differs`, () => {
      const [k, v] = [device.zeros(key), device.zeros(value)];
      assertRefused(() => attend(k, v), RangeError, text);
      assertRefused(() => attend(k, v), RangeError, "inputs are query [2, 5, 4, 8], key [");
      k.dispose();
      v.dispose();
    });
  }

  it("names the ranks where they differ or are not 3, 4 or 5", () => {
    using flat = device.zeros([2, 5, 8]);
    using matrix = device.zeros([5, 8]);
    assertRefused(() => attend(flat), TypeError, "ranks are 4, 3 and 3, expected all 3 [B, M, K]");
    assertRefused(
      () => memoryEfficientAttention(matrix, matrix, matrix),
      TypeError,
      "ranks are 2, 2 and 2",
    );
  });

  it("names the dtypes", () => {
    using ints = q.to("i32");
    assertRefused(
      () => attend(ints),
      TypeError,
      'dtypes are f32, i32 and i32, expected all f32, f16 or bf16, convert with .to("f32")',
    );
  });

  it("names the argument that is no tensor", () => {
    assertRefused(
      () => attend([1, 2] as unknown as Tensor),
      TypeError,
      "key is a list of 2, expected a Tensor",
    );
  });

  it("refuses a disposed tensor and one of another device", async () => {
    const gone = device.zeros([2, 5, 4, 8]);
    gone.dispose();
    assertRefused(
      () => attend(gone),
      TypeError,
      "Cannot use a disposed tensor: shape [2, 5, 4, 8]",
    );
    using other = await requestDevice({ tune: false });
    const foreign = other.zeros([2, 5, 4, 8]);
    assertRefused(() => attend(foreign), TypeError, "tensors of two devices");
  });

  it("refuses a p outside [0, 1], a seed and a scale that are none", () => {
    for (const p of [-0.1, 1.1, NaN]) {
      assertRefused(() => attend(q, q, { p }), RangeError, `p is ${p}, expected a probability`);
    }
    assertRefused(() => attend(q, q, { seed: 1.5 }), RangeError, "Cannot use seed 1.5");
    assertRefused(
      () => attend(q, q, { scale: NaN }),
      RangeError,
      "scale is NaN, expected a finite",
    );
  });

  it("refuses a bias that does not broadcast, or of another kind", () => {
    using bias = device.zeros([2, 4, 5, 6]);
    using deep = device.zeros([1, 2, 4, 5, 5]);
    using ints = device.zeros([5, 5], { dtype: "i32" });
    const broadcasts = "expected one that broadcasts to [2, 4, 5, 5] (B, H, Mq, Mkv)";
    assertRefused(() => attend(q, q, { attnBias: bias }), RangeError, broadcasts);
    assertRefused(() => attend(q, q, { attnBias: deep }), RangeError, broadcasts);
    assertRefused(() => attend(q, q, { attnBias: ints }), TypeError, "attnBias has dtype i32");
    for (const [wrong, told] of [["causal", '"causal"'], [[1, 2], "a list of 2"], [1n, "1n"]]) {
      assertRefused(
        () => attend(q, q, { attnBias: wrong as unknown as AttentionBias }),
        TypeError,
        `attnBias is ${told}, expected a mask such as new LowerTriangularMask(), or a Tensor`,
      );
    }
  });

  it("lists every op with every reason where none fits", async () => {
    using small = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: 1.5 * MIB },
    });
    const wide = small.zeros([1, 700, 1, 520]);
    const error = assertThrows(
      () => memoryEfficientAttention(wide, wide, wide, { p: 0.1 }),
      RangeError,
    );
    assertEquals(
      error.message,
      `Cannot run memoryEfficientAttention: no op supports these inputs:
    query: shape [1, 700, 1, 520], dtype f32
    key: shape [1, 700, 1, 520], dtype f32
    value: shape [1, 700, 1, 520], dtype f32
    attnBias: none
    p: 0.1
\`flashF\` is not supported because:
    head dim K = 520 > 512
    head dim Kv = 520 > 512
\`shuffleF\` is not supported because:
    ${ShuffleForwardOp.notSupportedReasons(wide, wide, wide)[0]}
\`splitKF\` is not supported because:
    head dim K = 520 > 512
    head dim Kv = 520 > 512
\`mathF\` is not supported because:
    scores [1, 1, 1, 700, 700] take 1960000 bytes > 1572864, the device's maxStorageBufferBindingSize`,
    );
  });

  it("refuses a forced op that cannot run, and takes another where none is forced", async () => {
    using wide = device.randn([1, 3, 1, 600], { seed: 1 });
    assertEquals(FlashForwardOp.notSupportedReasons(wide, wide, wide), [
      "head dim K = 600 > 512",
      "head dim Kv = 600 > 512",
    ]);
    assertRefused(
      () => memoryEfficientAttention(wide, wide, wide, { op: FlashForwardOp }),
      RangeError,
      "with op `flashF` on these inputs",
    );
    assertRefused(
      () => attend(q, q, { op: { name: "mine", notSupportedReasons: () => [] } }),
      TypeError,
      "op is mine, expected FlashForwardOp, ShuffleForwardOp, SplitKForwardOp, MathForwardOp or FlashHalfForwardOp",
    );
    using out = memoryEfficientAttention(wide, wide, wide);
    assertEquals((await out.data()).length, 1800);
  });

  it("refuses scores over the device's limit in the formula, before any work", async () => {
    using small = await requestDevice({
      tune: false,
      limits: { maxStorageBufferBindingSize: MIB },
    });
    const x = small.zeros([1, 600, 1, 8]);
    assertThrows(
      () => memoryEfficientAttention(x, x, x, { op: MathForwardOp }),
      RangeError,
      "scores [1, 1, 1, 600, 600] take 1440000 bytes > 1048576",
    );
    const out = memoryEfficientAttention(x, x, x);
    assertEquals(out.shape, [1, 600, 1, 8]);
    await small.sync();
  });
});
