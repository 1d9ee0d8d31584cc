/** Layers against plain loops in float64. */
import {
  Attention,
  Dropout,
  LayerNorm,
  Linear,
  LowerTriangularMask,
  type StateDict,
  type Tensor,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assertEquals, assertGreater, assertLess, assertThrows } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { referenceAttention } from "../../../attention/reference.ts";
import { sharedDevice } from "../../_device.ts";

const device = await sharedDevice();

/** Sums of up to 24 products of numbers near 1: a few last bits of a float. */
const TOLERANCE = { atol: 5e-6, rtol: 1e-5 };

interface Host {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

async function host(tensor: Tensor): Promise<Host> {
  return { shape: tensor.shape, data: await tensor.data() };
}

/** x Wᵀ + b, row by row. */
function affine(x: Host, weight: Host, bias?: Host): Host {
  const [outs, ins] = weight.shape as [number, number];
  const rows = x.data.length / ins;
  const data = Float64Array.from({ length: rows * outs }, (_, at) => {
    const [row, out] = [Math.floor(at / outs), at % outs];
    let sum = bias?.data[out] ?? 0;
    for (let i = 0; i < ins; i++) sum += x.data[row * ins + i]! * weight.data[out * ins + i]!;
    return sum;
  });
  return { shape: [...x.shape.slice(0, -1), outs], data };
}

describe("Linear", () => {
  it("computes x Wᵀ + b over any leading axes", async () => {
    for (const bias of [true, false]) {
      using linear = new Linear(device, 24, 7, { bias, seed: 1 });
      using x = device.randn([2, 3, 5, 24], { seed: 2 });
      using y = linear.forward(x);
      const expected = affine(
        await host(x),
        await host(linear.weight),
        linear.bias && await host(linear.bias),
      );
      assertAllClose(await host(y), expected, TOLERANCE);
    }
  });

  it("starts uniform in ±1/√in, the same from the same seed", async () => {
    using a = new Linear(device, 100, 50, { seed: 3 });
    using b = new Linear(device, 100, 50, { seed: 3 });
    using c = new Linear(device, 100, 50, { seed: 4 });
    const weights = await a.weight.data();
    assertEquals(weights, await b.weight.data());
    assertEquals(weights.every((w) => Math.abs(w) <= 0.1), true);
    // 5,000 numbers of standard deviation 0.1/√3: their mean square has a relative deviation of 1.3 %.
    const meanSquare = weights.reduce((sum, w) => sum + w * w, 0) / weights.length;
    assertLess(Math.abs(meanSquare / (0.01 / 3) - 1), 0.07);
    assertEquals(weights[0] === (await c.weight.data())[0], false);
  });

  it("refuses sizes that are none and inputs that do not fit", () => {
    assertThrows(
      () => new Linear(device, 0, 3),
      RangeError,
      "inFeatures is 0, expected a whole number",
    );
    using linear = new Linear(device, 4, 3);
    using x = device.zeros([2, 5]);
    assertThrows(() => linear.forward(x), RangeError, "input has shape [2, 5], expected [..., 4]");
  });
});

describe("LayerNorm", () => {
  it("normalises the last axis, then scales and shifts", async () => {
    using norm = new LayerNorm(device, 24);
    using weight = device.randn([24], { seed: 1 });
    using bias = device.randn([24], { seed: 2 });
    norm.loadStateDict({ weight, bias });
    using x = device.randn([3, 5, 24], { seed: 3 });
    using y = norm.forward(x);
    const [input, w, b] = [await x.data(), await weight.data(), await bias.data()];
    const expected = Float64Array.from(input, (value, at) => {
      const row = Array.from(input.slice(at - at % 24, at - at % 24 + 24));
      const mean = row.reduce((sum, v) => sum + v, 0) / 24;
      const variance = row.reduce((sum, v) => sum + (v - mean) ** 2, 0) / 24;
      return (value - mean) / Math.sqrt(variance + 1e-5) * w[at % 24]! + b[at % 24]!;
    });
    assertAllClose(await y.data(), expected, TOLERANCE);
  });
});

describe("Dropout", () => {
  it("changes nothing in evaluation or with p = 0", async () => {
    using x = device.randn([3, 4], { seed: 1 });
    for (const layer of [new Dropout(0.9).eval(), new Dropout(0)]) {
      using y = layer.forward(x);
      assertEquals(await y.data(), await x.data());
    }
  });

  it("refuses a p that is no probability, and to pretend in training", () => {
    assertThrows(() => new Dropout(1.5), RangeError, "p is 1.5, expected a probability in [0, 1]");
    using x = device.zeros([1]);
    assertThrows(() => new Dropout(0.5).forward(x), RangeError, "not implemented yet; call eval()");
  });
});

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
    assertEquals(device.memory().tensors, tensors, "replaced weights are disposed");
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
    using layer = new Attention(device, 24, { attnDrop: 0.1 });
    using flat = device.zeros([9, 24]);
    using x = device.zeros([1, 9, 24]);
    assertThrows(() => layer.forward(flat), RangeError, "has shape [9, 24], expected [B, N, 24]");
    // Dropout in training is not there yet; in evaluation it is not needed.
    assertThrows(() => layer.forward(x), RangeError, "p: 0.1");
    layer.eval().forward(x).dispose();
  });
});
