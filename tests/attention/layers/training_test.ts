/** A training, step by step as PyTorch takes it. */
import {
  AdamW,
  Block,
  clipGradNorm,
  crossEntropy,
  LayerNorm,
  Linear,
  loadSafetensors,
  Module,
  type Optimizer,
  parameter,
  SGD,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertEquals, assertLess } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { sharedDevice } from "../../_device.ts";
import type { Host } from "./_host.ts";

const device = await sharedDevice();

interface Curves {
  readonly losses: readonly number[];
  readonly gradNorms: readonly number[];
}

interface Run {
  readonly optimizer: Readonly<Record<string, unknown>>;
  readonly f32: Curves;
  readonly f64: Curves;
  readonly final: Readonly<
    Record<string, {
      readonly l2: number;
      readonly indices: readonly number[];
      readonly values: readonly number[];
    }>
  >;
}

/** What PyTorch computed; the script beside the file says what each field is. */
const GOLDEN: {
  readonly options: Readonly<
    Record<
      | "tokens"
      | "features"
      | "dim"
      | "numHeads"
      | "mlpRatio"
      | "depth"
      | "classes"
      | "epsilon"
      | "batch"
      | "steps",
      number
    >
  >;
  readonly x: Host;
  readonly labels: readonly number[];
  readonly runs: Readonly<Record<"adamw" | "sgd", Run>>;
} = JSON.parse(Deno.readTextFileSync(fixture("training_golden.json")));

function fixture(name: string): URL {
  return new URL(`../../fixtures/${name}`, import.meta.url);
}

const { tokens, features, dim, numHeads, mlpRatio, depth, classes, batch, steps } = GOLDEN.options;

/** The small vision transformer of the script. */
class Classifier extends Module {
  readonly embed = new Linear(device, features, dim);
  pos: Tensor = parameter(() => device.zeros([1, tokens, dim]));
  readonly blocks = Array.from(
    { length: depth },
    () => new Block(device, dim, { numHeads, mlpRatio, qkvBias: true }),
  );
  readonly norm = new LayerNorm(device, dim, { epsilon: GOLDEN.options.epsilon });
  readonly head = new Linear(device, dim, classes);

  forward(x: Tensor): Tensor {
    return tidy(() => {
      let y = this.embed.forward(x).add(this.pos);
      for (const block of this.blocks) y = block.forward(y);
      return this.head.forward(this.norm.forward(y).mean({ axis: 1 }));
    });
  }

  protected override weights(): Record<string, Tensor> {
    return { pos: this.pos };
  }

  protected override children(): Record<string, Module> {
    const blocks = this.blocks.map((block, i) => [`blocks.${i}`, block]);
    const { embed, norm, head } = this;
    return { embed, ...Object.fromEntries(blocks), norm, head };
  }
}

/** A model with the script's initial weights. */
function loadedModel(): Classifier {
  const model = new Classifier();
  tidy(() => {
    model.loadStateDict(
      loadSafetensors(device, Deno.readFileSync(fixture("training.safetensors"))),
    );
  });
  return model;
}

function makeOptimizer(name: "adamw" | "sgd", parameters: Tensor[]): Optimizer {
  const { lr, eps, maxNorm: _, ...others } = GOLDEN.runs[name].optimizer;
  const options = { learningRate: lr as number, ...others };
  return name === "adamw"
    ? new AdamW(parameters, { ...options, epsilon: eps as number })
    : new SGD(parameters, options);
}

/** One step on its batch: the loss and the norm of the gradients. */
function trainingStep(model: Classifier, optimizer: Optimizer, step: number, maxNorm: number) {
  const samples = Array.from(
    { length: batch },
    (_, i) => (batch * step + i) % GOLDEN.labels.length,
  );
  const size = tokens * features;
  const data = samples.flatMap((n) => Array.from(GOLDEN.x.data).slice(n * size, (n + 1) * size));
  return tidy(() => {
    const x = device.tensor(data, { shape: [batch, tokens, features] });
    const loss = crossEntropy(model.forward(x), samples.map((n) => GOLDEN.labels[n]!));
    optimizer.zeroGrad();
    loss.backward();
    const norm = clipGradNorm(model.parameters(), maxNorm);
    optimizer.step();
    return { loss, norm };
  });
}

describe("training equals PyTorch", () => {
  for (const name of ["adamw", "sgd"] as const) {
    it(`in losses, norms of gradients and final weights, with ${name}, in constant memory`, async () => {
      const { optimizer: { maxNorm }, f32, f64, final } = GOLDEN.runs[name];
      using model = loadedModel();
      using optimizer = makeOptimizer(name, model.parameters());
      const losses: number[] = [];
      const norms: number[] = [];
      const bytes: number[] = [];
      for (let step = 0; step < steps; step++) {
        const { loss, norm } = trainingStep(model, optimizer, step, maxNorm as number);
        losses.push(await loss.item());
        norms.push(await norm.item());
        loss.dispose();
        norm.dispose();
        bytes.push(device.memory().allocatedBytes);
      }
      for (
        const [found, own, exact] of [
          [losses, f32.losses, f64.losses],
          [norms, f32.gradNorms, f64.gradNorms],
        ] as const
      ) {
        // Ten times as far from the exact training as PyTorch's own run with floats: sums and functions
        // are rounded otherwise, and each step goes on from there.
        assertLess(worst(found, exact), 10 * worst(own, exact));
      }
      const state = model.stateDict();
      assertEquals(Object.keys(state).sort(), Object.keys(final).sort());
      for (const [path, { l2, indices, values }] of Object.entries(final)) {
        const found = await state[path]!.data();
        // The gradient of the keys' bias is nothing but rounding.
        if (path.endsWith("qkv.bias")) found.fill(0, dim, 2 * dim);
        const picked = [Math.hypot(...found), ...indices.map((i) => found[i]!)];
        // PyTorch's own runs with floats and with doubles end up to 5.4e-6 apart; weights moved by 1e-1.
        assertLess(worst(picked, [l2, ...values]), 5e-5, path);
      }
      // Garbage of other tests may be collected meanwhile.
      assertEquals(Math.max(...bytes), bytes[0]);
    });
  }
});

/** The largest difference of two curves. */
function worst(found: readonly number[], expected: readonly number[]): number {
  return Math.max(...found.map((value, i) => Math.abs(value - expected[i]!)));
}
