/** The affine layer. */
import {
  assertArguments,
  checkedOptions,
  limitArguments,
  type OptionNames,
} from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import { freshSeed } from "../../gpu/random/philox.ts";
import { linear } from "../../gpu/tensor/linear_algebra.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { assertLastAxis, assertSize, Module, parameters } from "./module.ts";

/** Options of {@linkcode Linear}. */
export interface LinearOptions {
  /** Whether to add a bias. Default `true`. */
  bias?: boolean;
  /** Seed of the initial weights; default a new one every time. */
  seed?: number;
}

const OPTIONS: OptionNames<LinearOptions> = { bias: "boolean", seed: "number" };

/**
 * `x Wᵀ + b`, after `torch.nn.Linear`: weight `[out, in]`, bias `[out]`, both at first uniform in
 * ±1/√in.
 */
export class Linear extends Module {
  static {
    limitArguments(this);
  }

  /** `[out, in]`. */
  weight: Tensor;
  /** `[out]`, if there is one. */
  bias: Tensor | undefined;

  /** Makes the layer with random weights. */
  constructor(
    device: Device,
    inFeatures: number,
    outFeatures: number,
    options: LinearOptions = {},
  ) {
    assertArguments("make Linear", arguments, 4, "write { bias: false }");
    super();
    const { bias = true, seed = freshSeed() } = checkedOptions("make Linear", options, OPTIONS);
    assertDevice("make Linear", device);
    assertSize("Linear", "inFeatures", inFeatures);
    assertSize("Linear", "outFeatures", outFeatures);
    const bound = inFeatures ** -0.5;
    // One stream of numbers for both, so that one seed is enough and the two do not repeat each other.
    const count = outFeatures * (inFeatures + 1);
    const weights = outFeatures * inFeatures;
    const { weight, bias: tail } = parameters(() => {
      const values = device.rand([count], { seed }).mul(2 * bound).sub(bound);
      return {
        weight: values.slice(0, 0, weights).reshape([outFeatures, inFeatures]).clone(),
        ...(bias ? { bias: values.slice(0, weights, count).clone() } : {}),
      };
    });
    this.weight = weight;
    this.bias = tail;
  }

  /** `x [..., in]` becomes `[..., out]`. */
  forward(x: Tensor): Tensor {
    const [, inFeatures] = this.weight.shape;
    assertLastAxis("Linear", x, inFeatures!);
    return linear(x, this.weight, this.bias);
  }

  /** The layer's own weights. */
  protected override weights(): Record<string, Tensor> {
    return this.bias ? { weight: this.weight, bias: this.bias } : { weight: this.weight };
  }

  /** Replaces one of them. */
  protected override setWeight(name: string, tensor: Tensor): void {
    if (name === "weight") this.weight = tensor;
    else this.bias = tensor;
  }
}
