/** The affine layer. */
import { type Device, runtimeOf } from "../../gpu/device.ts";
import { permuteLayout } from "../../gpu/layout.ts";
import { matmul } from "../../gpu/ops/matmul.ts";
import { freshSeed } from "../../gpu/random/philox.ts";
import { numel } from "../../gpu/shape.ts";
import { arrayOf, arrayOn } from "../../gpu/tensor/base.ts";
import { type Tensor, tensorFrom } from "../../gpu/tensor/tensor.ts";
import { assertLastAxis, assertSize, Module } from "./module.ts";

/** Options of {@linkcode Linear}. */
export interface LinearOptions {
  /** Whether to add a bias. Default `true`. */
  bias?: boolean;
  /** Seed of the initial weights; default a new one every time. */
  seed?: number;
}

/**
 * `x Wᵀ + b`, after `torch.nn.Linear`: weight `[out, in]`, bias `[out]`, both at first uniform in
 * ±1/√in.
 */
export class Linear extends Module {
  /** `[out, in]`. */
  weight: Tensor;
  /** `[out]`, if there is one. */
  bias: Tensor | undefined;

  /** Makes the layer with random weights. */
  constructor(
    device: Device,
    inFeatures: number,
    outFeatures: number,
    { bias = true, seed = freshSeed() }: LinearOptions = {},
  ) {
    super();
    assertSize("Linear", "inFeatures", inFeatures);
    assertSize("Linear", "outFeatures", outFeatures);
    const bound = inFeatures ** -0.5;
    // One stream of numbers for both, so that one seed is enough and the two do not repeat each other.
    const count = outFeatures * (inFeatures + 1);
    using uniform = device.rand([count], { seed });
    using inUnit = uniform.mul(2 * bound);
    using values = inUnit.sub(bound);
    const weights = outFeatures * inFeatures;
    using flat = values.slice(0, 0, weights);
    using shaped = flat.reshape([outFeatures, inFeatures]);
    this.weight = shaped.clone();
    if (bias) {
      using tail = values.slice(0, weights, count);
      this.bias = tail.clone();
    }
  }

  /** `x [..., in]` becomes `[..., out]`. */
  forward(x: Tensor): Tensor {
    const [, inFeatures] = this.weight.shape;
    assertLastAxis("Linear", x, inFeatures!);
    return affine(x, this.weight, this.bias);
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

/** `x [..., in]` times the transpose of `weight [out, in]`, plus `bias [out]`: `[..., out]`. */
export function affine(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  const [outFeatures, inFeatures] = weight.shape as [number, number];
  const { device } = weight;
  const runtime = runtimeOf(device);
  const array = arrayOf(weight);
  const transposed = { ...array, layout: permuteLayout(array.layout, [1, 0]) };
  arrayOn(device, x);
  // All leading axes are rows of one product.
  using rows = x.reshape([numel(x.shape.slice(0, -1)), inFeatures]);
  const product = matmul(runtime, arrayOf(rows), transposed, { bias: bias && arrayOf(bias) });
  using out = tensorFrom(device, runtime, product);
  return out.reshape([...x.shape.slice(0, -1), outFeatures]);
}
