/** Joins results of attention over disjoint sets of keys. */
import { assertArguments, checkedOptions, type OptionNames, told } from "../gpu/checks.ts";
import { type DType, isFloat } from "../gpu/dtype.ts";
import { allocate, type DeviceArray } from "../gpu/array.ts";
import type { Gradients } from "../gpu/autograd/graph.ts";
import { isRecorded, record } from "../gpu/autograd/record.ts";
import { runtimeOf } from "../gpu/device.ts";
import { permuteLayout, unsqueezeLayout } from "../gpu/layout.ts";
import { tidy } from "../gpu/lifetime.ts";
import type { Runtime } from "../gpu/runtime/runtime.ts";
import { formatShape } from "../gpu/shape.ts";
import { arrayOf, arrayOn, assertTensor, tensorParts } from "../gpu/tensor/base.ts";
import { stack } from "../gpu/tensor/join.ts";
import { Tensor, tensorFrom } from "../gpu/tensor/tensor.ts";
import { canStore } from "./kernels/_rows.ts";
import { allocateLse, lowWords } from "./ops/log_sum_exp.ts";
import { runMerge } from "./ops/merge.ts";

/** Options of {@linkcode mergeAttentions}. */
export interface MergeAttentionsOptions {
  /** Whether to give the log-sum-exp of the whole. Default `true`. */
  writeLse?: boolean | undefined;
  /** Element type of the result. Default that of the chunks. */
  outputDtype?: DType | undefined;
}

const OPTIONS: OptionNames<MergeAttentionsOptions> = { writeLse: "boolean", outputDtype: "string" };

/** What {@linkcode mergeAttentions} gives. */
export interface MergedAttention {
  /** `[B, M, H, Kv]`, or of the chunks' rank. */
  readonly out: Tensor;
  /** `[B, H, M]`, f32; `undefined` if it was not wanted. */
  readonly lse: Tensor | undefined;
}

/**
 * Joins what {@linkcode memoryEfficientAttentionPartial} gives for the same queries and disjoint sets of
 * keys: with `m = max(lse)`, `out = sum(exp(lse - m) * out) / sum(exp(lse - m))` and
 * `lse = m + log(sum(exp(lse - m)))` over the chunks. A chunk whose lse is -inf weighs nothing; where all
 * are, out is 0 and lse -inf. Gradients flow to the outputs and the log-sum-exps of the chunks.
 *
 * An f32 far from zero is too coarse for a log-sum-exp: at 1e6 its last place is 0.06, and so weights would be off by
 * up to 3 %. Those that this library makes carry what their rounding left out, unseen: hand them over as they are, in
 * a list, or as views (`slice`, `permute`) of a tensor that was. Copies (`clone`, `contiguous`, `stack`, data read back)
 * are plain numbers, whose weights are within `|lse| * 2**-23` of the exact ones.
 *
 * @param attnSplit A list of `[B, M, H, Kv]` (or `[B, M, Kv]`, `[B, M, G, H, Kv]`), or all of them as one
 * tensor with an axis for the chunks before the others.
 * @param lseSplit As many `[B, H, M]` (`[B, 1, M]`, `[B, G, H, M]`), f32, as a list or one tensor likewise.
 * @param options Whether to give the log-sum-exp; element type of the result.
 * @returns Output and log-sum-exp of the whole. Time O(chunks * elements); a list costs a copy of its chunks.
 * @throws {TypeError} For wrong ranks and dtypes.
 * @throws {RangeError} For no chunks, and sizes that disagree.
 */
export function mergeAttentions(
  attnSplit: Tensor | readonly Tensor[],
  lseSplit: Tensor | readonly Tensor[],
  options: MergeAttentionsOptions = {},
): MergedAttention {
  assertArguments("merge attentions", arguments, 3, "write { writeLse, outputDtype }");
  const { writeLse = true, outputDtype } = checkedOptions("merge attentions", options, OPTIONS);
  return tidy(() => {
    const attn = stacked("attnSplit", attnSplit);
    const lse = stacked("lseSplit", lseSplit);
    const low = stackedLowWords(lseSplit);
    const { device } = attn;
    const runtime = runtimeOf(device);
    const part = arrayOf(attn);
    const partLse = arrayOn(device, lse);
    assertMatch(part, partLse);
    const output = outputDtype ?? part.dtype;
    if (!isFloat(output) || !isFloat(part.dtype)) {
      throw new TypeError(
        `Cannot merge attentions: attnSplit has dtype ${part.dtype} and outputDtype is ${output}, ` +
          "expected f32, f16 or bf16",
      );
    }
    assertFits(runtime, { attnSplit: part, lseSplit: partLse });
    const shape = part.layout.shape.slice(1);
    const written = canStore(output, shape.at(-1)!) ? output : "f32";
    const out = allocate(runtime, shape, written);
    const result = tensorFrom(device, runtime, out);
    const isKept = isRecorded([attn, lse]);
    const whole = writeLse || isKept
      ? tensorFrom(device, runtime, allocateLse(runtime, partLse.layout.shape.slice(1)))
      : undefined;
    runMerge(
      runtime,
      {
        part: groupedOut(part),
        partLse: groupedLse(partLse),
        partLow: low && groupedLse(arrayOn(device, low)),
      },
      { dtype: written, out: out.storage, lse: whole && arrayOf(whole).storage },
    );
    record({
      name: "mergeAttentions",
      inputs: [attn, lse],
      outputs: whole && writeLse ? [result, whole] : [result],
      saves: [attn, lse, low, result, whole],
      backward: mergeGradients,
    });
    return { out: result.to(output), lse: writeLse ? whole : undefined };
  });
}

