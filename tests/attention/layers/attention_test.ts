/** Self-attention as a layer: weights, dropout, and the formula in float64. */
import {
  Attention,
  type AttentionLayerOptions,
  LowerTriangularMask,
  type StateDict,
  type Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import {
  assertEquals,
  assertGreater,
  assertLess,
  assertNotEquals,
  assertThrows,
} from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { referenceAttention } from "../../../attention/reference.ts";
import { sharedDevice } from "../../_device.ts";
import { affine, type Host, host, TOLERANCE } from "./_host.ts";

const device = await sharedDevice();

describe("Attention", () => {
  const [B, N, C, H] = [2, 9, 24, 3];

  /** timm's meaning: qkv rows are q, k, v, each by head and head dim. */
  async function expectedOutput(layer: Attention, x: Tensor, causal: boolean): Promise<Host> {
    const { qkv, proj } = layer;
    const packed = affine(await host(x), await host(qkv.weight), qkv.bias && await host(qkv.bias));
    const part = (which: number): Host => ({
      shape: [B, N, H, C / H],
      data: Float64Array.from(
        { length: B * N * C },
        (_, at) => packed.data[Math.floor(at / C) * 3 * C + which * C + at % C]!,
      ),
    });
    const { out } = referenceAttention(part(0), part(1), part(2), {
      ...(causal ? { allowed: (_b: number, _h: number, i: number, j: number) => j <= i } : {}),
    });
    const flat = { shape: [B, N, C], data: out.data };
    return affine(flat, await host(proj.weight), proj.bias && await host(proj.bias));
  }

  for (const attention of ["memory-efficient", "math"] as const) {
    it(`matches the formula with attention: "${attention}"`, async () => {
      for (const qkvBias of [false, true]) {
        using layer = new Attention(device, C, { numHeads: H, qkvBias, seed: 1, attention });
        using x = device.randn([B, N, C], { seed: 2 });
        using y = layer.forward(x);
        assertAllClose(await host(y), await expectedOutput(layer, x, false), TOLERANCE);
        using masked = layer.forward(x, { attnBias: new LowerTriangularMask() });
        assertAllClose(await host(masked), await expectedOutput(layer, x, true), TOLERANCE);
      }
    });
  }

  it("attends over tokens, not heads: one perturbed token changes all of its sequence", async () => {
    using layer = new Attention(device, C, { numHeads: H, seed: 1 });
    using x = device.randn([B, N, C], { seed: 2 });
    const values = await x.data();
    values[0]! += 1;
    using perturbed = device.tensor(values, { shape: [B, N, C] });
    using y = layer.forward(x);
    using z = layer.forward(perturbed);
    const [a, b] = [await y.data(), await z.data()];
    for (let token = 0; token < B * N; token++) {
      const differs = a.slice(token * C, (token + 1) * C).some((v, i) => v !== b[token * C + i]);
      assertEquals(differs, token < N, `token ${token}`);
    }
  });

  it("has timm's weights under timm's names", () => {
    using layer = new Attention(device, C, { numHeads: H, qkvBias: true });
    const shapes = Object.entries(layer.stateDict()).map(([name, { shape }]) => [name, shape]);
    assertEquals(Object.fromEntries(shapes), {
      "qkv.weight": [3 * C, C],
      "qkv.bias": [3 * C],
      "proj.weight": [C, C],
      "proj.bias": [C],
    });
    using bare = new Attention(device, C, { numHeads: H, projBias: false });
    assertEquals(Object.keys(bare.stateDict()), ["qkv.weight", "proj.weight"]);
    using normed = new Attention(device, C, { numHeads: H, qkNorm: true, projBias: false });
    assertEquals(Object.keys(normed.stateDict()), [
      "qkv.weight",
      "q_norm.weight",
      "q_norm.bias",
      "k_norm.weight",
      "k_norm.bias",
      "proj.weight",
    ]);
    assertEquals([normed.kNorm!.weight.shape, normed.kNorm!.epsilon], [[C / H], 1e-6]);
  });

  it("loads weights, by copy, and gives the same output then", async () => {
    using a = new Attention(device, C, { numHeads: H, seed: 1 });
    const b = new Attention(device, C, { numHeads: H, seed: 2 });
    using x = device.randn([B, N, C], { seed: 3 });
    using ya = a.forward(x);
    using before = b.forward(x);
    assertGreater(Math.abs((await ya.data())[0]! - (await before.data())[0]!), 1e-4);
    const tensors = device.memory().tensors;
    b.loadStateDict(a.stateDict());
    assertEquals(device.memory().tensors, tensors, "weights stay the tensors that they are");
    using after = b.forward(x);
    assertEquals(await after.data(), await ya.data());
    b.dispose();
    using again = a.forward(x);
    assertEquals(await again.data(), await ya.data());
  });

  it("names all missing, unexpected and mis-shaped weights at once, and loads none", async () => {
    using layer = new Attention(device, C, { numHeads: H, seed: 1 });
    const before = await layer.proj.bias!.data();
    using wrong = device.zeros([C]);
    const state: StateDict = { "qkv.weight": wrong, "proj.bias": wrong, "norm.weight": wrong };
    const error = assertThrows(() => layer.loadStateDict(state), RangeError);
    for (
      const part of [
        "missing proj.weight [24, 24]",
        "unexpected norm.weight [24]",
        "qkv.weight has shape [24], expected [72, 24]",
      ]
    ) assertEquals(error.message.includes(part), true, `${part} is not in: ${error.message}`);
    assertEquals(await layer.proj.bias!.data(), before);
  });

  it("leaves no tensor behind but its result", () => {
    using layer = new Attention(device, C, { numHeads: H });
    using x = device.randn([B, N, C]);
    const { tensors } = device.memory();
    const y = layer.forward(x);
    assertEquals(device.memory().tensors, tensors + 1);
    y.dispose();
  });

  it("refuses wrong options and inputs", () => {
    assertThrows(
      () => new Attention(device, 24, { numHeads: 5 }),
      RangeError,
      "dim is 24 and numHeads 5, which does not divide it",
    );
    assertThrows(() => new Attention(device, 24, { attnDrop: 2 }), RangeError, "attnDrop is 2");
    assertThrows(() => new Attention(device, 24, { projDrop: -1 }), RangeError, "p is -1");
    assertThrows(
      () => new Attention(device, 24, { attention: "fast" as "math" }),
      RangeError,
      'attention is "fast", expected "memory-efficient" or "math"',
    );
    using layer = new Attention(device, 24);
    using flat = device.zeros([9, 24]);
    assertThrows(() => layer.forward(flat), RangeError, "has shape [9, 24], expected [B, N, 24]");
  });
});

describe("Attention in training", () => {
  const [B, N, C, H] = [2, 40, 24, 3];

  /** Two forward passes of a new layer, always with the same input. */
  async function twice(options: AttentionLayerOptions, mode: "train" | "eval" = "train") {
    using layer = new Attention(device, C, { numHeads: H, seed: 1, ...options })[mode]();
    using x = device.randn([B, N, C], { seed: 2 });
    using first = layer.forward(x);
    using second = layer.forward(x);
    return [await first.data(), await second.data()] as const;
  }

  for (const name of ["attnDrop", "projDrop"] as const) {
    it(`drops by ${name}: bit-identical for the same seed, anew at every pass`, async () => {
      const run = await twice({ [name]: 0.3 });
      assertEquals(await twice({ [name]: 0.3 }), run);
      assertNotEquals(run[0], run[1]);
      using x = device.randn([B, N, C], { seed: 2 });
      using layer = new Attention(device, C, { numHeads: H, seed: 1, [name]: 0.3 });
      using other = new Attention(device, C, { numHeads: H, seed: 3, [name]: 0.3 });
      other.loadStateDict(layer.stateDict());
      using y = other.forward(x);
      assertNotEquals(await y.data(), run[0], "another seed drops others, with the same weights");
    });

    it(`equals p = 0 in evaluation, whatever ${name}`, async () => {
      const [plain] = await twice({});
      assertEquals(await twice({ [name]: 0.3 }, "eval"), [plain, plain]);
    });
  }

  it("drops the same attention weights with either attention", async () => {
    const flash = await twice({ attnDrop: 0.3 });
    const math = await twice({ attnDrop: 0.3, attention: "math" });
    // Rounding alone; one weight dropped by only one of them would be seen at 1e-3.
    for (const pass of [0, 1] as const) {
      assertAllClose(math[pass], flash[pass], { atol: 1e-5, rtol: 0 });
    }
  });

  it("keeps a fraction 1 - p of the attention weights", async () => {
    // With equal scores and a value that is 1 throughout, a row of the output is the kept fraction of
    // its weights, divided by 1 - p.
    const [p, tokens] = [0.3, 200];
    using layer = new Attention(device, 8, { numHeads: 8, seed: 1, attnDrop: p, qkvBias: true });
    using identity = device.arange(8).eq(device.arange(8).reshape([8, 1])).to("f32");
    using noWeight = device.zeros([24, 8]);
    using onlyValue = device.tensor(Array.from({ length: 24 }, (_, row) => row < 16 ? 0 : 1));
    using noBias = device.zeros([8]);
    layer.loadStateDict({
      "qkv.weight": noWeight,
      "qkv.bias": onlyValue,
      "proj.weight": identity,
      "proj.bias": noBias,
    });
    using x = device.zeros([1, tokens, 8]);
    using y = layer.forward(x);
    const rows = await y.data();
    const n = tokens * tokens * 8;
    const kept = rows.reduce((sum, row) => sum + row * (1 - p) * tokens, 0);
    // 4 standard deviations of a binomial count.
    assertLess(Math.abs(kept - n * (1 - p)), 4 * Math.sqrt(n * p * (1 - p)));
    const each = Math.sqrt(p / (1 - p) / tokens);
    const spread = Math.sqrt(rows.reduce((sum, row) => sum + (row - 1) ** 2, 0) / rows.length);
    // Rows and heads are independent: the spread of 1,600 of them is known to 1.8 %, here 4 times that.
    assertLess(Math.abs(spread / each - 1), 0.071);
  });
});
