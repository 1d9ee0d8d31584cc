/** The model: a small vision transformer (Dosovitskiy et al., 2020). */
import {
  Block,
  type Device,
  LayerNorm,
  Linear,
  Module,
  parameter,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { CLASSES, SIDE } from "./data.ts";

/** How attention is computed. */
export type AttentionKind = "memory-efficient" | "math";

/** Sizes of the model. */
export const SIZES = { patch: 7, dim: 32, depth: 2, heads: 4, mlpRatio: 2 } as const;

/**
 * Digits to classes: each image is cut into patches, which become tokens with learned positions. The head
 * sees what the blocks make of all of them, place by place, which learns in half the epochs that a mean over
 * the tokens takes.
 */
export class DigitTransformer extends Module {
  /** A patch to a token. */
  readonly embed: Linear;
  /** `[N, C]`: what each place adds to its token. */
  readonly position: Tensor;
  /** The transformer. */
  readonly blocks: readonly Block[];
  /** Norm of what they give. */
  readonly norm: LayerNorm;
  /** All tokens to classes. */
  readonly head: Linear;

  /** Makes the model with random weights. */
  constructor(device: Device, { seed, attention }: { seed: number; attention: AttentionKind }) {
    super();
    const { patch, dim, depth, heads: numHeads, mlpRatio } = SIZES;
    // As many seeds for each run as there are parts: no two runs share one.
    const part = (index: number) => seed * (depth + 3) + index;
    const tokens = (SIDE / patch) ** 2;
    this.embed = new Linear(device, patch ** 2, dim, { seed: part(0) });
    this.position = parameter(() => device.randn([tokens, dim], { seed: part(1) }).mul(0.02));
    this.blocks = Array.from(
      { length: depth },
      (_, i) =>
        new Block(device, dim, { numHeads, mlpRatio, qkvBias: true, attention, seed: part(3 + i) }),
    );
    this.norm = new LayerNorm(device, dim);
    this.head = new Linear(device, tokens * dim, CLASSES, { seed: part(2) });
  }

  /** Normalised images `[B, 28, 28]` to scores of classes `[B, 10]`. */
  forward(images: Tensor): Tensor {
    return tidy(() => {
      let tokens = this.embed.forward(patches(images)).add(this.position);
      for (const block of this.blocks) tokens = block.forward(tokens);
      return this.head.forward(this.norm.forward(tokens).reshape([images.shape[0]!, -1]));
    });
  }

  /** The positions. */
  protected override weights(): Record<string, Tensor> {
    return { position: this.position };
  }

  /** The layers within. */
  protected override children(): Record<string, Module> {
    return {
      embed: this.embed,
      ...Object.fromEntries(this.blocks.map((block, i) => [`blocks.${i}`, block])),
      norm: this.norm,
      head: this.head,
    };
  }
}

/** `[B, 28, 28]` cut into squares, row by row: `[B, N, patch²]`. */
function patches(images: Tensor): Tensor {
  const { patch } = SIZES;
  const across = SIDE / patch;
  return images.reshape([-1, across, patch, across, patch])
    .permute([0, 1, 3, 2, 4])
    .reshape([-1, across ** 2, patch ** 2]);
}
