/**
 * Attention under PyTorch's name and in its layout: the heads before the sequence, any number of leading
 * axes, and masks that say who may attend. By views alone: the axes are put in the order that
 * `memoryEfficientAttention` takes, and back.
 */
import {
  assertArguments,
  checkedOptions,
  isProbability,
  type OptionNames,
  told,
} from "../gpu/checks.ts";
import { tidy } from "../gpu/lifetime.ts";
import { formatShape, numel, sameShape } from "../gpu/shape.ts";
import { Tensor } from "../gpu/tensor/tensor.ts";
import { AttentionBias, LowerTriangularMask } from "./masks/mod.ts";
import { memoryEfficientAttention } from "./memory_efficient_attention.ts";
import type { AttentionForwardOp } from "./ops/mod.ts";

/** Options of {@linkcode scaledDotProductAttention}; names and defaults are PyTorch's, in camelCase. */
export interface ScaledDotProductAttentionOptions {
  /**
   * A tensor that broadcasts to `[N, ..., Hq, L, S]`: bool says "may attend", f32, f16 and bf16 are added
   * to the scaled scores. Or one of the masks that `memoryEfficientAttention` takes, as PyTorch takes
   * those of `torch.nn.attention.bias`; its batch is then all leading axes in one. Default none, which null
   * says too.
   */
  attnMask?: Tensor | AttentionBias | null | undefined;
  /** Probability of dropping a weight, in [0, 1]; always applied, pass 0 outside training. Default 0. */
  dropoutP?: number | undefined;
  /**
   * Whether query `i` sees keys `j <= i` only, counted from the top left corner also where L and S
   * differ. Not together with `attnMask`. Default `false`.
   */
  isCausal?: boolean | undefined;
  /** Factor on the scores, before the mask; may be 0. Default `E ** -0.5` (1 where E is 0). */
  scale?: number | undefined;
  /** Whether key and value may have fewer heads than the query. Default `false`. */
  enableGqa?: boolean | undefined;
  /** Seed of the dropout, a whole number below 2^53; default a new one every time. */
  seed?: number | undefined;
  /** The op to use; by default the first that supports the inputs. */
  op?: AttentionForwardOp | undefined;
}

const OPTIONS: OptionNames<ScaledDotProductAttentionOptions> = {
  attnMask: "AttentionBias TensorBase",
  dropoutP: "number",
  isCausal: "boolean",
  scale: "",
  enableGqa: "",
  seed: "",
  op: "",
};

/**
 * Exact attention, `softmax(scale · Q Kᵀ + mask) V`, after
 * `torch.nn.functional.scaled_dot_product_attention`: {@linkcode memoryEfficientAttention} with the heads
 * before the sequence.
 *
 * The leading axes fold into one. Nothing is copied where strides allow it, as they do for all tensors of
 * up to 4 axes and all contiguous ones. A tensor mask is never expanded along the heads, L or S. With
 * several leading axes it keeps its size if it has all of them, none, or (without `enableGqa`) the first
 * or the last few; a mask of any other pattern, such as `[N1, 1, N3, 1, L, S]`, is copied once for each
 * index along the leading axes.
 *
 * A query that may see no key gives 0. Gradients flow to query, key, value and an added mask.
 *
 * @param query `[N, ..., Hq, L, E]`; or `[Hq, L, E]`, or `[L, E]` for one head. Mind the order: the heads
 * come before the sequence.
 * @param key `[N, ..., H, S, E]`, of the query's rank. H is Hq, or with `enableGqa` a divisor of it: query
 * head `h` reads key head `floor(h / (Hq / H))`.
 * @param value `[N, ..., H, S, Ev]`, of the query's rank.
 * @param options Mask, dropout, scale, op.
 * @returns `[N, ..., Hq, L, Ev]`, a strided view of memory in which the sequence comes before the heads.
 * Time O(N Hq L S (E + Ev)), memory O(N Hq L Ev).
 * @throws {TypeError} For wrong ranks, dtypes or devices, and disposed tensors.
 * @throws {RangeError} For sizes that disagree, `isCausal` together with `attnMask`, or if no op supports
 * the inputs.
 *
 * @example Causal attention, heads before the sequence
 * ```ts
 * import { requestDevice, scaledDotProductAttention } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const query = device.randn([2, 8, 128, 64], { seed: 1 });
 * const key = device.randn([2, 8, 128, 64], { seed: 2 });
 * const value = device.randn([2, 8, 128, 64], { seed: 3 });
 * const out = scaledDotProductAttention(query, key, value, { isCausal: true });
 * console.log(out.shape); // [2, 8, 128, 64]
 * ```
 */
