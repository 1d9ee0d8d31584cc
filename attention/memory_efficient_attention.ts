/** The public functions: check the arguments, choose an op, run it. */
import { noteEnd } from "../gpu/autograd/record.ts";
import { assertArguments, checkedOptions, type OptionNames } from "../gpu/checks.ts";
import type { Tensor } from "../gpu/tensor/tensor.ts";
import { recordedAttention } from "./autograd.ts";
import { chooseOp, type ForwardResult } from "./dispatch.ts";
import { ATTENTION_OPTIONS, attentionInputs, type AttentionOptions } from "./inputs.ts";
import {
  type AttentionBackwardOp,
  type AttentionForwardOp,
  forwardOpBehind,
  forwardOpsFor,
} from "./ops/mod.ts";

/** Options of the functions that compute attention without gradients. */
export interface AttentionForwardOptions extends AttentionOptions {
  /** The op to use, whatever the others could do; by default the first that supports the inputs. */
  op?: AttentionForwardOp | undefined;
}

/** The ops to use, forward and backward; by default the first that supports the inputs. */
export type AttentionOps =
  | AttentionForwardOp
  | readonly [AttentionForwardOp | undefined, AttentionBackwardOp | undefined];

/** Options of {@linkcode memoryEfficientAttention} and its kin. */
export interface MemoryEfficientAttentionOptions extends AttentionOptions {
  /** The op to use, or the two for forward and backward, whatever the others could do. */
  op?: AttentionOps | undefined;
}

/** Names of both. */
const OPTIONS: OptionNames<AttentionForwardOptions & MemoryEfficientAttentionOptions> = {
  ...ATTENTION_OPTIONS,
  op: "",
};

/** What to write instead of further arguments, which xformers takes in this order. */
const FURTHER = "write { attnBias, p: 0.1, scale, op }";

/**
 * Exact attention, `softmax(scale · Q Kᵀ + bias) V`, whose memory grows with the length of the sequence
 * and not with its square: scores exist only in tiles, inside the kernel (Rabe and Staats,
 * "Self-attention does not need O(n²) memory", 2021, https://arxiv.org/abs/2112.05682).
 *
 * Equivalent to, in PyTorch on `[B, H, M, K]`:
 * `softmax(q @ k.transpose(-2, -1) * scale + bias, -1) @ v`.
 *
 * Inputs are f32, f16 or bf16, all three alike, of any sizes, 0 included, and may be strided views, such as
 * slices of one packed qkv tensor: nothing is copied. Sums are f32 whatever the inputs. A query that may see
 * no key gives 0. Keys that a mask hides are not looked at, even if they are NaN.
 *
 * With `p` above 0 weights are dropped by Philox 4x32-10 (Salmon et al., 2011): whether one is depends on the
 * seed, the sequence, the head and the places of query and key in the sequence, and on nothing else, so all
 * ops drop the same ones. Weights that are kept grow by 1 / (1 - p).
 *
 * Gradients flow to query, key and value, and to a tensor bias, by a backward pass that keeps no scores either:
 * what is saved is the inputs, the result and two numbers a row and head.
 *
 * @param query `[B, Mq, H, K]`, `[B, Mq, K]` or `[B, Mq, G, H, K]`. Mind the order: the sequence comes
 * before the heads.
 * @param key `[B, Mkv, H, K]` or of the query's rank. Fewer heads, if their number divides the query's,
 * make grouped-query attention.
 * @param value `[B, Mkv, H, Kv]` or of the query's rank; `Kv` may differ from `K`.
 * @param options Mask or bias, dropout, scale, element type of the result, op.
 * @returns Of the query's shape, with `Kv` as its last size. Time O(B H Mq Mkv (K + Kv)), memory
 * O(B Mq H Kv).
 * @throws {TypeError} For wrong ranks, dtypes or devices, and disposed tensors.
 * @throws {RangeError} For sizes that disagree, p outside [0, 1], or if no op supports the inputs.
 *
 * @example Causal self-attention
 * ```ts
 * import {
 *   LowerTriangularMask,
 *   memoryEfficientAttention,
 *   requestDevice,
 * } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const q = device.randn([2, 128, 8, 64], { seed: 1 });
 * const k = device.randn([2, 128, 8, 64], { seed: 2 });
 * const v = device.randn([2, 128, 8, 64], { seed: 3 });
 * const out = memoryEfficientAttention(q, k, v, { attnBias: new LowerTriangularMask() });
 * console.log(out.shape); // [2, 128, 8, 64]
 * ```
 */
