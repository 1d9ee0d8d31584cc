/** Matrix products and layer normalisation of tensors, and their gradients. */
import { assertArguments, assertNotNegative } from "../checks.ts";
import { withLayout } from "../array.ts";
import type { Gradients } from "../autograd/graph.ts";
import { record } from "../autograd/record.ts";
import { permuteLayout } from "../layout.ts";
import { tidy } from "../lifetime.ts";
import { layerNorm as layerNormOf, layerNormGradient } from "../ops/layer_norm.ts";
import { matmul as matmulOf } from "../ops/matmul.ts";
import { formatShape, numel } from "../shape.ts";
import { arrayOf, arrayOn, assertTensor, tensorFrom, tensorParts } from "./base.ts";
import { derive } from "./derive.ts";
import type { Tensor } from "./tensor.ts";

/** `[..., M, K]` times `[..., K, N]`, whose leading axes broadcast. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  const right = arrayOn(a.device, b, "matmul");
  const out = derive(a, (runtime, left) => matmulOf(runtime, left, right));
  record({
    name: "matmul",
    inputs: [a, b],
    outputs: [out],
    saves: [b.requiresGrad ? a : undefined, a.requiresGrad ? b : undefined],
    backward: matmulGradient(b.ndim),
  });
  return out;
}

/**
 * g Bᵀ and Aᵀ g, of transposed views. If one matrix B met many, Aᵀ g is one product over the rows of all of
 * them; else the product of an operand that was broadcast takes a matrix a batch until these are summed.
 */
function matmulGradient(rightRank: number) {
  return (
    [gradient]: Gradients,
    [a, b]: readonly (Tensor | undefined)[],
    needs: readonly boolean[],
  ): Gradients => {
    const g = gradient!;
    const flat = rightRank === 2;
    return [
      needs[0] ? g.matmul(b!.transpose(-1, -2)) : undefined,
      needs[1]
        ? (flat ? rowsOf(a!) : a!).transpose(-1, -2).matmul(flat ? rowsOf(g) : g)
        : undefined,
    ];
  };
}

/** All leading axes as one. */
function rowsOf(tensor: Tensor): Tensor {
  const lead = tensor.shape.slice(0, -1);
  return tensor.reshape([numel(lead), tensor.shape.at(-1)!]);
}

/**
 * `x` times the transpose of `weight`, plus `bias`, after `torch.nn.functional.linear`. One product over the
 * rows of all leading axes.
 *
 * @param x `[..., in]`.
 * @param weight `[out, in]`.
 * @param bias `[out]`.
 * @returns `[..., out]`.
 * @throws {TypeError} If the dtypes are not one float type, or for tensors of two devices.
 * @throws {RangeError} If sizes do not fit.
 */
export function linear(x: Tensor, weight: Tensor, bias?: Tensor): Tensor {
  assertArguments("linear", arguments, 3);
  assertLinear(x, weight, bias);
  const out = affine(x, weight, bias);
  record({
    name: "linear",
    inputs: [x, weight, bias],
    outputs: [out],
    saves: [weight.requiresGrad ? x : undefined, x.requiresGrad ? weight : undefined],
    backward: linearGradient,
  });
  return out;
}

function assertLinear(x: Tensor, weight: Tensor, bias: Tensor | undefined): void {
  assertTensor("linear", "x", x);
  const operands = Object.entries(bias ? { x, weight, bias } : { x, weight });
  const shapes = operands.map(([name, tensor]) =>
    formatShape(arrayOn(x.device, tensor, "linear", name).layout.shape)
  );
  const [outFeatures, inFeatures] = weight.shape;
  const fits = weight.ndim === 2 && x.ndim > 0 && x.shape.at(-1) === inFeatures &&
    (!bias || (bias.ndim === 1 && bias.shape[0] === outFeatures));
  if (!fits) {
    throw new RangeError(
      `Cannot linear: x, weight${bias ? " and bias" : ""} have shapes ${shapes.join(", ")}, ` +
        `expected [..., in], [out, in]${bias ? ", [out]" : ""}`,
    );
  }
}

/** The product with the bias fused, of arrays: nothing is recorded. */
function affine(x: Tensor, weight: Tensor, bias: Tensor | undefined): Tensor {
  const { device, runtime, array } = tensorParts(weight);
  const transposed = withLayout(array, permuteLayout(array.layout, [1, 0]));
  return tidy(() => {
    const rows = rowsOf(x.detach());
    const product = matmulOf(runtime, arrayOf(rows), transposed, { bias: bias && arrayOf(bias) });
    const out = tensorFrom(device, runtime, product);
    return out.reshape([...x.shape.slice(0, -1), weight.shape[0]!]);
  });
}

/** g W, gᵀ x and the sum of g, over all rows. */
function linearGradient(
  [gradient]: Gradients,
  [x, weight]: readonly (Tensor | undefined)[],
  needs: readonly boolean[],
): Gradients {
  const lead = gradient!.shape.slice(0, -1);
  const rows = rowsOf(gradient!);
  return [
    needs[0] ? rows.matmul(weight!).reshape([...lead, weight!.shape[1]!]) : undefined,
    needs[1] ? rows.transpose(0, 1).matmul(rowsOf(x!)) : undefined,
    needs[2] ? rows.sum({ axis: 0 }) : undefined,
  ];
}

/** Whether a value is the list of a tensor's last size; throws `RangeError` for other lists. */
export function isLastAxis({ shape }: Tensor, value: object): value is readonly number[] {
  if (!Array.isArray(value)) return false;
  if (value.length === 1 && value[0] === shape.at(-1)) return true;
  throw new RangeError(
    `Cannot layerNorm: a list of ${value.length} stands where options are expected, of sizes to normalise over; ` +
      `the last axis alone is: leave it out, or write [${shape.at(-1)}]`,
  );
}

/** Layer normalisation of the last axis. */
export function layerNorm(
  tensor: Tensor,
  weight: Tensor | undefined,
  bias: Tensor | undefined,
  epsilon: number,
): Tensor {
  assertNotNegative("layerNorm", "epsilon", epsilon);
  const { device } = tensor;
  const [factors, summands] = Object.entries({ weight, bias })
    .map(([name, vector]) => vector && arrayOn(device, vector, "layerNorm", name));
  const out = derive(tensor, (runtime, array) => {
    return layerNormOf(runtime, array, factors, summands, epsilon);
  });
  record({
    name: "layerNorm",
    inputs: [tensor, weight, bias],
    outputs: [out],
    saves: [tensor, weight],
    backward: layerNormBackward(epsilon),
  });
  return out;
}

function layerNormBackward(epsilon: number) {
  return (
    [gradient]: Gradients,
    [input, weight]: readonly (Tensor | undefined)[],
    [needsInput, needsWeight, needsBias]: readonly boolean[],
  ): Gradients => {
    const { device, runtime, array } = tensorParts(gradient!);
    const gradients = layerNormGradient(
      runtime,
      array,
      arrayOf(input!),
      weight && arrayOf(weight),
      epsilon,
      { input: needsInput!, weight: needsWeight!, bias: needsBias! },
    );
    const { input: dInput, weight: dWeight, bias: dBias } = gradients;
    return [dInput, dWeight, dBias].map((found) => found && tensorFrom(device, runtime, found));
  };
}
