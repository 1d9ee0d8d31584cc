/** A transformer block. */
import {
  assertArguments,
  assertNotNegative,
  assertNumber,
  checkedOptions,
  limitArguments,
  type OptionNames,
} from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { SeedSequence } from "../../gpu/random/seeds.ts";
import { assertTensor } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { type AttentionOptions, BIAS_OPTIONS } from "../inputs.ts";
import { Attention, ATTENTION_LAYER_OPTIONS, type AttentionLayerOptions } from "./attention.ts";
import { DropPath } from "./drop_path.ts";
import { assertProbability } from "./dropout.ts";
import { LayerNorm } from "./layer_norm.ts";
import { LayerScale } from "./layer_scale.ts";
import { Mlp } from "./mlp.ts";
import { assertSize, Module } from "./module.ts";

/** Options of {@linkcode Block}: those of its attention, and these; names and defaults are timm's. */
export interface BlockOptions extends AttentionLayerOptions {
  /** Size between the layers of the mlp, by that of the block. Default 4. */
  mlpRatio?: number;
  /** Whether the projection of attention and the mlp's layers have a bias. Default `true`. */
  projBias?: boolean;
  /** Probability of dropping an element behind that projection and in the mlp in training. Default 0. */
  projDrop?: number;
  /** What the scales of the two branches are at first. Default no such scales. */
  initValues?: number | undefined;
  /** Probability of dropping a branch of a sample in training. Default 0. */
  dropPath?: number;
  /** Added to the variance in all norms. Default 1e-6, as in timm; 1e-5 is PyTorch's. */
  normEpsilon?: number;
}

const OPTIONS: OptionNames<BlockOptions> = {
  ...ATTENTION_LAYER_OPTIONS,
  mlpRatio: "",
  initValues: "",
  dropPath: "",
};

/**
 * A pre-norm transformer block, as in a vision transformer (Dosovitskiy et al., 2020), after timm's class of
 * this name:
 *
 *     x = x + dropPath1(ls1(attn(norm1(x))))
 *     x = x + dropPath2(ls2(mlp(norm2(x))))
 *
 * Its weights have timm's names, which are DINOv2's too: `norm1.weight`, `norm1.bias`, `attn.*` as in
 * {@linkcode Attention}, `ls1.gamma` if there are scales, `norm2.*`, `mlp.fc1.*`, `mlp.fc2.*`, `ls2.gamma`.
 *
 * @example A block of a vision transformer
 * ```ts
 * import { Block, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const block = new Block(device, 64, { numHeads: 4, qkvBias: true, initValues: 1e-5, seed: 1 });
 * const y = block.forward(device.randn([2, 50, 64]));
 * console.log(y.shape); // [2, 50, 64]
 * ```
 */
export class Block extends Module {
  static {
    limitArguments(this, { forward: [2, "write { attnBias: mask }"] });
  }

  /** Norm before attention. */
  readonly norm1: LayerNorm;
  /** Attention over the tokens. */
  readonly attn: Attention;
  /** Scale of what attention adds, if there is one. */
  readonly ls1: LayerScale | undefined;
  /** Drops what attention adds. */
  readonly dropPath1: DropPath;
  /** Norm before the mlp. */
  readonly norm2: LayerNorm;
  /** Two layers for each token by itself. */
  readonly mlp: Mlp;
  /** Scale of what the mlp adds, if there is one. */
  readonly ls2: LayerScale | undefined;
  /** Drops what the mlp adds. */
  readonly dropPath2: DropPath;

  /** Makes the block for inputs `[B, N, dim]`, with random weights. */
  constructor(device: Device, dim: number, options: BlockOptions = {}) {
    assertArguments("make Block", arguments, 3, "write { numHeads: 8, mlpRatio: 4 }");
    super();
    const { mlpRatio = 4, initValues, dropPath = 0, seed, ...ofAttention } = checkedOptions(
      "make Block",
      options,
      OPTIONS,
    );
    const { projBias: bias = true, projDrop: drop = 0, normEpsilon: epsilon = 1e-6 } = ofAttention;
    assertDevice("make Block", device);
    assertSize("Block", "dim", dim);
    assertNumber("make Block", "mlpRatio", mlpRatio);
    assertNumber("make Block", "initValues", initValues ?? 0);
    assertNotNegative("make Block", "normEpsilon", epsilon);
    const hiddenFeatures = Math.trunc(dim * mlpRatio);
    assertSize("Block", "dim * mlpRatio", hiddenFeatures);
    assertProbability("Block", "dropPath", dropPath);
    const seeds = new SeedSequence(seed);
    // First what checks the other options.
    this.attn = new Attention(device, dim, { ...ofAttention, seed: seeds.next() });
    this.mlp = new Mlp(device, dim, { hiddenFeatures, bias, drop, seed: seeds.next() });
    this.norm1 = new LayerNorm(device, dim, { epsilon });
    this.norm2 = new LayerNorm(device, dim, { epsilon });
    // As in timm, 0 is no scale rather than one that keeps the branch off.
    this.ls1 = initValues ? new LayerScale(device, dim, { initValues }) : undefined;
    this.ls2 = initValues ? new LayerScale(device, dim, { initValues }) : undefined;
    this.dropPath1 = new DropPath(dropPath, { seed: seeds.next() });
    this.dropPath2 = new DropPath(dropPath, { seed: seeds.next() });
  }

  /**
   * One block's work.
   *
   * @param x `[B, N, C]`.
   * @param options `attnBias`: a mask, or a tensor that broadcasts to `[B, H, N, N]`.
   * @returns `[B, N, C]`.
   */
  forward(
    x: Tensor,
    options: Pick<AttentionOptions, "attnBias"> = {},
  ): Tensor {
    const { attnBias } = checkedOptions("run Block", options, BIAS_OPTIONS);
    assertTensor("run Block", "input", x);
    return tidy(() => {
      const attended = this.attn.forward(this.norm1.forward(x), { attnBias });
      const middle = x.add(this.dropPath1.forward(this.ls1?.forward(attended) ?? attended));
      const mapped = this.mlp.forward(this.norm2.forward(middle));
      return middle.add(this.dropPath2.forward(this.ls2?.forward(mapped) ?? mapped));
    });
  }

  /** The layers within. */
  protected override children(): Record<string, Module> {
    return {
      norm1: this.norm1,
      attn: this.attn,
      ...(this.ls1 ? { ls1: this.ls1 } : {}),
      drop_path1: this.dropPath1,
      norm2: this.norm2,
      mlp: this.mlp,
      ...(this.ls2 ? { ls2: this.ls2 } : {}),
      drop_path2: this.dropPath2,
    };
  }
}
