/** Multi-head self-attention as a layer. */
import {
  assertArguments,
  assertNotNegative,
  checkedOptions,
  limitArguments,
  type OptionNames,
  told,
} from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { SeedSequence } from "../../gpu/random/seeds.ts";
import { formatShape } from "../../gpu/shape.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { type AttentionOptions, BIAS_OPTIONS } from "../inputs.ts";
import { type AttentionOps, memoryEfficientAttention } from "../memory_efficient_attention.ts";
import { MathBackwardOp, MathForwardOp } from "../ops/mod.ts";
import { assertProbability, Dropout } from "./dropout.ts";
import { LayerNorm } from "./layer_norm.ts";
import { Linear } from "./linear.ts";
import { assertLastAxis, assertSize, Module } from "./module.ts";

/** Options of {@linkcode Attention}; names and defaults are timm's. */
export interface AttentionLayerOptions {
  /** Number of heads; divides `dim`. Default 8. */
  numHeads?: number;
  /** Whether the projection to q, k and v has a bias. Default `false`. */
  qkvBias?: boolean;
  /** Whether q and k are normalised over the head dim, with weights of their own. Default `false`. */
  qkNorm?: boolean;
  /** Added to the variance in these norms. Default 1e-6, as in timm. */
  normEpsilon?: number;
  /** Whether the projection of the result has a bias. Default `true`. */
  projBias?: boolean;
  /** Probability of dropping an attention weight in training. Default 0. */
  attnDrop?: number;
  /** Probability of dropping an element of the result in training. Default 0. */
  projDrop?: number;
  /** Seed of the initial weights and of the dropout in training; default a new one every time. */
  seed?: number;
  /**
   * How to compute: without the scores in memory (default), or by the formula, for comparison.
   */
  attention?: "memory-efficient" | "math";
}

/** Their names. */
export const ATTENTION_LAYER_OPTIONS: OptionNames<AttentionLayerOptions> = {
  numHeads: "number",
  qkvBias: "boolean",
  qkNorm: "",
  normEpsilon: "",
  projBias: "",
  attnDrop: "",
  projDrop: "",
  seed: "",
  attention: "string",
};

/**
 * Self-attention with its projections, as in a vision transformer (Dosovitskiy et al., 2020) and with the
 * weights of timm's and DINOv2's class of this name: `qkv.weight [3C, C]`, whose rows are all of q, then k,
 * then v, each by head and head dim; `proj.weight [C, C]`, `proj.bias [C]`; with `qkNorm` timm's
 * `q_norm.weight [K]`, `q_norm.bias`, `k_norm.weight`, `k_norm.bias` too.
 *
 * q, k and v are views of one projection, `[B, N, H, K]` each: the sequence before the heads, and unscaled,
 * because attention does the scaling.
 *
 * @example Attention over 196 patches
 * ```ts
 * import { Attention, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const attention = new Attention(device, 64, { numHeads: 4, seed: 1 });
 * const y = attention.forward(device.randn([3, 196, 64]));
 * console.log(y.shape); // [3, 196, 64]
 * ```
 */
export class Attention extends Module {
  static {
    limitArguments(this, { forward: [2, "write { attnBias: mask }"] });
  }

  /** C to 3C. */
  readonly qkv: Linear;
  /** Norm of q over the head dim, if there is one. */
  readonly qNorm: LayerNorm | undefined;
  /** Norm of k over the head dim, if there is one. */
  readonly kNorm: LayerNorm | undefined;
  /** C to C. */
  readonly proj: Linear;
  /** Dropout of the result. */
  readonly projDrop: Dropout;
  /** Probability of dropping an attention weight in training. */
  readonly attnDrop: number;
  /** H. */
  readonly numHeads: number;
  readonly #op: AttentionOps | undefined;
  readonly #seeds: SeedSequence;

