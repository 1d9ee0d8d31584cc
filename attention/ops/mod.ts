/** The ops as callers see them: names to force one by, and to ask what it has against an input. */
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import type { ForwardOp } from "../dispatch.ts";
import { attentionInputs, type AttentionOptions } from "../inputs.ts";
import { flashForward } from "./flash.ts";
import { mathForward } from "./math.ts";

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

/** All ops inside, in the order in which they are tried. */
export const FORWARD_OPS: readonly ForwardOp[] = [flashForward, mathForward];

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
 * 2022). f32; any lengths; head dims up to 256; all masks and biases. No memory but the result's.
 */
export const FlashForwardOp: AttentionForwardOp = publish(flashForward);

/**
 * Attention by the formula, one tensor operation after the other, with all scores in memory: the readable
 * baseline. f32; any sizes, as long as the scores fit one buffer.
 */
export const MathForwardOp: AttentionForwardOp = publish(mathForward);

/** All forward ops, in the order in which they are tried. */
export const ALL_FORWARD_OPS: readonly AttentionForwardOp[] = [FlashForwardOp, MathForwardOp];

/** The op that does the work of a published one. */
export function forwardOpBehind(caller: string, op: AttentionForwardOp): ForwardOp {
  const found = behind.get(op);
  if (!found) {
    const names = ["FlashForwardOp", "MathForwardOp"].join(" or ");
    throw new TypeError(`Cannot run ${caller}: op is ${op?.name ?? op}, expected ${names}`);
  }
  return found;
}
