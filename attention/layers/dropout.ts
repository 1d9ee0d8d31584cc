/** Dropout as a layer. */
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { Module } from "./module.ts";

/**
 * Dropout, after `torch.nn.Dropout`. In evaluation it changes nothing, as with `p = 0`. Dropping in
 * training is not implemented yet and throws.
 */
export class Dropout extends Module {
  /** Probability of dropping an element. */
  readonly p: number;

  /** Makes the layer; `p` is a probability in [0, 1]. */
  constructor(p = 0.5) {
    super();
    assertProbability("Dropout", "p", p);
    this.p = p;
  }

  /** A view of `x`. */
  forward(x: Tensor): Tensor {
    if (this.training && this.p > 0) {
      throw new RangeError(
        `Cannot run Dropout: p is ${this.p} in training mode, which is not implemented yet; ` +
          "call eval(), or make it with p = 0",
      );
    }
    return x.reshape(x.shape);
  }
}

/** Throws unless a value is a probability. */
export function assertProbability(layer: string, name: string, p: number): void {
  if (!(p >= 0 && p <= 1)) {
    throw new RangeError(
      `Cannot make ${layer}: ${name} is ${p}, expected a probability in [0, 1]`,
    );
  }
}
