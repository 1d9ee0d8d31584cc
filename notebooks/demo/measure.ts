/** What the demo computes, and how it measures time and memory. */
import {
  Attention,
  type Device,
  type DeviceInfo,
  GpuOutOfMemoryError,
  LayerNorm,
  MathForwardOp,
  memoryEfficientAttention,
  type Tensor,
} from "@denoformers/attention";
import type { DemoOptions } from "./options.ts";

/** Time and memory of one way to compute. */
export interface Measurement {
  /** Milliseconds from the first call to its result: with the compilation of new kernels. */
  readonly firstCallMs: number;
  /** Median of the later runs' milliseconds, by the clock that {@linkcode DemoResult} names. */
  readonly medianMs: number;
  /** How many later runs there were. */
  readonly runs: number;
  /** Most bytes of GPU memory in use, beyond those in use before. */
  readonly peakBytes: number;
}

/** Memory-efficient attention beside attention by the formula, on the same inputs. */
export interface Comparison {
  /** Without scores in memory. */
  readonly memoryEfficient: Measurement;
  /** With them; or why this device cannot. */
  readonly math: Measurement | { readonly refused: string };
  /** Largest absolute difference between the two results; null where there is only one. */
  readonly maxAbsDifference: number | null;
}

/** Sizes of raw attention. */
export interface AttentionShape {
  /** B. */
  readonly batch: number;
  /** N, of queries and of keys. */
  readonly tokens: number;
  /** H. */
  readonly heads: number;
  /** K, of queries, keys and values. */
  readonly headDim: number;
}

/** Self-attention as a layer. */
export interface LayerResult {
  /** Sizes of the attention within. */
  readonly shape: AttentionShape;
  /** C. */
  readonly dim: number;
  /** The result as text, in parts where it is long. */
  readonly output: string;
  /** Attention without the projections. */
  readonly attention: Comparison;
  /** The whole layer. */
  readonly layer: Comparison;
}

/** Sizes that are smaller on devices that are slow or have low limits. */
export interface Reducible {
  /** The sizes. */
  readonly shape: AttentionShape;
  /** What they are on other devices; null if the same. */
  readonly reducedFrom: AttentionShape | null;
}

/** Raw attention over a longer sequence. */
export interface LongResult extends Reducible {
  /** Times and memory. */
  readonly attention: Comparison;
}

/** How much memory a still larger input takes. */
export interface MemoryResult extends Reducible {
  /** Bytes of query, key and value. */
  readonly inputBytes: number;
  /** Bytes of the result. */
  readonly outputBytes: number;
  /** Most bytes in use with memory-efficient attention, inputs and output included. */
  readonly peakBytes: number;
  /** Bytes of scores and weights, both of which the formula keeps. */
  readonly scoresBytes: number;
  /** Why the formula cannot run here; null where it could. */
  readonly mathRefused: string | null;
}

/** All that the demo found out. */
export interface DemoResult {
  /** The device. */
  readonly device: DeviceInfo;
  /** Where the medians come from: the GPU's timestamps, or the time until the result is there. */
  readonly clock: "gpu" | "wall";
  /** Element type. */
  readonly dtype: "f32";
  /** The first part. */
  readonly layer: LayerResult;
  /** The second part; null if sizes were asked for. */
  readonly long: LongResult | null;
  /** The third part; null if sizes were asked for. */
  readonly memory: MemoryResult | null;
}

/** Tells what is being done. */
export type Progress = (step: string) => void;

const F32_BYTES = 4;
/** Runs after the first: one at least, up to this many as long as they take no longer than this. */
const MAX_RUNS = 7;
const RUNS_MS = 1000;
/** What the later parts may take on slow adapters, by estimates, before they are made smaller. */
const LONG_MS = 4000;
const MEMORY_MS = 6000;

/**
 * Computes everything.
 *
 * @param device Where.
 * @param options What.
 * @param progress Called before each step that can take a second.
 * @returns The measurements.
 */
export async function measureDemo(
  device: Device,
  options: DemoOptions,
  progress: Progress,
): Promise<DemoResult> {
  const layer = await measureLayer(device, options, progress);
  let long: LongResult | null = null;
  let memory: MemoryResult | null = null;
  if (!options.ownSizes) {
    long = await measureLong(device, longShape(device.info, layer), progress);
    memory = await measureMemory(device, memoryShape(long), progress);
  }
  const clock = device.info.timestamps ? "gpu" : "wall";
  return { device: device.info, clock, dtype: options.dtype, layer, long, memory };
}