export function memoryEfficientAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: MemoryEfficientAttentionOptions = {},
): Tensor {
  const name = "memoryEfficientAttention";
  assertArguments(`run ${name}`, arguments, 4, FURTHER);
  checkedOptions(`run ${name}`, options, OPTIONS);
  return recordedAttention(name, query, key, value, options, false).out;
}

/**
 * As {@linkcode memoryEfficientAttention}, but never recorded for a backward pass: what it computes is the
 * same.
 */
export function memoryEfficientAttentionForward(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionForwardOptions = {},
): Tensor {
  const name = "memoryEfficientAttentionForward";
  assertArguments(`run ${name}`, arguments, 4, FURTHER);
  return run(name, query, key, value, options, false).out;
}

/** What a forward pass gives that a backward pass, or a merge of partial results, needs. */
export interface AttentionWithLse {
  /** As {@linkcode memoryEfficientAttention} gives it. */
  readonly out: Tensor;
  /**
   * Natural logarithm of the sum of exponentials of each row's scores, f32: `[B, H, Mq]`, with H = 1
   * for 3-D inputs and `[B, G, H, Mq]` for 5-D ones; -inf for a row that may see no key. What the rounding to f32
   * left out lies beside each number, unseen: see {@linkcode mergeAttentions}.
   */
  readonly lse: Tensor;
}

/**
 * As {@linkcode memoryEfficientAttentionForward}, and the log-sum-exp of the scores with it: what
 * {@linkcode memoryEfficientAttentionBackward} needs. With dropout, give both the same `seed`. Neither result is
 * recorded for `backward()`, whatever the name says, which is xformers'; both of
 * {@linkcode memoryEfficientAttentionPartial} are.
 */
export function memoryEfficientAttentionForwardRequiresGrad(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionForwardOptions = {},
): AttentionWithLse {
  const name = "memoryEfficientAttentionForwardRequiresGrad";
  assertArguments(`run ${name}`, arguments, 4, FURTHER);
  const { out, lse } = run(name, query, key, value, options, true);
  return { out, lse: lse! };
}

/**
 * Attention over a part of the keys, to be joined with that over others by {@linkcode mergeAttentions}: for
 * keys that do not fit at once, that lie in several places, or that many sequences share.
 *
 * As {@linkcode memoryEfficientAttentionForwardRequiresGrad}, but f32 unless `outputDtype` says otherwise, so
 * that merging does not round twice, and recorded for a backward pass: gradients flow through the output and
 * through the log-sum-exp. With dropout give each part a seed of its own.
 *
 * @example Two halves of the keys, and the whole
 * ```ts
 * import {
 *   memoryEfficientAttentionPartial,
 *   mergeAttentions,
 *   requestDevice,
 * } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const q = device.randn([1, 8, 2, 16], { seed: 1 });
 * const k = device.randn([1, 100, 2, 16], { seed: 2 });
 * const v = device.randn([1, 100, 2, 16], { seed: 3 });
 * const halves = [[0, 50], [50, 100]].map(([begin, end]) =>
 *   memoryEfficientAttentionPartial(q, k.slice(1, begin!, end), v.slice(1, begin!, end))
 * );
 * const { out } = mergeAttentions(halves.map(({ out }) => out), halves.map(({ lse }) => lse));
 * console.log(out.shape); // [1, 8, 2, 16]
 * ```
 */
export function memoryEfficientAttentionPartial(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: MemoryEfficientAttentionOptions = {},
): AttentionWithLse {
  const name = "memoryEfficientAttentionPartial";
  assertArguments(`run ${name}`, arguments, 4, FURTHER);
  const { out, lse } = recordedAttention(
    name,
    query,
    key,
    value,
    { outputDtype: "f32", ...checkedOptions(`run ${name}`, options, OPTIONS) },
    true,
  );
  return { out, lse: lse! };
}

/** Runs a function that is never recorded. */
function run(
  name: string,
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: AttentionForwardOptions,
  wantsLse: boolean,
): ForwardResult {
  const { op } = checkedOptions(`run ${name}`, options, OPTIONS);
  const inputs = attentionInputs(name, query, key, value, options);
  const forced = op === undefined ? undefined : forwardOpBehind(name, op);
  const chosen = chooseOp(name, inputs, forwardOpsFor(inputs), forced);
  const { out, lse } = chosen.forward(inputs, { lse: wantsLse });
  const recorded = wantsLse
    ? "memoryEfficientAttentionPartial, whose out and lse have gradients"
    : "memoryEfficientAttention";
  noteEnd(
    [query, key, value, inputs.biasTensor],
    lse ? [out, lse] : [out],
    `${name} is never recorded; use ${recorded}`,
  );
  return { out, lse };
}
