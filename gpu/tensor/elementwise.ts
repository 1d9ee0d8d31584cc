/** Elementwise functions of tensors, and their gradients. */
import { assertNumber, told } from "../checks.ts";
import { record } from "../autograd/record.ts";
import {
  binary,
  type BinaryName,
  logical as logicalOf,
  unary as unaryOf,
  type UnaryName,
  where as whereOf,
} from "../ops/elementwise.ts";
import {
  binaryGradient,
  type BinaryGradientName,
  UNARY_GRADIENTS,
  unaryGradient,
} from "../ops/elementwise_gradients.ts";
import type { MapOperand } from "../ops/map.ts";
import { assertDropout, dropout as dropoutOf } from "../random/dropout.ts";
import { arrayOf, arrayOn } from "./base.ts";
import { derive, linked, operandOf, unlinked, viewOf } from "./derive.ts";
import type { Tensor } from "./tensor.ts";

/** Functions of two operands that have gradients. */
export type ArithmeticName = "add" | "sub" | BinaryGradientName;

/** Functions of two operands that have none. */
export type ComparisonName = Exclude<BinaryName, ArithmeticName>;

/** Which operands the gradient of each operand needs. */
const READS: Readonly<Record<ArithmeticName, readonly [readonly number[], readonly number[]]>> = {
  add: [[], []],
  sub: [[], []],
  mul: [[1], [0]],
  div: [[1], [0, 1]],
  pow: [[0, 1], [0, 1]],
  maximum: [[0, 1], [0, 1]],
  minimum: [[0, 1], [0, 1]],
};

/** A function of one operand. */
export function unary(tensor: Tensor, name: UnaryName): Tensor {
  const out = derive(tensor, (runtime, array) => unaryOf(runtime, name, array));
  const { saves } = UNARY_GRADIENTS[name];
  record({
    name,
    inputs: [tensor],
    outputs: [out],
    saves: saves === "nothing" ? [] : [saves === "input" ? tensor : out],
    backward: ([gradient], [saved]) => [
      derive(
        gradient!,
        (runtime, array) => unaryGradient(runtime, name, array, saved && arrayOf(saved)),
      ),
    ],
  });
  return out;
}

/** Gelu, by the normal distribution (`none`) or by a hyperbolic tangent that is close to it. */
export function gelu(tensor: Tensor, approximate: "none" | "tanh"): Tensor {
  if (approximate !== "none" && approximate !== "tanh") {
    throw new TypeError(
      `Cannot gelu: approximate is ${told(approximate)}, expected "none" or "tanh"`,
    );
  }
  return unary(tensor, approximate === "none" ? "gelu" : "geluTanh");
}

/** A function of two operands that has gradients. */
export function arithmetic(tensor: Tensor, name: ArithmeticName, other: Tensor | number): Tensor {
  const operand = operandOf(name, tensor, other);
  const out = derive(tensor, (runtime, array) => binary(runtime, name, array, operand));
  const inputs = [tensor, typeof other === "number" ? undefined : other];
  const number = typeof other === "number" ? other : undefined;
  record({
    name,
    inputs,
    outputs: [out],
    saves: operandsToSave(name, inputs),
    backward: ([gradient], [a, b], needs) =>
      needs.map((need, which) =>
        need ? gradientOf(name, gradient!, [a, b ?? number], which as 0 | 1) : undefined
      ),
  });
  return out;
}

/** The operands that a wanted gradient needs. */
function operandsToSave(
  name: ArithmeticName,
  inputs: readonly (Tensor | undefined)[],
): (Tensor | undefined)[] {
  return inputs.map((input, i) =>
    inputs.some((wanting, j) => wanting?.requiresGrad && READS[name][j]!.includes(i))
      ? input
      : undefined
  );
}

/** The gradient of one operand, not yet summed over what that was broadcast along. */
function gradientOf(
  name: ArithmeticName,
  gradient: Tensor,
  operands: readonly (Tensor | number | undefined)[],
  which: 0 | 1,
): Tensor {
  if (name === "add") return gradient;
  if (name === "sub") return which === 0 ? gradient : gradient.neg();
  // What is not saved is not read; any number may stand for it.
  const [a, b] = operands.map((operand = 1) => operandOf(name, gradient, operand)) as [
    MapOperand,
    MapOperand,
  ];
  return derive(gradient, (runtime, array) => binaryGradient(runtime, name, array, a, b, which));
}

/** A comparison of two operands, which has no gradient. */
export function compare(tensor: Tensor, name: ComparisonName, other: Tensor | number): Tensor {
  const operand = operandOf(name, tensor, other);
  const out = derive(tensor, (runtime, array) => binary(runtime, name, array, operand));
  return unlinked(name, [tensor, typeof other === "number" ? undefined : other], out);
}

/** A function of truth values. */
export function logical(name: "and" | "or" | "not", tensor: Tensor, other?: Tensor): Tensor {
  const out = derive(tensor, (runtime, array) => {
    const operands = name === "not"
      ? [array]
      : [array, arrayOn(tensor.device, other!, `compute logical ${name}`)];
    return logicalOf(runtime, name, operands);
  });
  return unlinked(`logical ${name}`, [tensor, other], out);
}

/** `condition ? tensor : other`. Where one is not picked its gradient is 0, whatever arrives there. */
export function where(tensor: Tensor, condition: Tensor, other: Tensor | number): Tensor {
  const operand = operandOf("where", tensor, other);
  const picked = arrayOn(tensor.device, condition, "where", "condition");
  const out = derive(tensor, (runtime, array) => whereOf(runtime, picked, array, operand));
  record({
    name: "where",
    inputs: [tensor, typeof other === "number" ? undefined : other],
    outputs: [out],
    saves: [condition],
    backward: ([gradient], [picked], needs) => [
      needs[0] ? gradient!.where(picked!, 0) : undefined,
      needs[1] ? gradient!.maskedFill(picked!, 0) : undefined,
    ],
  });
  return out;
}

/** `mask ? value : tensor`. */
export function maskedFill(tensor: Tensor, mask: Tensor, value: number): Tensor {
  assertNumber("maskedFill", "value", value);
  const filled = arrayOn(tensor.device, mask, "maskedFill", "mask");
  const out = derive(tensor, (runtime, array) => whereOf(runtime, filled, value, array));
  record({
    name: "maskedFill",
    inputs: [tensor],
    outputs: [out],
    saves: [mask],
    backward: ([gradient], [filled]) => [gradient!.maskedFill(filled!, 0)],
  });
  return out;
}

/** Elements zero at random, the others scaled up. The gradient drops the same ones, by the same seed. */
export function dropout(tensor: Tensor, p: number, seed: number): Tensor {
  assertDropout(arrayOf(tensor).dtype, p, seed);
  const out = p === 0
    ? viewOf(tensor, (layout) => layout)
    : derive(tensor, (runtime, array) => dropoutOf(runtime, array, p, seed));
  return linked("dropout", tensor, out, (gradient) => dropout(gradient, p, seed));
}