async function measureLayer(
  device: Device,
  { batch, tokens, dim, heads }: DemoOptions,
  progress: Progress,
): Promise<LayerResult> {
  progress("Projecting the input to query, key and value");
  using x = device.randn([batch, tokens, dim], { seed: 1 });
  // Nothing is trained here, so no layer needs a graph for gradients.
  using norm = new LayerNorm(device, dim).setRequiresGrad(false);
  using input = norm.forward(x);
  using layer = new Attention(device, dim, { numHeads: heads, seed: 2 }).eval()
    .setRequiresGrad(false);
  using mathLayer = new Attention(device, dim, { numHeads: heads, attention: "math" }).eval()
    .setRequiresGrad(false);
  mathLayer.loadStateDict(layer.stateDict());

  const shape = { batch, tokens, heads, headDim: dim / heads };
  let attention: Comparison;
  let refused: string | null;
  {
    // [B, N, 3C] seen as [B, N, 3, H, K]: three views, nothing is copied.
    using packed = layer.qkv.forward(input);
    using split = packed.reshape([batch, tokens, 3, heads, dim / heads]);
    const [q, k, v] = split.unbind(2) as [Tensor, Tensor, Tensor];
    attention = await compareAttention(device, [q, k, v], progress);
    refused = mathRefusal([q, k, v]);
    for (const view of [q, k, v]) view.dispose();
  }
  const { comparison, out } = await compare(
    device,
    () => layer.forward(input),
    refused ?? (() => mathLayer.forward(input)),
    (which) => progress(`The whole layer, ${which}`),
  );
  const output = await out.format();
  out.dispose();
  return { shape, dim, output, attention, layer: comparison };
}

async function measureLong(
  device: Device,
  { shape, reducedFrom }: Reducible,
  progress: Progress,
): Promise<LongResult> {
  const inputs = randomInputs(device, shape);
  const attention = await compareAttention(device, inputs, progress);
  for (const input of inputs) input.dispose();
  return { shape, reducedFrom, attention };
}

async function measureMemory(
  device: Device,
  { shape, reducedFrom }: Reducible,
  progress: Progress,
): Promise<MemoryResult> {
  const { batch, tokens, heads, headDim } = shape;
  const tensorBytes = F32_BYTES * batch * tokens * heads * headDim;
  const before = device.memory().allocatedBytes;
  const inputs = randomInputs(device, shape);
  progress(`${describe(inputs[0])}, memory-efficient`);
  // Filling the inputs may take scratch memory, which is none of attention's.
  device.resetPeakMemory();
  using _out = memoryEfficientAttention(...inputs);
  await device.sync();
  const { peakBytes } = device.memory();
  const mathRefused = mathRefusal(inputs);
  for (const input of inputs) input.dispose();
  return {
    shape,
    reducedFrom,
    inputBytes: 3 * tensorBytes,
    outputBytes: tensorBytes,
    peakBytes: peakBytes - before,
    scoresBytes: 2 * scoreBytes(shape),
    mathRefused,
  };
}

/** 2 heads of 4,096 tokens; less where the formula cannot take that, or where it takes too long. */
function longShape(info: DeviceInfo, { shape, attention }: LayerResult): Reducible {
  const full = { batch: 1, tokens: 4096, heads: 2, headDim: 64 };
  const speed = work(shape) / attention.memoryEfficient.medianMs;
  const isSlow = work(full) / speed > LONG_MS;
  let fitting = isSlow || !mathFits(info, full) ? { ...full, heads: 1 } : full;
  while (!mathFits(info, fitting)) fitting = { ...fitting, tokens: fitting.tokens / 2 };
  return { shape: fitting, reducedFrom: fitting === full ? null : full };
}

/** 8 heads of 4,096 tokens; fewer tokens where that would take too long. */
function memoryShape({ shape, attention }: LongResult): Reducible {
  const full = { batch: 1, tokens: 4096, heads: 8, headDim: 64 };
  const speed = work(shape) / attention.memoryEfficient.medianMs;
  let quick = full;
  while (work(quick) / speed > MEMORY_MS && quick.tokens > 1024) {
    quick = { ...quick, tokens: quick.tokens / 2 };
  }
  return { shape: quick, reducedFrom: quick === full ? null : full };
}

/** Two products of all queries with all keys, a multiplication and an addition each. */
function work({ batch, tokens, heads, headDim }: AttentionShape): number {
  return 4 * batch * heads * tokens ** 2 * headDim;
}

