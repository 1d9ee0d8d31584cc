/** Layer normalisation as a layer. */
import {
  assertArguments,
  assertNotNegative,
  checkedOptions,
  limitArguments,
} from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { assertLastAxis, assertSize, Module, parameter } from "./module.ts";

const OPTIONS = { epsilon: "number" };

/**
 * Normalises the last axis, after `torch.nn.LayerNorm`: weight `[C]` at first 1, bias `[C]` at first 0
 * (Ba et al., "Layer normalization", 2016).
 */
export class LayerNorm extends Module {
  static {
    limitArguments(this);
  }

  /** `[C]`. */
  weight: Tensor;
  /** `[C]`. */
  bias: Tensor;
  /** Added to the variance. */
  readonly epsilon: number;

  /** Makes the layer for a last axis of size `dim`. */
  constructor(device: Device, dim: number, options: { epsilon?: number } = {}) {
    assertArguments("make LayerNorm", arguments, 3, "write { epsilon: 1e-5 }");
    super();
    const { epsilon = 1e-5 } = checkedOptions("make LayerNorm", options, OPTIONS);
    assertDevice("make LayerNorm", device);
    assertNotNegative("make LayerNorm", "epsilon", epsilon);
    assertSize("LayerNorm", "dim", dim);
    this.weight = parameter(() => device.ones([dim]));
    this.bias = parameter(() => device.zeros([dim]));
    this.epsilon = epsilon;
  }

  /** `x [..., C]` keeps its shape. */
  forward(x: Tensor): Tensor {
    assertLastAxis("LayerNorm", x, this.weight.shape[0]!);
    return x.layerNorm({ weight: this.weight, bias: this.bias, epsilon: this.epsilon });
  }

  /** The layer's own weights. */
  protected override weights(): Record<string, Tensor> {
    return { weight: this.weight, bias: this.bias };
  }

  /** Replaces one of them. */
  protected override setWeight(name: string, tensor: Tensor): void {
    if (name === "weight") this.weight = tensor;
    else this.bias = tensor;
  }
}
