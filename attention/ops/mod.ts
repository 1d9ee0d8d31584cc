/** The ops as callers see them: names to force one by, and to ask what it has against an input. */
import { checkedOptions } from "../../gpu/checks.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import type { BackwardOp, ForwardOp, Op } from "../dispatch.ts";
import {
  ATTENTION_OPTIONS,
  type AttentionInputs,
  attentionInputs,
  type AttentionOptions,
} from "../inputs.ts";
import { flashForward } from "./flash.ts";
import { flashBackward } from "./flash_backward.ts";
import { halfForward } from "./half.ts";
import { mathForward } from "./math.ts";
import { mathBackward } from "./math_backward.ts";
import { prefersShuffle, shuffleForward } from "./shuffle.ts";
import { prefersSplit, splitForward } from "./split.ts";

/** An op as callers see it. */
export interface AttentionOp {
  /** What it is called in errors and profiles. */
  readonly name: string;
  /** Why it cannot take these inputs; an empty list if it can. Wrong inputs throw. */
  notSupportedReasons(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options?: AttentionOptions,
  ): string[];
}

/** One way to compute attention; pass it as `op` to use no other. */
export interface AttentionForwardOp extends AttentionOp {
  /** Sets the two kinds apart. */
  readonly direction: "forward";
}

/** One way to compute attention's gradients. */
export interface AttentionBackwardOp extends AttentionOp {
  /** Sets the two kinds apart. */
  readonly direction: "backward";
}

/** All ops inside, in the order in which they are tried on these inputs. */
export function forwardOpsFor(inputs: AttentionInputs): readonly ForwardOp[] {
  if (prefersSplit(inputs)) return [splitForward, shuffleForward, flashForward, mathForward];
  return prefersShuffle(inputs)
    ? [shuffleForward, flashForward, splitForward, mathForward]
    : [flashForward, shuffleForward, splitForward, mathForward];
}

/** The backward ops in the order in which they are tried. */
export const BACKWARD_OPS: readonly BackwardOp[] = [flashBackward, mathBackward];

const behind = new Map<AttentionOp, Op>();

function publish<T extends AttentionOp>(op: Op, direction: string): T {
  const published = Object.freeze({
    name: op.name,
    direction,
    notSupportedReasons(
      query: Tensor,
      key: Tensor,
      value: Tensor,
      options: AttentionOptions = {},
    ): string[] {
      checkedOptions(`run ${op.name}`, options, ATTENTION_OPTIONS);
      return op.notSupportedReasons(attentionInputs(op.name, query, key, value, options));
    },
  }) as unknown as T;
  behind.set(published, op);
  return published;
}

/**
 * Memory-efficient attention: one pass over the keys with a running softmax (Dao et al., "FlashAttention",
 * 2022). Any lengths, masks and biases; head dims up to 512, or 256 on adapters without subgroups. No
 * memory but the result's.
 */
export const FlashForwardOp: AttentionForwardOp = publish(flashForward, "forward");

/**
 * Memory-efficient attention as {@linkcode FlashForwardOp}, with keys and values handed round in the subgroup
 * instead of through workgroup memory: for drivers that compute on the CPU, and GPUs with subgroups of 4 to 16.
 * Head dims up to 256, or 64 for subgroups of 16.
 */
export const ShuffleForwardOp: AttentionForwardOp = publish(shuffleForward, "forward");

/**
 * Attention with the keys cut into parts that are computed side by side and merged: for few queries
 * against many keys, as in decoding (Dao et al., "Flash-Decoding", 2023). Chosen by itself for 256 keys or
 * more if there are at most 16 rows that share a key head, or so few queries, sequences and heads that the
 * device would have little to do. Head dims as {@linkcode FlashForwardOp}.
 */
export const SplitKForwardOp: AttentionForwardOp = publish(splitForward, "forward");

/**
 * Attention by the formula, one tensor operation after the other, with all scores in memory: the readable
 * baseline. Any sizes, as long as the scores fit one buffer.
 */
export const MathForwardOp: AttentionForwardOp = publish(mathForward, "forward");

/**
 * As {@linkcode FlashForwardOp} for f16 inputs, with products in f16 and sums of up to 16 of them rounded to f16;
 * softmax, log-sum-exp and longer sums are f32. For inference where speed counts more than the last digits: outputs
 * are off by some 1e-4 for standard normal inputs, and scores beyond 65,504 overflow. Never chosen unless it is
 * asked for. Needs the device's `shader-f16`.
 */
export const FlashHalfForwardOp: AttentionForwardOp = publish(halfForward, "forward");

/** All forward ops that compute as exactly as their output's type allows. */
export const ALL_FORWARD_OPS: readonly AttentionForwardOp[] = [
  FlashForwardOp,
  ShuffleForwardOp,
  SplitKForwardOp,
  MathForwardOp,
];

/**
 * Gradients without the scores in memory, which are computed again (Dao et al., "FlashAttention", 2022).
 * Everything that {@linkcode FlashForwardOp} takes, as long as no input is larger than a kernel can see.
 */
export const FlashBackwardOp: AttentionBackwardOp = publish(flashBackward, "backward");

/** Gradients by the formula, with all scores in memory: the readable baseline. */
export const MathBackwardOp: AttentionBackwardOp = publish(mathBackward, "backward");

/** All backward ops. */
export const ALL_BACKWARD_OPS: readonly AttentionBackwardOp[] = [FlashBackwardOp, MathBackwardOp];

/** The op that does the work of a published one. */
export function forwardOpBehind(caller: string, op: AttentionForwardOp): ForwardOp {
  const names =
    "FlashForwardOp, ShuffleForwardOp, SplitKForwardOp, MathForwardOp or FlashHalfForwardOp";
  return opBehind<ForwardOp>(caller, op, [...ALL_FORWARD_OPS, FlashHalfForwardOp], names);
}

/** The op that does the work of a published one. */
export function backwardOpBehind(caller: string, op: AttentionBackwardOp): BackwardOp {
  return opBehind<BackwardOp>(caller, op, ALL_BACKWARD_OPS, "FlashBackwardOp or MathBackwardOp");
}

function opBehind<T extends Op>(
  caller: string,
  op: AttentionOp,
  all: readonly AttentionOp[],
  names: string,
): T {
  if (all.includes(op)) return behind.get(op) as T;
  throw new TypeError(`Cannot run ${caller}: op is ${op?.name ?? op}, expected ${names}`);
}
