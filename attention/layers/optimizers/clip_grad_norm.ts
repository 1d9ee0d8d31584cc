/** Keeps gradients from growing beyond a norm. */
import {
  assertArguments,
  assertNotNegative,
  checkedArray,
  checkedOptions,
  type OptionNames,
  told,
} from "../../../gpu/checks.ts";
import { noGrad } from "../../../gpu/autograd/mode.ts";
import { runtimeOf } from "../../../gpu/device.ts";
import { tidy, tidyApart } from "../../../gpu/lifetime.ts";
import { norm } from "../../../gpu/ops/norm.ts";
import { arrayOf, assertTensor, variableOf } from "../../../gpu/tensor/base.ts";
import { stack } from "../../../gpu/tensor/join.ts";
import { type Tensor, tensorFrom } from "../../../gpu/tensor/tensor.ts";

/** Options of {@linkcode clipGradNorm}. */
export interface ClipGradNormOptions {
  /** 2: root of the sum of squares (default); Infinity: the largest absolute value. */
  normType?: 2 | typeof Infinity;
}

const OPTIONS: OptionNames<ClipGradNormOptions> = { normType: "number" };

/**
 * Scales all gradients by one factor if their norm, as of one long vector, is above a bound, after
 * `torch.nn.utils.clip_grad_norm_`: by `maxNorm / (norm + 1e-6)`, and by 1 below. Norm and factor stay on the
 * GPU: nothing is waited for. A norm that is infinite or NaN makes what PyTorch makes of it: with infinity
 * zeros, and NaN in place of what is infinite; with NaN nothing but NaN.
 *
 * @param parameters Those without a gradient count for nothing. Gradients are replaced by new tensors.
 * @param maxNorm The bound, >= 0.
 * @param options Which norm.
 * @returns The norm before, an f32 scalar. 0 if there is no gradient.
 */
export function clipGradNorm(
  parameters: readonly Tensor[],
  maxNorm: number,
  options: ClipGradNormOptions = {},
): Tensor {
  assertArguments("clip gradients", arguments, 3, "write { normType: 2 }");
  const { normType = 2 } = checkedOptions("clip gradients", options, OPTIONS);
  const [first] = checkedArray("clip gradients", "parameters", parameters);
  for (const [i, parameter] of parameters.entries()) {
    assertTensor("clip gradients", `parameters[${i}]`, parameter);
  }
  if (!first) throw new RangeError("Cannot clip gradients: there are no parameters");
  assertNotNegative("clip gradients", "maxNorm", maxNorm);
  if (normType !== 2 && normType !== Infinity) {
    throw new RangeError(
      `Cannot clip gradients: normType is ${told(normType)}, expected 2 or Infinity`,
    );
  }
  const variables = [...new Set(parameters.map((parameter) => variableOf(parameter)))]
    .filter(({ grad }) => grad);
  if (variables.length === 0) return first.device.zeros([]);
  return noGrad(() =>
    tidy(() => {
      const norm = totalNorm(variables.map(({ grad }) => grad!), normType);
      if (maxNorm === Infinity) return norm;
      const factor = norm.device.full([], maxNorm).div(norm.add(1e-6)).minimum(1);
      for (const variable of variables) {
        const { grad, dtype } = variable;
        variable.grad = tidyApart(() => grad!.mul(factor).to(dtype));
        grad!.dispose();
      }
      return norm;
    })
  );
}

function totalNorm(gradients: readonly Tensor[], normType: number): Tensor {
  if (normType === Infinity) {
    return stack(gradients.map((g) => tidy(() => g.to("f32").abs().max()))).max();
  }
  // The norm of the norms, none of which is squared as it is: squares overflow from 1.8e19 on.
  return normOf(stack(gradients.map(normOf)));
}

function normOf(tensor: Tensor): Tensor {
  const { device } = tensor;
  const runtime = runtimeOf(device);
  return tensorFrom(device, runtime, norm(runtime, arrayOf(tensor)));
}