export function scaledDotProductAttention(
  query: Tensor,
  key: Tensor,
  value: Tensor,
  options: ScaledDotProductAttentionOptions = {},
): Tensor {
  const action = "run scaledDotProductAttention";
  assertArguments(action, arguments, 4, "write { attnMask, dropoutP: 0.1, isCausal: true }");
  checkedOptions(action, options, OPTIONS);
  assertInputs(query, key, value, options.enableGqa ?? false);
  assertOptions(query, key, options);
  const { attnMask, isCausal, dropoutP, scale, seed, op } = options;
  return tidy(() => {
    const lead = query.shape.slice(0, -3);
    const isGrouped = query.shape.at(-3) !== key.shape.at(-3);
    const { mask, split } = attnMask instanceof Tensor
      ? foldedMask(attnMask, lead, isGrouped)
      : { mask: attnMask, split: lead.length };
    const [q, k, v] = [query, key, value].map((tensor) => sequenceFirst(tensor, split));
    const out = memoryEfficientAttention(q!, k!, v!, {
      attnBias: isCausal ? new LowerTriangularMask() : mask,
      p: dropoutP ?? 0,
      seed,
      scale,
      op,
    });
    const headsFirst = out.permute(out.ndim === 5 ? [0, 2, 3, 1, 4] : [0, 2, 1, 3]);
    return headsFirst.reshape([...query.shape.slice(0, -1), value.shape.at(-1)!]);
  });
}

/** `[B, M, H, K]` of `[..., H, M, K]`; or `[B, M, G, H, K]`, whose B are the leading axes before `split`. */
function sequenceFirst(tensor: Tensor, split: number): Tensor {
  const batch = folded(tensor.shape.slice(0, -3), split);
  const folds = tensor.reshape([...batch, ...lastThree(tensor.shape)]);
  return folds.permute(batch.length === 2 ? [0, 3, 1, 2, 4] : [0, 2, 1, 3]);
}

/** The mask as a bias of as many axes as the folded inputs have, and where to split their leading axes. */
function foldedMask(
  mask: Tensor,
  lead: readonly number[],
  isGrouped: boolean,
): { mask: Tensor; split: number } {
  const rank = lead.length + 3;
  const shape = [...new Array<number>(rank - mask.ndim).fill(1), ...mask.shape];
  const isRepeated = (axis: number) => shape[axis] !== lead[axis];
  // Axes of size 1 go with either kind.
  const axes = lead.map((_, axis) => axis).filter((axis) => lead[axis] !== 1);
  const changes = axes.filter((axis, i) => i > 0 && isRepeated(axis) !== isRepeated(axes[i - 1]!));
  // A second batch axis would take the place in which memoryEfficientAttention has head groups.
  const canSplit = changes.length === 1 && !isGrouped;
  const split = canSplit ? changes[0]! : lead.length;
  const isEven = canSplit || changes.length === 0;
  const batch = folded(isEven ? shape.slice(0, -3) : lead, split);
  const whole = isEven ? mask : mask.expand([...lead, ...shape.slice(-3)]);
  return { mask: whole.reshape([...batch, ...shape.slice(-3)]), split };
}

/** One batch size for all leading axes; two if they are split. */
function folded(lead: readonly number[], split: number): number[] {
  if (split === lead.length) return [numel(lead)];
  return [numel(lead.slice(0, split)), numel(lead.slice(split))];
}

