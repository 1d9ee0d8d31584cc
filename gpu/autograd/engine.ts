/**
 * The backward pass: reverse-mode differentiation. Nodes are visited from the last made to the first, so that
 * a node has all gradients of its outputs when its turn comes; sums are taken in that order, always the same.
 * What a node saved is given back as soon as it was used. Memory beyond the result: the gradients between
 * nodes that are still to be visited.
 */
import { told } from "../checks.ts";
import { type DType, isFloat } from "../dtype.ts";
import { tidy, tidyApart } from "../lifetime.ts";
import { arrayOn, TensorBase, tensorParts, variableOf } from "../tensor/base.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { formatShape, sameShape } from "../shape.ts";
import type { Node, Variable } from "./graph.ts";
import { withRecording } from "./mode.ts";
import { restore } from "./record.ts";

/** Where a backward pass begins. */
export interface Root {
  readonly variable: Variable;
  /** Of the variable's shape and dtype. */
  readonly gradient: Tensor;
}

/**
 * Adds to the gradients of all leaves what flows to them from the roots. If it throws, no gradient has
 * changed.
 *
 * @param roots Tensors that require gradients, and the gradients of what is differentiated by them.
 * @param retainGraph Whether a second pass over the same graph is to be possible.
 */
export function runBackward(roots: readonly Root[], retainGraph: boolean): void {
  // Apart from scopes around it: gradients belong to their leaves.
  const sums = tidyApart(() =>
    withRecording(false, () =>
      leafGradients(roots, retainGraph)
        .filter(([variable]) => !variable.isReleased)
        .map(([variable, gradient]): [Variable, Tensor] => {
          const before = variable.grad;
          return [variable, before ? before.add(gradient) : gradient.contiguous()];
        }))
  );
  for (const [variable, gradient] of sums) {
    variable.grad?.dispose();
    variable.grad = gradient;
    variableOf(gradient).end =
      "a gradient is not recorded itself; second derivatives are not supported";
  }
}

/**
 * What flows to each leaf from the roots; no leaf's own gradient changes. The caller disposes the tensors.
 *
 * @param roots As of {@linkcode runBackward}.
 * @param retainGraph As there.
 */
export function leafGradients(
  roots: readonly Root[],
  retainGraph: boolean,
): [Variable, Tensor][] {
  const order = nodesBehind(roots);
  const freed = order.find(({ saved }) => saved === undefined);
  if (freed) {
    throw new Error(
      `Cannot backward through ${freed.name} a second time: what it had saved was given back by the last backward(); ` +
        "pass { retainGraph: true } to all that others follow, or compute the result again",
    );
  }
  return withRecording(false, () =>
    tidy(() => {
      const sums = new Sums();
      for (const { variable, gradient } of roots) sums.add(variable, alias(gradient));
      for (const node of order) visit(node, sums, retainGraph);
      return sums.rest();
    }));
}

/** All nodes that the roots follow from, the last made first. */
function nodesBehind(roots: readonly Root[]): Node[] {
  const found = new Set<Node>();
  const open = roots.map(({ variable }) => variable.node);
  while (open.length > 0) {
    const node = open.pop();
    if (!node || found.has(node)) continue;
    found.add(node);
    for (const input of node.inputs) open.push(input?.node);
  }
  return [...found].sort((a, b) => b.number - a.number);
}

function visit(node: Node, sums: Sums, retainGraph: boolean): void {
  const gradients = node.outputs.map((output) => sums.take(output));
  if (gradients.every((gradient) => gradient === undefined)) return;
  const results = tidy(() => {
    const needs = node.inputs.map((input) => input !== undefined);
    const found = node.backward(gradients, restore(node), needs);
    return node.inputs.map((input, i) => input && found[i] && conform(node, input, found[i]));
  });
  node.inputs.forEach((input, i) => {
    if (input && results[i]) sums.add(input, results[i]);
  });
  for (const gradient of gradients) gradient?.dispose();
  if (!retainGraph) node.free();
}

