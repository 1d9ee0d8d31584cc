/** The rounds of a soak: each does something whole, checks it, and leaves nothing behind. */
import {
  cat,
  type Device,
  LowerTriangularFromBottomRightMask,
  LowerTriangularMask,
  memoryEfficientAttention,
  requestDevice,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { assertAllClose } from "@denoformers/attention/testing";
import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { calls } from "../attention/_arbitraries.ts";
import { assertCallMatches } from "../attention/_random_call.ts";
import { assertGradientsMatch } from "../attention/_random_gradients.ts";
import { collectUntil } from "./_garbage.ts";
import type { BufferWatch } from "./_live_buffers.ts";
import { TinyModel } from "./_tiny_model.ts";
import { steps, Walk } from "./_walk.ts";

/** What a round works on, and what it counts. */
export interface Soak {
  /** The device of the whole soak; nothing is alive on it between rounds. */
  readonly device: Device;
  readonly watch: BufferWatch;
  calls: number;
  faults: number;
  devices: number;
}

/** Does one round; what it draws follows from the seed. */
type Round = (soak: Soak, seed: number) => Promise<void>;

const STEPS = 40;

async function walk(soak: Soak, seed: number, device = soak.device): Promise<void> {
  using walk = new Walk(device, soak.watch);
  for (const step of fc.sample(steps, { seed, numRuns: STEPS })) {
    await walk.step(step);
    soak.calls++;
  }
  soak.faults += walk.refused;
  if (walk.hasGarbage) await walk.collect();
  walk.check("after a walk");
}

/** Attention of any mask, dtype and size against the float64 reference, and its gradients where they are wanted. */
async function againstReference(soak: Soak, seed: number): Promise<void> {
  for (const call of fc.sample(calls, { seed, numRuns: 2 })) {
    if (call.compiled.gradients && call.upstream) {
      await assertGradientsMatch(soak.device, call, call.upstream);
    } else {
      await assertCallMatches(soak.device, call);
    }
    soak.calls++;
  }
}

async function train(soak: Soak, seed: number): Promise<void> {
  using model = new TinyModel(soak.device);
  for (let step = 0; step < 10; step++) {
    using loss = model.train(seed % 1000 + step, false);
    const value = await loss.item();
    assert(Number.isFinite(value), `the loss is ${value}`);
    soak.calls++;
  }
}

/** Token by token with caches that grow, against all tokens at once. */
async function decode(soak: Soak, seed: number): Promise<void> {
  const tokens = 12;
  const [q, k, v] = [1, 2, 3].map((i) => soak.device.randn([1, tokens, 2, 16], { seed: seed + i }));
  const caches: [Tensor, Tensor] = [k!.slice(1, 0, 0), v!.slice(1, 0, 0)];
  const outs: Tensor[] = [];
  for (let t = 0; t < tokens; t++) {
    outs.push(
      tidy(() => {
        for (const [i, all] of [k!, v!].entries()) {
          const longer = cat([caches[i]!, all.slice(1, t, t + 1)], 1);
          caches[i]!.dispose();
          caches[i] = longer;
        }
        const attnBias = new LowerTriangularFromBottomRightMask();
        const out = memoryEfficientAttention(q!.slice(1, t, t + 1), ...caches, { attnBias });
        return [out, ...caches];
      })[0]!,
    );
    soak.calls++;
  }
  using whole = memoryEfficientAttention(q!, k!, v!, { attnBias: new LowerTriangularMask() });
  using parts = cat(outs, 1);
  // Averages of numbers below 5, by two orders of summation in f32.
  assertAllClose(
    { shape: parts.shape, data: await parts.data() },
    { shape: whole.shape, data: await whole.data() },
    { atol: 1e-5, rtol: 1e-5 },
  );
  for (const tensor of [q!, k!, v!, ...caches, ...outs]) tensor.dispose();
}

/** Results that nobody disposes, while nothing is awaited but some of them. */
async function forget(soak: Soak, seed: number): Promise<void> {
  const { device } = soak;
  using x = device.randn([1, 16, 2, 8], { seed });
  await forgetResults(soak, x);
  assert(await collectUntil(() => device.memory().tensors === 1), "garbage is still alive");
}

// A function apart: one that is suspended keeps its variables alive.
async function forgetResults(soak: Soak, x: Tensor): Promise<void> {
  for (let i = 0; i < 300; i++) {
    const out = memoryEfficientAttention(x, x, x, { p: 0.1, seed: i });
    if (i % 20 === 0) await out.mean().item();
    soak.calls++;
  }
}

/** Another device beside the soak's, whose tensors do not meet. */
async function openDevice(soak: Soak, seed: number): Promise<void> {
  // It measures kernels, and has no time to compile more than one of a kind.
  using device = await requestDevice({ tune: { cache: false, budget: 0 } });
  await walk(soak, seed, device);
  using here = soak.device.ones([4]);
  using there = device.ones([4]);
  assertThrows(() => here.add(there), TypeError, "two devices");
  soak.faults++;
  device.dispose();
  assertThrows(() => there.add(1), Error, "disposed");
  soak.faults++;
  assertEquals(await here.add(1).data(), new Float32Array([2, 2, 2, 2]));
  assertEquals(device.memory().reservedBytes, soak.watch.of(device).bytes);
  await collectUntil(() => soak.device.memory().tensors === 1);
  soak.devices++;
}

/** All rounds by name, with how often each comes up. */
export const ROUNDS: Readonly<Record<string, { readonly weight: number; readonly run: Round }>> = {
  walk: { weight: 8, run: (soak, seed) => walk(soak, seed) },
  "against the reference": { weight: 4, run: againstReference },
  train: { weight: 3, run: train },
  decode: { weight: 3, run: decode },
  forget: { weight: 2, run: forget },
  "open a device": { weight: 1, run: openDevice },
};

/** A round and its seed, drawn by weight. */
export const rounds: fc.Arbitrary<{ readonly name: string; readonly seed: number }> = fc.record({
  name: fc.oneof(
    ...Object.entries(ROUNDS).map(([name, { weight }]) => ({
      weight,
      arbitrary: fc.constant(name),
    })),
  ),
  seed: fc.nat(2 ** 30),
});
