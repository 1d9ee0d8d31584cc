/**
 * Kernels that change arrays in place: assignment, and the steps of optimisers, one fused kernel each. Time O(elements), scratch none
 * but for arrays larger than a binding and for operands in the memory that changes.
 */
import { byteSize, type DeviceArray, isDense } from "../array.ts";
import { elementsPerWord, encodingOf } from "../dtype.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, numel } from "../shape.ts";
import { inShares } from "./bindings.ts";
import { copy } from "./map.ts";
import { assertShapeOf, assertUpdatable, step, type StepArrays } from "./step.ts";

const THREADS = 128;

const ASSIGN_PARAMS = paramStruct({
  words: "u32",
  /** The bits of the last word that belong to the array: behind it may lie elements of another. */
  last: "u32",
});

/** A thread copies four words. */
const ASSIGN: Kernel = {
  label: "assign",
  bindings: ["read", "update"],
  source: /* wgsl */ `${ASSIGN_PARAMS.wgsl}
const THREADS = ${THREADS}u;
@group(0) @binding(0) var<storage, read> source: array<vec4u>;
@group(0) @binding(1) var<storage, read_write> out: array<vec4u>;
${WORKGROUP_INDEX}
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let unit = workgroup_index(group, groups) * THREADS + thread;
  let words = vec4u(4u * unit) + vec4u(0u, 1u, 2u, 3u);
  if (words.x >= params.words) { return; }
  var kept = select(vec4u(0xffffffffu), vec4u(0u), words < vec4u(params.words));
  kept = select(kept, vec4u(~params.last), words + vec4u(1u) == vec4u(params.words));
  out[unit] = (source[unit] & ~kept) | (out[unit] & kept);
}
`,
};

/**
 * Writes the elements of one array over those of another.
 *
 * @param target Dense: its elements are the first of its storage, in order.
 * @param source Of the same shape; any type, converted as `Tensor.to` does, and any strides.
 */
export function assign(runtime: Runtime, target: DeviceArray, source: DeviceArray): void {
  assertUpdatable("assign", "the target", target);
  assertShapeOf("assign", "the source", source, target);
  const { dtype, layout: { shape } } = target;
  if (numel(shape) === 0) return;
  const isReady = source.dtype === dtype && isDense(source) && source.storage !== target.storage;
  const ready = isReady ? source : copy(runtime, source, dtype);
  try {
    inShares(runtime, [ready], target, ({ count, arrays, out }) => {
      const words = byteSize([count], dtype) / 4;
      const over = count % elementsPerWord(dtype);
      const last = over === 0 ? 0xffffffff : 2 ** (over * 8 * encodingOf(dtype).bytes) - 1;
      runtime.kernels.dispatch(ASSIGN, {
        storages: [arrays[0]!.binding, out],
        params: ASSIGN_PARAMS.pack({ words, last }),
        workgroups: ceilDiv(words, 4 * THREADS),
      });
    });
  } finally {
    if (!isReady) ready.storage.release();
  }
}

/** Settings of a step of stochastic gradient descent, as PyTorch's `SGD` names them. */
export interface SgdSettings {
  /** Size of the step. */
  readonly learningRate: number;
  /** What remains of the momentum from step to step; 0 for none. */
  readonly momentum: number;
  /** What part of the gradient does not enter the momentum. */
  readonly dampening: number;
  /** What part of the parameter is added to the gradient. */
  readonly weightDecay: number;
  /** Whether the gradient is added to the momentum once more. */
  readonly nesterov: boolean;
  /** Whether the momentum's contents are arbitrary yet: the gradient takes their place. */
  readonly isFirst: boolean;
  /** Whether to go up the gradient. */
  readonly maximize: boolean;
}

/**
 * One step of stochastic gradient descent, computed in f32: with `g += weightDecay p`,
 * `buf = momentum buf + (1 - dampening) g`, it is `p -= learningRate buf`, or `g + momentum buf` in the place
 * of `buf` with Nesterov's rule.
 *
 * @param arrays `momentum` is f32 and dense; wanted where `settings.momentum` is not 0.
 */