/** A gradient summed to the shape of its tensor, in its type: a handle of its own. */
function conform(node: Node, { shape, dtype }: Variable, gradient: Tensor): Tensor {
  const lead = gradient.ndim - shape.length;
  const axes = gradient.shape.map((_, axis) => axis)
    .filter((axis) => axis < lead || (shape[axis - lead] === 1 && gradient.shape[axis] !== 1));
  const summed = axes.length > 0 ? gradient.sum({ axis: axes, keepDim: true }) : gradient;
  const result = summed.reshape(summed.shape.slice(Math.max(0, lead))).to(dtype);
  if (!sameShape(result.shape, shape)) {
    throw new RangeError(
      `Cannot backward through ${node.name}: its gradient has shape ${
        formatShape(gradient.shape)
      }, ` +
        `expected ${formatShape(shape)} or one to which that broadcasts`,
    );
  }
  return result;
}

/** Another handle of the same elements. */
function alias(tensor: Tensor): Tensor {
  return tensor.reshape(tensor.shape);
}

/** Gradients summed so far, by variable; owns the handles. */
class Sums {
  readonly #sums = new Map<Variable, Tensor>();

  add(variable: Variable, gradient: Tensor): void {
    const before = this.#sums.get(variable);
    if (!before) {
      this.#sums.set(variable, gradient);
      return;
    }
    this.#sums.set(variable, before.add(gradient));
    before.dispose();
    gradient.dispose();
  }

  /** The sum of a node's output; the caller disposes it. */
  take(variable: Variable): Tensor | undefined {
    const sum = this.#sums.get(variable);
    this.#sums.delete(variable);
    return sum;
  }

  /** The sums that no node took: those of leaves. */
  rest(): [Variable, Tensor][] {
    return [...this.#sums];
  }
}

function assertFloat(start: string, dtype: DType): void {
  if (isFloat(dtype)) return;
  throw new TypeError(
    `${start} has dtype ${dtype}, expected f32, f16 or bf16; only floats have gradients`,
  );
}

/** Where `backward()` begins; without a gradient with a one, which the caller disposes. */
export function checkedRoot(tensor: TensorBase, gradient: Tensor | undefined): Root {
  const { device } = tensorParts(tensor);
  const variable = variableOf(tensor);
  const { shape, dtype } = tensor;
  if (!variable.requiresGrad) {
    const start = `Cannot backward: the tensor of shape ${formatShape(shape)}`;
    assertFloat(start, dtype);
    if (variable.end) throw new Error(`${start} is cut off from gradients: ${variable.end}`);
    throw new Error(
      `${start} does not follow from one that requires gradients; set requiresGrad = true on an input before ` +
        "computing",
    );
  }
  if (gradient === undefined) {
    if (tensor.size !== 1) {
      throw new RangeError(
        `Cannot backward: the tensor has shape ${
          formatShape(shape)
        }, expected one element; sum() it, ` +
          "or pass its gradient",
      );
    }
    return { variable, gradient: device.ones(shape, { dtype }) };
  }
  if (!(gradient instanceof TensorBase)) {
    throw new TypeError(
      `Cannot backward: gradient is ${
        told(gradient)
      }, expected a Tensor; options stand behind it, write backward(undefined, { retainGraph: true })`,
    );
  }
  arrayOn(device, gradient, "backward", "gradient");
  if (!sameShape(gradient.shape, shape)) {
    throw new RangeError(
      `Cannot backward: gradient has shape ${formatShape(gradient.shape)}, expected ${
        formatShape(shape)
      } as the tensor has`,
    );
  }
  if (gradient.dtype !== dtype || gradient.device !== device) {
    throw new TypeError(
      `Cannot backward: gradient has dtype ${gradient.dtype}, expected ${dtype} on the tensor's device, ` +
        `convert with .to("${dtype}")`,
    );
  }
  return { variable, gradient };
}
