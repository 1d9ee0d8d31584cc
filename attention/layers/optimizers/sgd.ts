/** Stochastic gradient descent. */
import { assertArguments, checkedOptions, type OptionNames, told } from "../../../gpu/checks.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { sgdStep } from "../../../gpu/ops/updates.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import type { Tensor } from "../../../gpu/tensor/tensor.ts";
import { assertNonNegative } from "./checks.ts";
import { type OptimizedParameters, Optimizer, type UpdateSettings } from "./optimizer.ts";

/** Options of {@linkcode SGD}; names and defaults are PyTorch's, in camelCase. */
export interface SGDOptions {
  /** Step size. */
  learningRate: number;
  /** How much of the last step's direction is kept. Default 0. */
  momentum?: number;
  /** How much of the gradient is left out of that direction. Default 0. */
  dampening?: number;
  /** Added to the gradient, times the weights. Default 0. */
  weightDecay?: number;
  /** Whether to look ahead by Nesterov's rule; wants momentum, and no dampening. Default `false`. */
  nesterov?: boolean;
  /** Whether to go up the gradient. Default `false`. */
  maximize?: boolean;
}

const OPTIONS: OptionNames<SGDOptions> = {
  learningRate: "number",
  momentum: "",
  dampening: "",
  weightDecay: "",
  nesterov: "boolean",
  maximize: "",
};

/**
 * Stochastic gradient descent, after `torch.optim.SGD`: with the gradient `g`, to which the weight decay is
 * added, `m = momentum m + (1 - dampening) g` (at first `m = g`) and `p -= learningRate m`; with `nesterov`
 * `p -= learningRate (g + momentum m)`, without momentum `p -= learningRate g`. With momentum a parameter has
 * state of its own size in f32, `momentum`.
 */
export class SGD extends Optimizer {
  readonly #settings: Required<Omit<SGDOptions, "learningRate" | "weightDecay">>;

  /** Makes the optimiser of these parameters, or groups of them. */
  constructor(parameters: OptimizedParameters, options: SGDOptions) {
    assertArguments("make SGD", arguments, 2, "write { learningRate, weightDecay }");
    const { learningRate, momentum = 0, dampening = 0, weightDecay = 0 } = checkedOptions(
      "make SGD",
      options,
      OPTIONS,
    );
    const { nesterov = false, maximize = false } = options;
    assertNonNegative("make SGD", "momentum", momentum);
    if (!Number.isFinite(dampening)) {
      throw new RangeError(
        `Cannot make SGD: dampening is ${told(dampening)}, expected a finite number`,
      );
    }
    if (nesterov && (momentum === 0 || dampening !== 0)) {
      throw new RangeError(
        `Cannot make SGD: nesterov with momentum ${momentum} and dampening ${dampening}, ` +
          "expected momentum above 0 and no dampening",
      );
    }
    super(parameters, { learningRate, weightDecay }, momentum === 0 ? [] : ["momentum"]);
    this.#settings = { momentum, dampening, nesterov, maximize };
  }

  /** Changes one parameter in place. */
  protected override update(
    parameter: Tensor,
    gradient: Tensor,
    { momentum }: Readonly<Record<string, Tensor>>,
    step: number,
    { learningRate, weightDecay }: UpdateSettings,
  ): void {
    sgdStep(runtimeOf(parameter.device), {
      parameter: arrayOf(parameter),
      gradient: arrayOf(gradient),
      ...(momentum ? { momentum: arrayOf(momentum) } : {}),
    }, { ...this.#settings, learningRate, weightDecay, isFirst: step === 1 });
  }
}
