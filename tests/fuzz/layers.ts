/** Layers, losses and optimisers, against the same in float64. */
import {
  AdamW,
  Attention,
  clipGradNorm,
  cosineSchedule,
  crossEntropy,
  type Device,
  Embedding,
  LayerNorm,
  Linear,
  Mlp,
  type Module,
  mseLoss,
  SGD,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import fc from "fast-check";
import { assertIs, type Tolerance } from "./_compare.ts";
import { type Family, take } from "./_family.ts";
import {
  byRow,
  gelu,
  type Host,
  host,
  logSumExpRow,
  mapped,
  normalizedRow,
  permuted,
  product,
  reshaped,
  softmaxRow,
  someNumbers,
  sum,
  zipped,
} from "./_host.ts";

/** Some ten operations in f32 on numbers of about 1. */
const CLOSE: Tolerance = { atol: 1e-4, rtol: 1e-4 };

/** A layer and the size of what goes in. */
interface LayerCase {
  readonly layer: "Linear" | "LayerNorm" | "Embedding" | "Mlp" | "Attention";
  readonly B: number;
  readonly N: number;
  /** Heads, and features of each. */
  readonly heads: number;
  readonly K: number;
  readonly out: number;
  readonly bias: boolean;
  readonly seed: number;
}

type Weights = Readonly<Record<string, Host>>;

/** Layers forward. */
export const layers: Family<LayerCase> = {
  name: "layers",
  weight: 4,
  quick: 6,
  cases: (scope) =>
    fc.record({
      layer: scope.some(["Linear", "LayerNorm", "Embedding", "Mlp", "Attention"] as const, 2),
      B: fc.integer({ min: 0, max: 3 }),
      N: fc.integer({ min: 1, max: 7 }),
      heads: fc.integer({ min: 1, max: 3 }),
      K: scope.some([1, 3, 4, 8], 1),
      out: fc.integer({ min: 1, max: 9 }),
      bias: fc.boolean(),
      seed: fc.maxSafeNat(),
    }),
  async check(device, drawn) {
    const C = drawn.heads * drawn.K;
    const x: Host = {
      shape: [drawn.B, drawn.N, C],
      data: someNumbers(drawn.B * drawn.N * C, drawn.seed % 99),
    };
    using layer = layerOf(device, drawn, C);
    const state = layer.stateDict();
    const names = Object.keys(state);
    const [found, ...weights] = await take(tidy(() => [
      layer instanceof Embedding
        ? layer.forward(indicesOf(x, drawn.out).data.slice())
        : layer.forward(device.tensor(Float32Array.from(x.data), { shape: x.shape })),
      ...names.map((name) => state[name]!.clone()),
    ]));
    const own = Object.fromEntries(names.map((name, i) => [name, weights[i]!]));
    assertIs(found!, expectedOf(drawn, x, own), "f32", CLOSE, drawn.layer);
  },
};

interface Runs extends Module {
  forward(x: Tensor): Tensor;
}

function layerOf(
  device: Device,
  { layer, heads, out, bias, seed }: LayerCase,
  C: number,
): Runs | Embedding {
  switch (layer) {
    case "Linear":
      return new Linear(device, C, out, { bias, seed });
    case "LayerNorm":
      return new LayerNorm(device, C);
    case "Embedding":
      return new Embedding(device, out, C, { seed });
    case "Mlp":
      return new Mlp(device, C, { hiddenFeatures: out, bias, seed });
    case "Attention":
      return new Attention(device, C, { numHeads: heads, qkvBias: bias, projBias: bias, seed });
  }
}

/** A place in a table of `count` for each number. */
function indicesOf(x: Host, count: number): Host {
  return mapped(
    { shape: [x.data.length], data: x.data },
    (value) => Math.floor(Math.abs(value) * 97) % count,
  );
}

function affine(x: Host, weight: Host, bias: Host | undefined): Host {
  const out = product(x, permuted(weight, [1, 0]));
  return bias ? zipped([out, bias], (a, b) => a + b) : out;
}

function expectedOf({ layer, B, N, heads, K, out }: LayerCase, x: Host, own: Weights): Host {
  switch (layer) {
    case "Linear":
      return affine(x, own.weight!, own.bias);
    case "LayerNorm":
      return byRow(x, 2, (xs) => normalizedRow(xs, 1e-5));
    case "Embedding": {
      const C = heads * K;
      const { data } = indicesOf(x, out);
      return host([data.length, C], ([row, i]) => own.weight!.data[data[row!]! * C + i!]!);
    }
    case "Mlp": {
      const hidden = mapped(affine(x, own["fc1.weight"]!, own["fc1.bias"]), gelu);
      return affine(hidden, own["fc2.weight"]!, own["fc2.bias"]);
    }
    case "Attention": {
      const qkv = permuted(
        reshaped(affine(x, own["qkv.weight"]!, own["qkv.bias"]), [B, N, 3, heads, K]),
        [2, 0, 3, 1, 4],
      );
      const size = B * heads * N * K;
      const [q, k, v] = [0, 1, 2].map((which) => ({
        shape: [B, heads, N, K],
        data: qkv.data.slice(which * size, (which + 1) * size),
      }));
      const scores = mapped(product(q!, permuted(k!, [0, 1, 3, 2])), (score) => score * K ** -0.5);
      const mixed = product(byRow(scores, 3, softmaxRow), v!);
      const joined = reshaped(permuted(mixed, [0, 2, 1, 3]), [B, N, heads * K]);
      return affine(joined, own["proj.weight"]!, own["proj.bias"]);
    }
  }
}

/** A loss, or steps of an optimiser. */
interface TrainingCase {
  readonly what: "crossEntropy" | "mseLoss" | "SGD" | "AdamW" | "clipGradNorm" | "cosineSchedule";
  readonly N: number;
  readonly C: number;
  readonly reduction: "mean" | "sum" | "none";
  readonly smoothing: number;
  /** Of learning rates, momenta and bounds. */
  readonly rate: number;
  readonly momentum: number;
  readonly decay: number;
  readonly steps: number;
  readonly numbers: number;
}

/** Losses and optimisers. */
export const training: Family<TrainingCase> = {
  name: "training",
  weight: 5,
  quick: 8,
  cases: (scope) =>
    fc.record({
      what: scope.some(
        ["crossEntropy", "mseLoss", "SGD", "AdamW", "clipGradNorm", "cosineSchedule"] as const,
        3,
      ),
      N: fc.integer({ min: 1, max: 6 }),
      C: fc.integer({ min: 1, max: 7 }),
      reduction: fc.constantFrom("mean", "sum", "none"),
      smoothing: fc.constantFrom(0, 0.1, 1),
      rate: fc.constantFrom(0, 0.1, 1, 3),
      momentum: fc.constantFrom(0, 0.9, 0.5),
      decay: fc.constantFrom(0, 0.01, 0.5),
      steps: fc.integer({ min: 1, max: 4 }),
      numbers: fc.nat(99),
    }),
  async check(device, drawn) {
    const { what, N, C, numbers } = drawn;
    const x: Host = { shape: [N, C], data: someNumbers(N * C, 2 * numbers) };
    const y: Host = { shape: [N, C], data: someNumbers(N * C, 2 * numbers + 1) };
    if (what === "cosineSchedule") return checkSchedule(drawn);
    const upload = ({ shape, data }: Host, requiresGrad = false) =>
      device.tensor(Float32Array.from(data), { shape, requiresGrad });
    if (what === "crossEntropy" || what === "mseLoss") {
      const classes = y.data.slice(0, N).map((value) => Math.floor(Math.abs(value) * 97) % C);
      const { reduction, smoothing } = drawn;
      const [found] = await take([
        tidy(() =>
          what === "mseLoss"
            ? mseLoss(upload(x), upload(y), { reduction })
            : crossEntropy(upload(x), classes, { reduction, labelSmoothing: smoothing })
        ),
      ]);
      const each = what === "mseLoss"
        ? zipped([x, y], (a, b) => (a - b) ** 2)
        : crossEntropies(x, classes, smoothing);
      const total = sum(each.data);
      const scalar = { shape: [], data: [reduction === "sum" ? total : total / each.data.length] };
      return assertIs(found!, reduction === "none" ? each : scalar, "f32", CLOSE, what);
    }
    if (what === "clipGradNorm") return await checkClip(device, x, drawn.rate);
    // The gradient of the sum of half of squares is the parameter itself, times what is in y.
    const parameter = upload(x, true);
    try {
      using optimizer = what === "SGD"
        ? new SGD([parameter], {
          learningRate: drawn.rate / 10,
          momentum: drawn.momentum,
          weightDecay: drawn.decay,
        })
        : new AdamW([parameter], { learningRate: drawn.rate / 10, weightDecay: drawn.decay });
      tidy(() => {
        const factors = upload(y);
        for (let step = 0; step < drawn.steps; step++) {
          parameter.mul(factors).sum().backward();
          optimizer.step();
          optimizer.zeroGrad();
        }
      });
      const [found] = await take([parameter.detach()]);
      assertIs(found!, what === "SGD" ? sgd(x, y, drawn) : adamw(x, y, drawn), "f32", CLOSE, what);
    } finally {
      parameter.dispose();
    }
  },
};

function crossEntropies(
  { shape: [N, C], data }: Host,
  classes: readonly number[],
  smoothing: number,
): Host {
  return host([N!], ([row]) => {
    const logits = data.slice(row! * C!, (row! + 1) * C!);
    const even = sum(logits) / C!;
    const target = logits[classes[row!]!]!;
    return logSumExpRow(logits) - (1 - smoothing) * target - smoothing * even;
  });
}

function sgd(x: Host, g: Host, { rate, momentum, decay, steps }: TrainingCase): Host {
  return zipped([x, g], (start, gradient) => {
    let [p, m] = [start, 0];
    for (let step = 0; step < steps; step++) {
      const direction = gradient + decay * p;
      m = step === 0 ? direction : momentum * m + direction;
      p -= rate / 10 * (momentum === 0 ? direction : m);
    }
    return p;
  });
}

function adamw(x: Host, g: Host, { rate, decay, steps }: TrainingCase): Host {
  return zipped([x, g], (start, gradient) => {
    let [p, m, v] = [start, 0, 0];
    for (let step = 1; step <= steps; step++) {
      p -= rate / 10 * decay * p;
      m = 0.9 * m + 0.1 * gradient;
      v = 0.999 * v + 0.001 * gradient ** 2;
      p -= rate / 10 * (m / (1 - 0.9 ** step)) / (Math.sqrt(v / (1 - 0.999 ** step)) + 1e-8);
    }
    return p;
  });
}

async function checkClip(device: Device, x: Host, maxNorm: number): Promise<void> {
  const parameter = device.ones(x.shape, { requiresGrad: true });
  try {
    const tensors = tidy(() => {
      parameter.mul(device.tensor(Float32Array.from(x.data), { shape: x.shape })).sum().backward();
      const norm = clipGradNorm([parameter], maxNorm);
      return [norm, parameter.grad!.clone()];
    });
    const [norm, clipped] = await take(tensors);
    const expected = Math.sqrt(sum(x.data.map((value) => value ** 2)));
    const factor = Math.min(1, maxNorm / (expected + 1e-6));
    assertIs(norm!, { shape: [], data: [expected] }, "f32", CLOSE, "norm");
    assertIs(clipped!, mapped(x, (value) => factor * value), "f32", CLOSE, "clipped gradient");
  } finally {
    parameter.dispose();
  }
}

/** Rates rise to the peak, then fall to the floor, and stay between 0 and the peak. */
function checkSchedule({ N, C, rate, decay }: TrainingCase): void {
  const options = { warmupSteps: N, totalSteps: N + C, peak: rate + 1, floor: decay };
  const rates = Array.from({ length: N + C + 3 }, (_, step) => cosineSchedule(step, options));
  const isRising = rates.slice(0, N + 1).every((value, i) => i === 0 || value > rates[i - 1]!);
  const isFalling = rates.slice(N).every((value, i, tail) => i === 0 || value <= tail[i - 1]!);
  if (isRising && isFalling && rates[N] === rate + 1 && Math.abs(rates.at(-1)! - decay) < 1e-12) {
    return;
  }
  throw new Error(`rates are ${rates}`);
}
