/** Arguments that PyTorch's methods take and a tensor's do not, and what to write instead. */
import { type ArgumentLimit, type ArgumentLimits, checkedArray } from "../checks.ts";

const REDUCTION = [1, "write { axis, keepDim: true }"] as const;

/** PyTorch takes numbers one by one too. */
function ofList(method: string, name: string): ArgumentLimit {
  return [1, "write one list", (list) => checkedArray(method, name, list)];
}

/** Of {@linkcode TensorBase}. */
export const BASE_ARGUMENTS: ArgumentLimits = {
  item: [0, "write x.select(axis, index) for a part"],
};

/** Of {@linkcode DifferentiableTensor}. */
export const DIFFERENTIABLE_ARGUMENTS: ArgumentLimits = {
  backward: [2, "write backward(gradient, { retainGraph: true })"],
};

/** Of {@linkcode Tensor}. */
export const TENSOR_ARGUMENTS: ArgumentLimits = {
  reshape: ofList("reshape", "shape"),
  expand: ofList("expand", "shape"),
  permute: ofList("permute", "order"),
  slice: [4],
  unbind: [1],
  chunk: [2],
  squeeze: [1, "squeeze one axis at a time"],
  to: [1, "the device stays, and clone() copies"],
  add: [1, "write x.add(y.mul(alpha)) for a factor"],
  sub: [1, "write x.sub(y.mul(alpha)) for a factor"],
  gelu: [1],
  dropout: [2, "results are new tensors"],
  sum: REDUCTION,
  mean: REDUCTION,
  max: REDUCTION,
  min: REDUCTION,
  softmax: [1, "write x.to(dtype).softmax(axis) for another type"],
  logSumExp: [2, "write { keepDim: true }"],
  layerNorm: [1, "write { weight, bias, epsilon }"],
};
