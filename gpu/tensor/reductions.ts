/** Sums, means and extremes of a tensor, softmax and the logarithm of summed exponentials; and their gradients. */
import { checkedOptions, type OptionNames } from "../checks.ts";
import { withLayout } from "../array.ts";
import { record } from "../autograd/record.ts";
import { isFloat } from "../dtype.ts";
import { contiguousLayout, selectLayout } from "../layout.ts";
import { reduce as reduceOf, type ReduceName } from "../ops/reduce.ts";
import { logSumExp as logSumExpOf, softmax as softmaxOf, softmaxGradient } from "../ops/softmax.ts";
import { normalizeAxes, normalizeAxis, numel } from "../shape.ts";
import { arrayOf } from "./base.ts";
import { derive, linked, unlinked } from "./derive.ts";
import type { ReduceOptions, Tensor } from "./tensor.ts";

const REDUCE_OPTIONS: OptionNames<ReduceOptions> = { axis: "number list", keepDim: "boolean" };

/** A sum, a mean or an extreme over some axes. */
export function reduce(
  tensor: Tensor,
  name: ReduceName,
  options: ReduceOptions = {},
): Tensor {
  const { axis, keepDim = false } = checkedOptions(name, options, REDUCE_OPTIONS);
  const { shape } = tensor;
  const axes = normalizeAxes(axis, shape.length, name);
  const kept = shape.map((size, i) => axes.includes(i) ? 1 : size);
  const outShape = keepDim ? kept : shape.filter((_, i) => !axes.includes(i));
  const out = derive(tensor, (runtime, array) => {
    return withLayout(reduceOf(runtime, name, array, axes), contiguousLayout(outShape));
  });
  if (!isFloat(tensor.dtype)) return unlinked(`${name} of ${tensor.dtype}`, [tensor], out);
  if (name === "max" || name === "min") {
    recordExtreme(name, tensor, out, axes);
    return out;
  }
  const factor = name === "mean" ? 1 / numel(axes.map((i) => shape[i]!)) : 1;
  return linked(name, tensor, out, (gradient) => {
    const share = factor === 1 ? gradient : gradient.mul(factor);
    return share.reshape(kept).expand(shape);
  });
}

/** The gradient of an extreme goes to all elements that equal it, in equal parts. */
function recordExtreme(name: string, tensor: Tensor, out: Tensor, axes: readonly number[]): void {
  const kept = tensor.shape.map((size, i) => axes.includes(i) ? 1 : size);
  record({
    name,
    inputs: [tensor],
    outputs: [out],
    saves: [tensor, out],
    backward: ([gradient], [input, extreme]) => {
      const isExtreme = input!.eq(extreme!.reshape(kept));
      const share = gradient!.reshape(kept).div(isExtreme.sum({ axis: axes, keepDim: true }));
      return [share.where(isExtreme, 0)];
    },
  });
}

/** Softmax along an axis. Its gradient is `y (g - sum(g y))`. */
export function softmax(tensor: Tensor, axis: number): Tensor {
  const at = normalizeAxis(axis, tensor.ndim, "softmax");
  const out = derive(tensor, (runtime, array) => softmaxOf(runtime, array, at));
  record({
    name: "softmax",
    inputs: [tensor],
    outputs: [out],
    saves: [out],
    backward: ([gradient], [y]) => [
      derive(gradient!, (runtime, array) => softmaxGradient(runtime, array, arrayOf(y!), at)),
    ],
  });
  return out;
}

/** log(sum(exp(x))) along an axis. Its gradient is the softmax: 0 along rows that are -inf throughout. */
export function logSumExp(tensor: Tensor, axis: number, keepDim: boolean): Tensor {
  const at = normalizeAxis(axis, tensor.ndim, "logSumExp");
  const out = derive(tensor, (runtime, array) => {
    const kept = logSumExpOf(runtime, array, at);
    return keepDim ? kept : withLayout(kept, selectLayout(kept.layout, at, 0));
  });
  record({
    name: "logSumExp",
    inputs: [tensor],
    outputs: [out],
    saves: [tensor],
    backward: ([gradient], [input]) => [
      input!.softmax(at).mul(keepDim ? gradient! : gradient!.unsqueeze(at)),
    ],
  });
  return out;
}
