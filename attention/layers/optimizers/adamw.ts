/** Adam with weight decay apart from the gradient. */
import {
  assertArguments,
  checkedArray,
  checkedOptions,
  type OptionNames,
} from "../../../gpu/checks.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { adamwStep } from "../../../gpu/ops/updates.ts";
import { arrayOf } from "../../../gpu/tensor/base.ts";
import type { Tensor } from "../../../gpu/tensor/tensor.ts";
import { assertDecay, assertNonNegative } from "./checks.ts";
import { type OptimizedParameters, Optimizer, type UpdateSettings } from "./optimizer.ts";

/** Options of {@linkcode AdamW}; names and defaults are PyTorch's, in camelCase. */
export interface AdamWOptions {
  /** Step size. Default 1e-3. */
  learningRate?: number;
  /** How much of the means of the gradient and of its square is kept at each step. Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Added to the root of the mean square. Default 1e-8. */
  epsilon?: number;
  /** How strongly weights are drawn to 0, times the learning rate. Default 1e-2. */
  weightDecay?: number;
  /** Whether to go up the gradient. Default `false`. */
  maximize?: boolean;
}

const OPTIONS: OptionNames<AdamWOptions> = {
  learningRate: "number",
  betas: "list",
  epsilon: "",
  weightDecay: "",
  maximize: "",
};

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, 2019), after `torch.optim.AdamW`: with the
 * gradient `g`, at step `t`,
 *
 *     p -= learningRate weightDecay p
 *     m = beta1 m + (1 - beta1) g
 *     v = beta2 v + (1 - beta2) g²
 *     p -= learningRate m / (1 - beta1^t) / (sqrt(v / (1 - beta2^t)) + epsilon)
 *
 * A parameter has state of twice its own size in f32, `mean` and `square`.
 *
 * @example One step
 * ```ts
 * import { AdamW, Linear, mseLoss, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const model = new Linear(device, 4, 1, { seed: 1 });
 * const optimizer = new AdamW(model.parameters(), { learningRate: 0.1 });
 * const [x, y] = [device.randn([8, 4], { seed: 2 }), device.ones([8, 1])];
 * const before = mseLoss(model.forward(x), y);
 * before.backward();
 * optimizer.step();
 * optimizer.zeroGrad();
 * const after = mseLoss(model.forward(x), y);
 * console.log(await after.item() < await before.item()); // true
 * ```
 */
export class AdamW extends Optimizer {
  readonly #settings: { beta1: number; beta2: number; epsilon: number; maximize: boolean };

  /** Makes the optimiser of these parameters, or groups of them. */
  constructor(parameters: OptimizedParameters, options: AdamWOptions = {}) {
    assertArguments("make AdamW", arguments, 2, "write { learningRate, weightDecay }");
    const { learningRate = 1e-3, betas = [0.9, 0.999], epsilon = 1e-8, weightDecay = 1e-2 } =
      checkedOptions("make AdamW", options, OPTIONS);
    const [beta1, beta2] = checkedArray("make AdamW", "betas", betas) as typeof betas;
    assertDecay("make AdamW", "betas[0]", beta1);
    assertDecay("make AdamW", "betas[1]", beta2);
    assertNonNegative("make AdamW", "epsilon", epsilon);
    super(parameters, { learningRate, weightDecay }, ["mean", "square"]);
    this.#settings = { beta1, beta2, epsilon, maximize: options.maximize ?? false };
  }

  /** Changes one parameter in place. */
  protected override update(
    parameter: Tensor,
    gradient: Tensor,
    { mean, square }: Readonly<Record<string, Tensor>>,
    step: number,
    { learningRate, weightDecay }: UpdateSettings,
  ): void {
    adamwStep(runtimeOf(parameter.device), {
      parameter: arrayOf(parameter),
      gradient: arrayOf(gradient),
      mean: arrayOf(mean!),
      square: arrayOf(square!),
    }, { ...this.#settings, learningRate, weightDecay, step });
  }
}
