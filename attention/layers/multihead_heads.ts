/**
 * What `MultiheadAttention` does between its projections: attention of heads, without and with the
 * weights. Masks here are PyTorch's for this layer: a bool says which keys are blocked, the opposite of
 * what attention functions take; a float is added, as everywhere.
 */
import { runtimeOf } from "../../gpu/device.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { seedKey } from "../../gpu/random/philox.ts";
import { arrayOf } from "../../gpu/tensor/base.ts";
import { cat } from "../../gpu/tensor/join.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import { dropWeights } from "../kernels/drop_weights.ts";
import { AttentionBias, LowerTriangularMask } from "../masks/mod.ts";
import { memoryEfficientAttention } from "../memory_efficient_attention.ts";

/** The arguments of one attention. */
export interface Heads {
  /** `[N, L, H, D]`. */
  readonly q: Tensor;
  /** `[N, S, H, D]`. */
  readonly k: Tensor;
  /** `[N, S, H, D]`. */
  readonly v: Tensor;
  /** At most two, of 4 axes, that broadcast to `[N, H, L, S]`. */
  readonly masks: readonly Tensor[];
  /** Whether query `i` sees, besides the extra keys, the others up to its own number. */
  readonly isCausal: boolean;
  /** How many keys were put before the others. */
  readonly extra: number;
  /** Probability of dropping a weight. */
  readonly p: number;
  /** Seed of that. */
  readonly seed: number | undefined;
}

/** A mask with `extra` more columns in front, in which it hides nothing. */
export function withExtraColumns(mask: Tensor, extra: number): Tensor {
  if (extra === 0) return mask;
  const { device, dtype, shape } = mask;
  return cat([device.zeros(shape.with(-1, extra), { dtype }), mask], -1);
}

/** The output, `[N, L, H, D]`, in memory that does not grow with L S, unless a mask does. */
export function attend({ q, k, v, masks, isCausal, extra, p, seed }: Heads): Tensor {
  const bias = asBias(masks);
  let attnBias: AttentionBias | Tensor | undefined = bias;
  if (isCausal) {
    const causal = extra === 0 ? new LowerTriangularMask() : new CausalBehindMask(extra);
    attnBias = bias ? causal.addBias(bias) : causal;
  }
  return memoryEfficientAttention(q, k, v, { attnBias, p, seed });
}

/**
 * The output, `[N, L, H, D]`, and the weights after dropout, `[N, H, L, S]`, the extra keys last: these by
 * the formula, in O(N H L S) memory, up to three times the weights'.
 */
export function attendWithWeights(heads: Heads): { out: Tensor; weights: Tensor } {
  const { extra } = heads;
  const out = attend(heads);
  const weights = tidy(() => weightsOf(heads));
  if (extra === 0) return { out, weights };
  return { out, weights: cat([weights.slice(-1, extra), weights.slice(-1, 0, extra)], -1) };
}

function weightsOf({ q, k, masks, isCausal, extra, p, seed }: Heads): Tensor {
  const [L, D] = [q.shape[1]!, q.shape[3]!];
  let scores = q.permute([0, 2, 1, 3]).mul(D ** -0.5).matmul(k.permute([0, 2, 3, 1]));
  const replace = (next: Tensor) => {
    scores.dispose();
    scores = next;
  };
  for (const mask of masks) replace(masked(scores, mask));
  if (isCausal) replace(scores.maskedFill(causallyBlocked(k, L, extra), -Infinity));
  replace(scores.softmax(-1));
  if (p > 0) replace(dropped(scores, p, seed!));
  return scores;
}

/** `[N, H, L, S]` weights after dropout, of which those are dropped that {@linkcode attend} would drop. */
function dropped(weights: Tensor, p: number, seed: number): Tensor {
  const { device, dtype, shape } = weights;
  const [, , L, S] = shape as [number, number, number, number];
  const rows = device.tensor(Int32Array.from({ length: 2 * L }, (_, at) => at % 2 * (at >> 1)));
  const ones = device.ones(shape).unsqueeze(1);
  const factors = dropWeights(runtimeOf(device), arrayOf(ones), {
    dropout: { p, key: seedKey(seed) },
    keys: arrayOf(device.arange(0, S, 1, { dtype: "i32" }).unsqueeze(0)),
    rows: arrayOf(rows), // All of block 0.
    isPacked: false,
  });
  return weights.mul(tensorFrom(device, runtimeOf(device), factors).squeeze(1).to(dtype));
}

/** Causal attention from the top left over keys before which there are some that every query sees. */
class CausalBehindMask extends AttentionBias {
  override readonly window;

  constructor(extra: number) {
    super();
    this.window = { alignment: "top-left", left: Infinity, right: extra } as const;
  }
}

/** bool `[L, S]`: what {@linkcode CausalBehindMask} hides. */
function causallyBlocked(k: Tensor, L: number, extra: number): Tensor {
  const last = k.device.arange(extra, L + extra, 1, { dtype: "i32" }).reshape([L, 1]);
  return k.device.arange(0, k.shape[1]!, 1, { dtype: "i32" }).gt(last);
}

/** Scores, or a bias, with a mask added: -Infinity where it hides a key. */
function masked(scores: Tensor, mask: Tensor): Tensor {
  if (mask.dtype === "bool") return scores.maskedFill(mask, -Infinity);
  // A score may be NaN there, and NaN - inf is NaN.
  return scores.add(mask).maskedFill(mask.eq(-Infinity), -Infinity);
}

/** All masks as one bias for attention functions: bool (may attend) or added. One keeps its size. */
function asBias([first, second]: readonly Tensor[]): Tensor | undefined {
  if (!first) return undefined;
  if (!second) return first.dtype === "bool" ? first.logicalNot() : first;
  if (first.dtype !== "bool") return masked(first, second);
  if (second.dtype !== "bool") return masked(second, first);
  return first.logicalNot().logicalAnd(second.logicalNot());
}
