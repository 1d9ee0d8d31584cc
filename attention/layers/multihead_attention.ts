/** Multi-head attention as a layer, after PyTorch. */
import {
  assertArguments,
  checkedOptions,
  limitArguments,
  type OptionNames,
} from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { SeedSequence } from "../../gpu/random/seeds.ts";
import { formatShape, sameShape } from "../../gpu/shape.ts";
import { cat } from "../../gpu/tensor/join.ts";
import { linear } from "../../gpu/tensor/linear_algebra.ts";
import { assertTensor } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { assertProbability } from "./dropout.ts";
import { Linear } from "./linear.ts";
import { assertSize, Module, parameter } from "./module.ts";
import { attend, attendWithWeights, type Heads, withExtraColumns } from "./multihead_heads.ts";
import { initialWeights } from "./multihead_weights.ts";

/** Options of {@linkcode MultiheadAttention}; names and defaults are PyTorch's, in camelCase. */
export interface MultiheadAttentionOptions {
  /** Probability of dropping an attention weight in training. Default 0. */
  dropout?: number;
  /** Whether the projections have a bias. Default `true`. */
  bias?: boolean;
  /** Whether a learned key and value are put beside those given. Default `false`. */
  addBiasKv?: boolean;
  /** Whether a key and a value of zeros are put beside those given. Default `false`. */
  addZeroAttn?: boolean;
  /** Size of the key's last axis. Default `embedDim`. */
  kdim?: number;
  /** Size of the value's last axis. Default `embedDim`. */
  vdim?: number;
  /** Whether inputs are `[N, L, E]` and not `[L, N, E]`. Default `false`. */
  batchFirst?: boolean;
  /** Seed of the initial weights and of the dropout in training; default a new one every time. */
  seed?: number;
}

const OPTIONS: OptionNames<MultiheadAttentionOptions> = {
  dropout: "number",
  bias: "boolean",
  addBiasKv: "",
  addZeroAttn: "",
  kdim: "",
  vdim: "",
  batchFirst: "",
  seed: "",
};

/** Options of {@linkcode MultiheadAttention.forward}. */
export interface MultiheadAttentionForwardOptions {
  /** `[N, S]`, or `[S]` without a batch. bool: true keys are ignored; a float is added to the scores. */
  keyPaddingMask?: Tensor | null | undefined;
  /** Whether to return the attention weights, which takes O(N H L S) memory. Default `true`. */
  needWeights?: boolean | undefined;
  /**
   * `[L, S]`, or `[N * numHeads, L, S]`. bool: true means that a query may not attend, the opposite of
   * `scaledDotProductAttention`; a float is added to the scores.
   */
  attnMask?: Tensor | null | undefined;
  /** Whether returned weights are the mean over the heads. Default `true`. */
  averageAttnWeights?: boolean | undefined;
  /**
   * Whether query `i` sees keys `j <= i` only, besides what `attnMask` hides. In PyTorch it is a hint that
   * `attnMask` is the causal mask, and needs one; here it needs none. Default `false`.
   */
  isCausal?: boolean | undefined;
}

const FORWARD_OPTIONS: OptionNames<MultiheadAttentionForwardOptions> = {
  keyPaddingMask: "",
  needWeights: "boolean",
  attnMask: "TensorBase",
  averageAttnWeights: "",
  isCausal: "",
};

/** What {@linkcode MultiheadAttention.forward} returns. */
export interface MultiheadAttentionResult {
  /** In the query's layout, `[L, N, E]`, `[N, L, E]` or `[L, E]`. */
  readonly out: Tensor;
  /**
   * After dropout, as in PyTorch: `[N, L, S]`, or `[N, H, L, S]` if not averaged, without N if there is no
   * batch. S counts the learned key and the key of zeros too. `undefined` unless asked for.
   */
  readonly weights: Tensor | undefined;
}

/** N, L and S of one call. */
interface Sizes {
  readonly N: number;
  readonly L: number;
  readonly S: number;
}

/**
 * Attention of a query to keys and values, with projections, after `torch.nn.MultiheadAttention` and with
 * its weights: `in_proj_weight [3E, E]` (all of q, then k, then v), or with `kdim` or `vdim` other than E
 * `q_proj_weight [E, E]`, `k_proj_weight [E, kdim]`, `v_proj_weight [E, vdim]`; `in_proj_bias [3E]`,
 * `out_proj.weight [E, E]`, `out_proj.bias [E]`, and `bias_k`, `bias_v` `[1, 1, E]`.
 *
 * With `needWeights: false` the memory grows with L and S and not with their product: a key padding mask
 * stays `[N, S]`, and causal attention needs no mask in memory; but `attnMask` and `keyPaddingMask` at
 * once are joined to `[N, L, S]`. With weights, scores are kept, O(N H L S).
 *
 * A query that may see no key gives weights of 0 (PyTorch: NaN), and so the bias of the last projection.
 *
 * @example Causal self-attention without the weights
 * ```ts
 * import { MultiheadAttention, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const attention = new MultiheadAttention(device, 64, 4, { batchFirst: true, seed: 1 });
 * const x = device.randn([2, 100, 64], { seed: 2 });
 * const { out } = attention.forward(x, x, x, { isCausal: true, needWeights: false });
 * console.log(out.shape); // [2, 100, 64]
 * ```
 */
