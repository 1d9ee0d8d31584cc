/** A learned scale for each channel. */
import { assertArguments, assertNumber, checkedOptions, limitArguments } from "../../gpu/checks.ts";
import { assertDevice, type Device } from "../../gpu/device.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { assertLastAxis, assertSize, Module, parameter } from "./module.ts";

const OPTIONS = { initValues: "number" };

/**
 * Scales each channel by a learned number, `gamma [C]`, after timm's and DINOv2's class of this name: with a
 * small initial value a residual branch begins near nothing (Touvron et al., "Going deeper with image
 * transformers", 2021).
 */
export class LayerScale extends Module {
  static {
    limitArguments(this);
  }

  /** `[C]`. */
  gamma: Tensor;

  /**
   * Makes the layer for a last axis of size `dim`.
   *
   * @param options `initValues`: what `gamma` is at first. Default 1e-5.
   */
  constructor(device: Device, dim: number, options: { initValues?: number } = {}) {
    assertArguments("make LayerScale", arguments, 3);
    super();
    const { initValues = 1e-5 } = checkedOptions("make LayerScale", options, OPTIONS);
    assertDevice("make LayerScale", device);
    assertNumber("make LayerScale", "initValues", initValues);
    assertSize("LayerScale", "dim", dim);
    this.gamma = parameter(() => device.full([dim], initValues));
  }

  /** `x [..., C]` keeps its shape. */
  forward(x: Tensor): Tensor {
    assertLastAxis("LayerScale", x, this.gamma.shape[0]!);
    return x.mul(this.gamma);
  }

  /** The layer's own weights. */
  protected override weights(): Record<string, Tensor> {
    return { gamma: this.gamma };
  }

  /** Replaces it. */
  protected override setWeight(_name: string, tensor: Tensor): void {
    this.gamma = tensor;
  }
}
