/** The ops as callers see them: names to force one by, and to ask what it has against an input. */
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import type { ForwardOp } from "../dispatch.ts";
import { type AttentionInputs, attentionInputs, type AttentionOptions } from "../inputs.ts";
import { flashForward } from "./flash.ts";
import { mathForward } from "./math.ts";
import { prefersSplit, splitForward } from "./split.ts";

/** One way to compute attention; pass it as `op` to use no other. */
export interface AttentionForwardOp {
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

/** All ops inside, in the order in which they are tried on these inputs. */
export function forwardOpsFor(inputs: AttentionInputs): readonly ForwardOp[] {
  return prefersSplit(inputs)
    ? [splitForward, flashForward, mathForward]
    : [flashForward, splitForward, mathForward];
}

const behind = new Map<AttentionForwardOp, ForwardOp>();

function publish(op: ForwardOp): AttentionForwardOp {
  const published: AttentionForwardOp = Object.freeze({
    name: op.name,
    notSupportedReasons(
      query: Tensor,
      key: Tensor,
      value: Tensor,
      options: AttentionOptions = {},
    ): string[] {
      return op.notSupportedReasons(attentionInputs(op.name, query, key, value, options));
    },
  });
  behind.set(published, op);
  return published;
}

/**
 * Memory-efficient attention: one pass over the keys with a running softmax (Dao et al., "FlashAttention",
 * 2022). Any lengths, masks and biases; head dims up to 512, or 256 on adapters without subgroups. No
 * memory but the result's.
 */
export const FlashForwardOp: AttentionForwardOp = publish(flashForward);

/**
 * Attention with the keys cut into parts that are computed side by side and merged: for few queries
 * against many keys, as in decoding (Dao et al., "Flash-Decoding", 2023). Chosen by itself for 256 keys or
 * more if there are at most 16 rows that share a key head, or so few queries, sequences and heads that the
 * device would have little to do. Head dims as {@linkcode FlashForwardOp}.
 */
export const SplitKForwardOp: AttentionForwardOp = publish(splitForward);

/**
 * Attention by the formula, one tensor operation after the other, with all scores in memory: the readable
 * baseline. Any sizes, as long as the scores fit one buffer.
 */
export const MathForwardOp: AttentionForwardOp = publish(mathForward);

/** All forward ops. */
export const ALL_FORWARD_OPS: readonly AttentionForwardOp[] = [
  FlashForwardOp,
  SplitKForwardOp,
  MathForwardOp,
];

/** The op that does the work of a published one. */
export function forwardOpBehind(caller: string, op: AttentionForwardOp): ForwardOp {
  const found = behind.get(op);
  if (!found) {
    const names = "FlashForwardOp, SplitKForwardOp or MathForwardOp";
    throw new TypeError(`Cannot run ${caller}: op is ${op?.name ?? op}, expected ${names}`);
  }
  return found;
}
