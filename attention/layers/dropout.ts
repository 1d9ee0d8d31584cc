/** Dropout as a layer. */
import {
  assertArguments,
  checkedOptions,
  isProbability,
  limitArguments,
  type OptionNames,
  told,
} from "../../gpu/checks.ts";
import { SeedSequence } from "../../gpu/random/seeds.ts";
import { assertTensor } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { Module } from "./module.ts";

/** Options of {@linkcode Dropout}. */
export interface DropoutOptions {
  /**
   * Seed of the sequence of masks: the first forward pass of two layers with one seed drops the same
   * elements, the second again the same. Default a new one every time.
   */
  seed?: number | undefined;
}

/** Its name. */
export const DROPOUT_OPTIONS: OptionNames<DropoutOptions> = { seed: "number" };

/**
 * Inverted dropout, after `torch.nn.Dropout`: in training each element becomes 0 with probability `p` and
 * is divided by `1 - p` otherwise, by a new mask at every forward pass; `p = 1` gives zeros. In
 * evaluation it changes nothing, as with `p = 0`.
 */
export class Dropout extends Module {
  static {
    limitArguments(this);
  }

  /** Probability of dropping an element. */
  readonly p: number;
  readonly #seeds: SeedSequence;

  /** Makes the layer; `p` is a probability in [0, 1]. */
  constructor(p = 0.5, options: DropoutOptions = {}) {
    assertArguments("make Dropout", arguments, 2);
    super();
    const { seed } = checkedOptions("make Dropout", options, DROPOUT_OPTIONS);
    assertProbability("Dropout", "p", p);
    this.p = p;
    this.#seeds = new SeedSequence(seed);
  }

  /** `x`, of any shape, with elements dropped; a view of it in evaluation and with `p = 0`. */
  forward(x: Tensor): Tensor {
    assertTensor("run Dropout", "input", x);
    if (!this.training || this.p === 0) return x.reshape(x.shape);
    return x.dropout(this.p, { seed: this.#seeds.next() });
  }
}

/** Throws unless a value is a probability. */
export function assertProbability(layer: string, name: string, p: number): void {
  if (!isProbability(p)) {
    throw new RangeError(
      `Cannot make ${layer}: ${name} is ${told(p)}, expected a probability in [0, 1]`,
    );
  }
}