export class MultiheadAttention extends Module {
  static {
    limitArguments(this, {
      forward: [4, "write { keyPaddingMask, needWeights: false, attnMask }"],
    });
  }

  /** E. */
  readonly embedDim: number;
  /** H. */
  readonly numHeads: number;
  /** Probability of dropping an attention weight in training. */
  readonly dropout: number;
  /** Whether inputs are `[N, L, E]` and not `[L, N, E]`. */
  readonly batchFirst: boolean;
  /** E to E. */
  readonly outProj: Linear;
  readonly #addZeroAttn: boolean;
  readonly #lastAxes: readonly [query: number, key: number, value: number];
  readonly #weights: Record<string, Tensor>;
  readonly #seeds: SeedSequence;

  /** Makes the layer with random weights: Xavier's, and zeros for biases. */
  constructor(
    device: Device,
    embedDim: number,
    numHeads: number,
    options: MultiheadAttentionOptions = {},
  ) {
    assertArguments("make MultiheadAttention", arguments, 4, "write { dropout: 0.1 }");
    super();
    const { dropout = 0, bias = true, kdim = embedDim, vdim = embedDim } = checkedOptions(
      "make MultiheadAttention",
      options,
      OPTIONS,
    );
    assertDevice("make MultiheadAttention", device);
    for (const [name, size] of Object.entries({ embedDim, numHeads, kdim, vdim })) {
      assertSize("MultiheadAttention", name, size);
    }
    if (embedDim % numHeads !== 0) {
      throw new RangeError(
        `Cannot make MultiheadAttention: embedDim is ${embedDim} and numHeads ${numHeads}, ` +
          "expected a number that divides it",
      );
    }
    assertProbability("MultiheadAttention", "dropout", dropout);
    this.embedDim = embedDim;
    this.numHeads = numHeads;
    this.dropout = dropout;
    this.batchFirst = options.batchFirst ?? false;
    this.#addZeroAttn = options.addZeroAttn ?? false;
    this.#lastAxes = [embedDim, kdim, vdim];
    this.#seeds = new SeedSequence(options.seed);
    this.#weights = initialWeights(device, this.#lastAxes, {
      bias,
      biasKv: options.addBiasKv ?? false,
      seeds: this.#seeds,
    });
    const seed = this.#seeds.next();
    this.outProj = new Linear(device, embedDim, embedDim, { bias: false, seed });
    if (bias) this.outProj.bias = parameter(() => device.zeros([embedDim]));
  }

  /**
   * Attends to the values of the keys.
   *
   * @param query `[L, N, E]`; `[N, L, E]` with `batchFirst`; `[L, E]` without a batch.
   * @param key `[S, N, kdim]`, in the query's layout.
   * @param value `[S, N, vdim]`, in the query's layout.
   * @param options Masks, and whether the weights are wanted.
   * @returns `out` in the query's layout, a strided view, and `weights`.
   * @throws {TypeError} For masks of other dtypes than bool and floats.
   * @throws {RangeError} For shapes that do not go together.
   */
  forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    options: MultiheadAttentionForwardOptions = {},
  ): MultiheadAttentionResult {
    checkedOptions("run MultiheadAttention", options, FORWARD_OPTIONS);
    for (const [name, tensor] of Object.entries({ query, key, value })) {
      assertTensor("run MultiheadAttention", name, tensor);
    }
    const sizes = this.#checkedSizes(query, key, value);
    const { N, L, S } = sizes;
    const isBatched = query.ndim === 3;
    assertMask("keyPaddingMask", options.keyPaddingMask, [isBatched ? [N, S] : [S]]);
    assertMask("attnMask", options.attnMask, [[L, S], [N * this.numHeads, L, S]]);
    const { needWeights = true, averageAttnWeights = true } = options;
    return tidy(() => {
      const heads = this.#heads(query, key, value, sizes, options);
      const { out, weights } = needWeights
        ? attendWithWeights(heads)
        : { out: attend(heads), weights: undefined };
      const projected = this.outProj.forward(out.reshape([N, L, this.embedDim]));
      const shown = averageAttnWeights ? weights?.mean({ axis: 1 }) : weights;
      if (!isBatched) return { out: projected.select(0, 0), weights: shown?.select(0, 0) };
      return { out: this.batchFirst ? projected : projected.transpose(0, 1), weights: shown };
    });
  }

  #heads(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    { N, L, S }: Sizes,
    { attnMask, keyPaddingMask, isCausal = false }: MultiheadAttentionForwardOptions,
  ): Heads {
    const H = this.numHeads;
    const { bias_k: biasK, bias_v: biasV } = this.#weights;
    const extra = (biasK ? 1 : 0) + (this.#addZeroAttn ? 1 : 0);
    const [q, k, v] = this.#projected(query, key, value).map((x) => this.#splitHeads(x));
    const masks: Tensor[] = [];
    if (attnMask) masks.push(attnMask.reshape(attnMask.ndim === 2 ? [1, 1, L, S] : [N, H, L, S]));
    if (keyPaddingMask) masks.push(keyPaddingMask.reshape([N, 1, 1, S]));
    const p = this.training ? this.dropout : 0;
    return {
      q: q!,
      k: this.#withExtraRows(k!, biasK),
      v: this.#withExtraRows(v!, biasV),
      masks: masks.map((mask) => withExtraColumns(mask, extra)),
      isCausal,
      extra,
      p,
      seed: p > 0 ? this.#seeds.next() : undefined,
    };
  }

  /** q, k and v in the layout of the inputs; those of self-attention are views of one product. */
  #projected(query: Tensor, key: Tensor, value: Tensor): Tensor[] {
    const {
      in_proj_weight: packed,
      in_proj_bias: bias,
      q_proj_weight: wq,
      k_proj_weight: wk,
      v_proj_weight: wv,
    } = this.#weights;
    if (packed && query === key && key === value) return linear(query, packed, bias).chunk(3, -1);
    const weights = packed?.chunk(3) ?? [wq!, wk!, wv!];
    const biases = bias?.chunk(3);
    return [query, key, value].map((x, i) => linear(x, weights[i]!, biases?.[i]));
  }

  /** `[N, L, H, D]`, of whatever layout the inputs have. */
  #splitHeads(x: Tensor): Tensor {
    const heads = x.reshape([
      ...(x.ndim === 2 ? [1] : []),
      ...x.shape.slice(0, -1),
      this.numHeads,
      this.embedDim / this.numHeads,
    ]);
    return x.ndim === 2 || this.batchFirst ? heads : heads.transpose(0, 1);
  }

  /** Keys or values `[N, S, H, D]` behind the learned row and the row of zeros, where there are any. */
  #withExtraRows(x: Tensor, learned: Tensor | undefined): Tensor {
    const [N, , H, D] = x.shape as [number, number, number, number];
    const rows: Tensor[] = [];
    if (learned) rows.push(learned.reshape([1, 1, H, D]).expand([N, 1, H, D]));
    if (this.#addZeroAttn) rows.push(x.device.zeros([N, 1, H, D]));
    return rows.length === 0 ? x : cat([...rows, x], 1);
  }

  #checkedSizes(query: Tensor, key: Tensor, value: Tensor): Sizes {
    const inputs = [query, key, value];
    const rank = query.ndim;
    const [batchAxis, sequenceAxis] = this.batchFirst && rank === 3 ? [0, 1] : [1, 0];
    const N = rank === 3 ? query.shape[batchAxis]! : 1;
    const [L, S] = [query, key].map(({ shape }) => shape[sequenceAxis]!) as [number, number];
    const layout = <T>(n: T, m: T, c: T): T[] => {
      if (rank === 2) return [m, c];
      return this.batchFirst ? [n, m, c] : [m, n, c];
    };
    const fits = (rank === 2 || rank === 3) &&
      inputs.every(({ shape }, i) =>
        sameShape(shape, layout(N, i === 0 ? L : S, this.#lastAxes[i]!))
      );
    if (fits) return { N, L, S };
    const shapes = inputs.map(({ shape }) => formatShape(shape));
    const expected = this.#lastAxes.map((size, i) =>
      `[${layout("N", i === 0 ? "L" : "S", `${size}`).join(", ")}]`
    );
    throw new RangeError(
      `Cannot run MultiheadAttention: query, key and value have shapes ${shapes.join(", ")}, ` +
        `expected ${expected.join(", ")}${rank === 2 ? "" : ", or all without N"}`,
    );
  }

  /** The layer's own weights. */
  protected override weights(): Record<string, Tensor> {
    return { ...this.#weights };
  }

  /** Replaces one of them. */
  protected override setWeight(name: string, tensor: Tensor): void {
    this.#weights[name] = tensor;
  }

  /** The layer within. */
  protected override children(): Record<string, Module> {
    return { out_proj: this.outProj };
  }
}

/** Throws unless a mask has a dtype that masks may have, and one of these shapes. */
function assertMask(
  name: string,
  mask: Tensor | null | undefined,
  shapes: readonly number[][],
): void {
  if (mask === undefined || mask === null) return;
  assertTensor("run MultiheadAttention", name, mask);
  const fail = (kind: typeof RangeError | typeof TypeError, what: string) => {
    throw new kind(`Cannot run MultiheadAttention: ${name} has ${what}`);
  };
  if (!["bool", "f32", "f16", "bf16"].includes(mask.dtype)) {
    fail(TypeError, `dtype ${mask.dtype}, expected bool (true: blocked), f32, f16 or bf16 (added)`);
  }
  if (!shapes.some((shape) => sameShape(shape, mask.shape))) {
    const expected = shapes.map(formatShape).join(" or ");
    fail(RangeError, `shape ${formatShape(mask.shape)}, expected ${expected}`);
  }
}
