/** Stochastic depth as a layer. */
import { assertArguments, checkedOptions, limitArguments } from "../../gpu/checks.ts";
import { tidy } from "../../gpu/lifetime.ts";
import { SeedSequence } from "../../gpu/random/seeds.ts";
import { assertTensor } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { assertProbability, DROPOUT_OPTIONS, type DropoutOptions } from "./dropout.ts";
import { Module } from "./module.ts";

/**
 * Drops whole samples of a residual branch, after timm's class of this name: in training each sample, along
 * the first axis, becomes 0 with probability `p` and is divided by `1 - p` otherwise, by a new choice at
 * every forward pass; `p = 1` gives zeros. In evaluation it changes nothing, as with `p = 0` (Huang et al.,
 * "Deep networks with stochastic depth", 2016).
 */
export class DropPath extends Module {
  static {
    limitArguments(this);
  }

  /** Probability of dropping a sample. */
  readonly p: number;
  readonly #seeds: SeedSequence;

  /** Makes the layer; `p` is a probability in [0, 1]. */
  constructor(p = 0, options: DropoutOptions = {}) {
    assertArguments("make DropPath", arguments, 2);
    super();
    const { seed } = checkedOptions("make DropPath", options, DROPOUT_OPTIONS);
    assertProbability("DropPath", "p", p);
    this.p = p;
    this.#seeds = new SeedSequence(seed);
  }

  /** `x [B, ...]` with samples dropped; a view of it in evaluation and with `p = 0`. */
  forward(x: Tensor): Tensor {
    assertTensor("run DropPath", "input", x);
    if (!this.training || this.p === 0) return x.reshape(x.shape);
    if (x.ndim === 0) {
      throw new RangeError("Cannot run DropPath: input is a scalar, expected [B, ...]");
    }
    const ones = x.shape.map((size, axis) => axis === 0 ? size : 1);
    return tidy(() => {
      const { device, dtype } = x;
      return x.mul(device.ones(ones, { dtype }).dropout(this.p, { seed: this.#seeds.next() }));
    });
  }
}