  /** Makes the layer for inputs `[B, N, dim]`, with random weights. */
  constructor(device: Device, dim: number, options: AttentionLayerOptions = {}) {
    assertArguments("make Attention", arguments, 3, "write { numHeads: 8, qkvBias: true }");
    super();
    const {
      numHeads = 8,
      qkvBias = false,
      qkNorm = false,
      normEpsilon: epsilon = 1e-6,
      projBias = true,
      attnDrop = 0,
      projDrop = 0,
      seed,
      attention = "memory-efficient",
    } = checkedOptions("make Attention", options, ATTENTION_LAYER_OPTIONS);
    assertDevice("make Attention", device);
    assertNotNegative("make Attention", "normEpsilon", epsilon);
    assertSize("Attention", "dim", dim);
    assertSize("Attention", "numHeads", numHeads);
    if (dim % numHeads !== 0) {
      throw new RangeError(
        `Cannot make Attention: dim is ${dim} and numHeads ${numHeads}, which does not divide it`,
      );
    }
    if (attention !== "memory-efficient" && attention !== "math") {
      throw new RangeError(
        `Cannot make Attention: attention is ${told(attention)}, ` +
          'expected "memory-efficient" or "math"',
      );
    }
    for (const [name, p] of Object.entries({ attnDrop, projDrop })) {
      assertProbability("Attention", name, p);
    }
    this.numHeads = numHeads;
    this.attnDrop = attnDrop;
    this.#seeds = new SeedSequence(seed);
    this.qkv = new Linear(device, dim, 3 * dim, { bias: qkvBias, seed: this.#seeds.next() });
    this.qNorm = qkNorm ? new LayerNorm(device, dim / numHeads, { epsilon }) : undefined;
    this.kNorm = qkNorm ? new LayerNorm(device, dim / numHeads, { epsilon }) : undefined;
    this.proj = new Linear(device, dim, dim, { bias: projBias, seed: this.#seeds.next() });
    this.projDrop = new Dropout(projDrop, { seed: this.#seeds.next() });
    this.#op = attention === "math" ? [MathForwardOp, MathBackwardOp] : undefined;
  }

  /**
   * Attends over the tokens of each sequence.
   *
   * @param x `[B, N, C]`.
   * @param options `attnBias`: a mask, or a tensor that broadcasts to `[B, H, N, N]`.
   * @returns `[B, N, C]`.
   */
  forward(
    x: Tensor,
    options: Pick<AttentionOptions, "attnBias"> = {},
  ): Tensor {
    const { attnBias } = checkedOptions("run Attention", options, BIAS_OPTIONS);
    const dim = this.proj.weight.shape[1]!;
    assertLastAxis("Attention", x, dim);
    if (x.ndim !== 3) {
      throw new RangeError(
        `Cannot run Attention: input has shape ${formatShape(x.shape)}, expected [B, N, ${dim}]`,
      );
    }
    const [B, N] = x.shape as [number, number];
    const p = this.training ? this.attnDrop : 0;
    return tidy(() => {
      const heads = [B, N, 3, this.numHeads, dim / this.numHeads];
      const [q, k, v] = this.qkv.forward(x).reshape(heads).unbind(2) as [Tensor, Tensor, Tensor];
      const normed = [this.qNorm?.forward(q) ?? q, this.kNorm?.forward(k) ?? k] as const;
      const out = memoryEfficientAttention(...normed, v, {
        attnBias,
        p,
        seed: p > 0 ? this.#seeds.next() : undefined,
        op: this.#op,
      });
      return this.projDrop.forward(this.proj.forward(out.reshape([B, N, dim])));
    });
  }

  /** The layers within. */
  protected override children(): Record<string, Module> {
    return {
      qkv: this.qkv,
      ...(this.qNorm && this.kNorm ? { q_norm: this.qNorm, k_norm: this.kNorm } : {}),
      proj: this.proj,
      proj_drop: this.projDrop,
    };
  }
}