/**
 * With w_c = exp(lse_c - lse): d out_c = w_c dOut and d lse_c = w_c (dOut . (out_c - out) + dLse). A chunk that
 * weighs nothing has gradients of 0, whatever is in it. Second words count where the chunks have them.
 */
function mergeGradients(
  [grad, lseGrad]: Gradients,
  [attn, lse, low, out, whole]: readonly (Tensor | undefined)[],
): Gradients {
  const rest = lowWordsOf(whole!)!;
  const above = lse!.sub(whole!);
  const weights = (low ? above.add(low.sub(rest)) : above.sub(rest))
    .exp().maskedFill(lse!.eq(-Infinity), 0);
  const perRow = (tensor: Tensor) => {
    const rows = tensor.permute(rowsFirst(tensor.ndim));
    return tensor.ndim + 1 === attn!.ndim ? rows.unsqueeze(-1) : rows;
  };
  const w = perRow(weights);
  const isNothing = w.eq(0);
  const lseTerm = lseGrad ? weights.mul(lseGrad) : undefined;
  if (!grad) return [undefined, lseTerm];
  const products = attn!.sub(out!).mul(grad).sum({ axis: -1, keepDim: true });
  const byRow = products.mul(w).maskedFill(isNothing, 0);
  const rows = lse!.ndim + 1 === attn!.ndim ? byRow.squeeze(-1) : byRow;
  const outTerm = rows.permute(headsFirst(lse!.ndim));
  return [
    grad.mul(w).maskedFill(isNothing, 0),
    lseTerm ? outTerm.add(lseTerm) : outTerm,
  ];
}

/** From `[C, B, heads..., M]` to `[C, B, M, heads...]`. */
function rowsFirst(rank: number): number[] {
  return [0, 1, rank - 1, ...Array.from({ length: rank - 3 }, (_, i) => i + 2)];
}

/** And back. */
function headsFirst(rank: number): number[] {
  return [0, 1, ...Array.from({ length: rank - 3 }, (_, i) => i + 3), 2];
}

function stacked(name: string, split: Tensor | readonly Tensor[]): Tensor {
  if (split instanceof Tensor) return split;
  if (!Array.isArray(split)) {
    throw new TypeError(
      `Cannot merge attentions: ${name} is ${
        told(split)
      }, expected a list of tensors or one tensor`,
    );
  }
  if (split.length === 0) {
    throw new RangeError(`Cannot merge attentions: ${name} is empty, expected at least one chunk`);
  }
  for (const [i, chunk] of split.entries()) {
    assertTensor("merge attentions", `${name}[${i}]`, chunk);
  }
  return stack(split, 0);
}

/** The second words of all chunks, 0 for a chunk that has none; `undefined` if none of them has. */
function stackedLowWords(split: Tensor | readonly Tensor[]): Tensor | undefined {
  if (split instanceof Tensor) return lowWordsOf(split);
  const words = split.map(lowWordsOf);
  if (words.every((low) => low === undefined)) return undefined;
  return stack(words.map((low, c) => low ?? split[c]!.device.zeros(split[c]!.shape)), 0);
}

/** The second words of a log-sum-exp as a tensor, which is not recorded. */
function lowWordsOf(lse: Tensor): Tensor | undefined {
  const { device, runtime, array } = tensorParts(lse);
  const low = lowWords(array);
  if (!low) return undefined;
  low.storage.retain();
  return tensorFrom(device, runtime, low);
}

/** Checks that there is one lse for each row and head of each chunk. */
function assertMatch({ layout: { shape } }: DeviceArray, lse: DeviceArray): void {
  const rank = shape.length;
  if (rank < 4 || rank > 6) {
    throw new TypeError(
      `Cannot merge attentions: chunks have shape ${formatShape(shape.slice(1))}, expected ` +
        "[B, M, K], [B, M, H, K] or [B, M, G, H, K]",
    );
  }
  if (lse.dtype !== "f32") {
    throw new TypeError(`Cannot merge attentions: lseSplit has dtype ${lse.dtype}, expected f32`);
  }
  const [chunks, B, M] = shape;
  const heads = rank === 4 ? [1] : shape.slice(3, -1);
  const expected = [chunks, B, ...heads, M];
  if (formatShape(lse.layout.shape) !== formatShape(expected as number[])) {
    throw new RangeError(
      `Cannot merge attentions: lseSplit has shape ${formatShape(lse.layout.shape)}, expected ` +
        `${formatShape(expected as number[])} to match attnSplit ${formatShape(shape)}`,
    );
  }
  if (chunks === 0) throw new RangeError("Cannot merge attentions: there are no chunks");
}

/** `[C, B, M, G, H, Kv]` of chunks that may lack G, or G and H. */
function groupedOut(part: DeviceArray): DeviceArray {
  let { layout } = part;
  while (layout.shape.length < 6) layout = unsqueezeLayout(layout, 3);
  return { ...part, layout };
}

/** `[C, B, M, G, H]` of log-sum-exps `[C, B, H, M]` or `[C, B, G, H, M]`. */
function groupedLse(lse: DeviceArray): DeviceArray {
  const layout = lse.layout.shape.length === 5 ? lse.layout : unsqueezeLayout(lse.layout, 2);
  return { ...lse, layout: permuteLayout(layout, [0, 1, 4, 2, 3]) };
}

/** Throws if the kernel cannot see all of the chunks at once. */
function assertFits(runtime: Runtime, split: Readonly<Record<string, DeviceArray>>): void {
  const limit = runtime.info.limits.maxStorageBufferBindingSize;
  for (const [name, { storage: { buffer } }] of Object.entries(split)) {
    if (buffer.size <= limit) continue;
    throw new RangeError(
      `Cannot merge attentions: ${name} takes ${buffer.size} bytes, the device's ` +
        `maxStorageBufferBindingSize is ${limit}; merge fewer rows or chunks at a time`,
    );
  }
}