/** Heads, sequence and head dim; a matrix is of one head. */
function lastThree(shape: readonly number[]): number[] {
  return shape.length === 2 ? [1, ...shape] : shape.slice(-3);
}

function assertInputs(query: Tensor, key: Tensor, value: Tensor, enableGqa: boolean): void {
  for (const [name, tensor] of [["query", query], ["key", key], ["value", value]] as const) {
    if (!(tensor instanceof Tensor)) fail(TypeError, `${name} is ${told(tensor)}`, "a Tensor");
  }
  const inputs = `query is ${formatShape(query.shape)}, key ${formatShape(key.shape)} and value ${
    formatShape(value.shape)
  }`;
  if (query.ndim < 2 || key.ndim !== query.ndim || value.ndim !== query.ndim) {
    fail(TypeError, inputs, "equal ranks of 2 or more: [N, ..., H, L, E]");
  }
  const lead = query.shape.slice(0, -3);
  if ([key, value].some(({ shape }) => !sameShape(shape.slice(0, -3), lead))) {
    fail(RangeError, inputs, "equal sizes along the axes before the heads");
  }
  if (key.shape.at(-1) !== query.shape.at(-1)) {
    fail(RangeError, inputs, "query and key to have one head dim (axis -1)");
  }
  if (key.shape.at(-2) !== value.shape.at(-2)) {
    fail(RangeError, inputs, "key and value to have one length (axis -2)");
  }
  const [heads, keyHeads, valueHeads] = [query, key, value].map(({ shape }) =>
    lastThree(shape)[0]!
  );
  if (keyHeads !== valueHeads) {
    fail(RangeError, inputs, "key and value to have as many heads (axis -3)");
  }
  if (heads === keyHeads) return;
  const counts = `query has ${heads} heads and key ${keyHeads}`;
  if (!enableGqa) {
    fail(
      RangeError,
      counts,
      "as many; enableGqa: true lets query heads share those of key and value",
    );
  }
  if (keyHeads === 0 || heads! % keyHeads! !== 0) {
    fail(RangeError, counts, "with enableGqa a number for the key that divides the query's");
  }
}

function assertOptions(
  query: Tensor,
  key: Tensor,
  { attnMask, isCausal = false, dropoutP = 0 }: ScaledDotProductAttentionOptions,
): void {
  if (!isProbability(dropoutP)) {
    fail(RangeError, `dropoutP is ${told(dropoutP)}`, "a probability in [0, 1]");
  }
  if (attnMask === undefined || attnMask === null) return;
  if (isCausal) {
    fail(
      RangeError,
      "attnMask is given and isCausal is true",
      "one of them, or a mask with both in it",
    );
  }
  if (attnMask instanceof AttentionBias) return;
  if (!(attnMask instanceof Tensor)) {
    fail(
      TypeError,
      `attnMask is ${told(attnMask)}`,
      "a Tensor or a mask such as LowerTriangularMask",
    );
  }
  if (!["bool", "f32", "f16", "bf16"].includes(attnMask.dtype)) {
    const expected = "bool (may attend), f32, f16 or bf16 (added)";
    fail(TypeError, `attnMask has dtype ${attnMask.dtype}`, expected);
  }
  const full = [...query.shape.slice(0, -1), key.shape.at(-2)!];
  const missing = full.length - attnMask.ndim;
  if (
    missing < 0 || attnMask.shape.some((size, i) => size !== 1 && size !== full[i + missing])
  ) {
    const expected = `one that broadcasts to ${formatShape(full)} ([N, ..., Hq, L, S])`;
    fail(RangeError, `attnMask has shape ${formatShape(attnMask.shape)}`, expected);
  }
}

function fail(kind: typeof RangeError | typeof TypeError, what: string, expected: string): never {
  throw new kind(`Cannot run scaledDotProductAttention: ${what}, expected ${expected}`);
}