function scoreBytes({ batch, tokens, heads }: AttentionShape): number {
  return F32_BYTES * batch * heads * tokens ** 2;
}

function mathFits({ limits }: DeviceInfo, shape: AttentionShape): boolean {
  return scoreBytes(shape) <= Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize);
}

type Inputs = [query: Tensor, key: Tensor, value: Tensor];

function randomInputs(
  device: Device,
  { batch, tokens, heads, headDim }: AttentionShape,
): Inputs {
  const input = (seed: number) => device.randn([batch, tokens, heads, headDim], { seed });
  return [input(1), input(2), input(3)];
}

function describe({ shape }: Tensor): string {
  return `Attention over [${shape.join(", ")}]`;
}

async function compareAttention(
  device: Device,
  inputs: Inputs,
  progress: Progress,
): Promise<Comparison> {
  const { comparison, out } = await compare(
    device,
    () => memoryEfficientAttention(...inputs),
    mathRefusal(inputs) ?? (() => memoryEfficientAttention(...inputs, { op: MathForwardOp })),
    (which) => progress(`${describe(inputs[0])}, ${which}`),
  );
  out.dispose();
  return comparison;
}

/**
 * Measures both; the caller disposes the memory-efficient result.
 *
 * @param math The other function, or why it cannot run.
 */
async function compare(
  device: Device,
  memoryEfficient: () => Tensor,
  math: (() => Tensor) | string,
  progress: Progress,
): Promise<{ comparison: Comparison; out: Tensor }> {
  progress("memory-efficient");
  const { out, measurement } = await measure(device, memoryEfficient);
  const result = (theirs: Comparison["math"], maxAbsDifference: number | null) => ({
    out,
    comparison: { memoryEfficient: measurement, math: theirs, maxAbsDifference },
  });
  if (typeof math === "string") return result({ refused: math }, null);
  progress("math");
  let other: Measured;
  try {
    other = await measure(device, math);
  } catch (error) {
    if (error instanceof GpuOutOfMemoryError) return result({ refused: error.message }, null);
    throw error;
  }
  using expected = other.out;
  return result(other.measurement, await largestDifference(out, expected));
}

interface Measured {
  readonly measurement: Measurement;
  /** The last run's result; the caller disposes it. */
  readonly out: Tensor;
}

/** Runs a function for the first time, then for the median. */
async function measure(device: Device, fn: () => Tensor): Promise<Measured> {
  await device.sync();
  const before = device.memory().allocatedBytes;
  device.resetPeakMemory();
  let { out, wallMs, gpuMs } = await time(device, fn);
  const peakBytes = device.memory().peakBytes - before;
  const firstCallMs = wallMs;

  const times: number[] = [];
  let total = 0;
  do {
    out.dispose();
    ({ out, wallMs, gpuMs } = await time(device, fn));
    times.push(device.info.timestamps ? gpuMs : wallMs);
    total += wallMs;
  } while (times.length < MAX_RUNS && total + wallMs <= RUNS_MS);
  const measurement = { firstCallMs, medianMs: median(times), runs: times.length, peakBytes };
  return { measurement, out };
}

interface Timed {
  readonly out: Tensor;
  /** Until the result is there. */
  readonly wallMs: number;
  /** Of the kernels; NaN where the device cannot tell. */
  readonly gpuMs: number;
}

async function time(device: Device, fn: () => Tensor): Promise<Timed> {
  const start = performance.now();
  const { result, milliseconds } = await device.profile(async () => {
    const out = fn();
    try {
      await device.sync();
    } catch (error) {
      out.dispose();
      throw error;
    }
    return { out, wallMs: performance.now() - start };
  });
  return { ...result, gpuMs: milliseconds };
}

async function largestDifference(a: Tensor, b: Tensor): Promise<number> {
  const [first, second] = [await a.data(), await b.data()];
  let largest = 0;
  for (let i = 0; i < first.length; i++) {
    const difference = Math.abs(first[i]! - second[i]!);
    if (Number.isNaN(difference)) return NaN;
    largest = Math.max(largest, difference);
  }
  return largest;
}

/** The first reason why the formula cannot take the inputs; null if it can. */
function mathRefusal(inputs: Inputs): string | null {
  return MathForwardOp.notSupportedReasons(...inputs)[0] ?? null;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[sorted.length >> 1]!;
  return sorted.length % 2 === 1 ? upper : (sorted[(sorted.length >> 1) - 1]! + upper) / 2;
}