export function sgdStep(
  runtime: Runtime,
  arrays: StepArrays & { readonly momentum?: DeviceArray | undefined },
  settings: SgdSettings,
): void {
  const hasMomentum = settings.momentum !== 0;
  const { momentum } = arrays;
  if (hasMomentum && !momentum) {
    throw new TypeError(
      `Cannot take a step: momentum is ${settings.momentum} and there is no array for it, ` +
        `expected one of f32`,
    );
  }
  const flag = (value: boolean): ["u32", number] => ["u32", value ? 1 : 0];
  step(runtime, {
    label: hasMomentum ? "sgd_momentum_step" : "sgd_step",
    state: hasMomentum ? { momentum: momentum! } : {},
    values: {
      rate: ["f32", settings.learningRate],
      decay: ["f32", settings.weightDecay],
      factor: ["f32", settings.momentum],
      entering: ["f32", 1 - settings.dampening],
      is_nesterov: flag(settings.nesterov),
      is_first: flag(settings.isFirst),
      is_up: flag(settings.maximize),
    },
    body: hasMomentum ? SGD_MOMENTUM : SGD,
  }, arrays);
}

/** Settings of a step of Adam with decoupled weight decay, as PyTorch's `AdamW` names them. */
export interface AdamwSettings {
  /** Size of the step. */
  readonly learningRate: number;
  /** What remains of the mean of gradients from step to step. */
  readonly beta1: number;
  /** What remains of the mean of their squares. */
  readonly beta2: number;
  /** What is added to the root of the mean of squares. */
  readonly epsilon: number;
  /** What part of the parameter a step of size 1 takes away. */
  readonly weightDecay: number;
  /** The number of this step, from 1. */
  readonly step: number;
  /** Whether to go up the gradient. */
  readonly maximize: boolean;
}

/**
 * One step of AdamW, computed in f32: `p *= 1 - learningRate weightDecay`, `m = beta1 m + (1 - beta1) g`,
 * `v = beta2 v + (1 - beta2) g^2`, then
 * `p -= learningRate / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon)`, where the host computes what
 * depends on the step t alone in 64-bit floats.
 *
 * @param arrays `mean` (m) and `square` (v) are f32 and dense, and zeros before the first step.
 */
export function adamwStep(
  runtime: Runtime,
  arrays: StepArrays & { readonly mean: DeviceArray; readonly square: DeviceArray },
  { learningRate, beta1, beta2, epsilon, weightDecay, step: t, maximize }: AdamwSettings,
): void {
  step(runtime, {
    label: "adamw_step",
    state: { mean: arrays.mean, square: arrays.square },
    values: {
      rate: ["f32", learningRate / (1 - beta1 ** t)],
      kept: ["f32", 1 - learningRate * weightDecay],
      beta1: ["f32", beta1],
      rest1: ["f32", 1 - beta1],
      beta2: ["f32", beta2],
      rest2: ["f32", 1 - beta2],
      root: ["f32", Math.sqrt(1 - beta2 ** t)],
      epsilon: ["f32", epsilon],
      is_up: ["u32", maximize ? 1 : 0],
    },
    body: ADAMW,
  }, arrays);
}

const SGD = /* wgsl */ `
fn updated(unit: u32, p: vec4f, gradient: vec4f) -> vec4f {
  let g = select(gradient, -gradient, params.is_up != 0u) + params.decay * p;
  return p - params.rate * g;
}
`;

const SGD_MOMENTUM = /* wgsl */ `
fn updated(unit: u32, p: vec4f, gradient: vec4f) -> vec4f {
  let g = select(gradient, -gradient, params.is_up != 0u) + params.decay * p;
  var buffer = g;
  if (params.is_first == 0u) { buffer = params.factor * momentum[unit] + params.entering * g; }
  keep_momentum(unit, buffer);
  let along = select(buffer, g + params.factor * buffer, params.is_nesterov != 0u);
  return p - params.rate * along;
}
`;

const ADAMW = /* wgsl */ `
fn updated(unit: u32, p: vec4f, gradient: vec4f) -> vec4f {
  let g = select(gradient, -gradient, params.is_up != 0u);
  let m = params.beta1 * mean[unit] + params.rest1 * g;
  let v = params.beta2 * square[unit] + params.rest2 * g * g;
  keep_mean(unit, m);
  keep_square(unit, v);
  return p * params.kept - params.rate * (m / (sqrt(v) / params.root + params.epsilon));
}
`;
