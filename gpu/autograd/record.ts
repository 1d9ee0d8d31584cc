/** Records operations: the one way by which tensors come to require gradients. */
import { type TensorBase, tensorFrom, tensorParts, variableOf } from "../tensor/base.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { type Backward, Node, type Saved, type Variable } from "./graph.ts";
import { isGradEnabled, reportUnrecorded } from "./mode.ts";

/** An operation that was just enqueued. */
export interface Operation {
  /** Name in errors, as in `matmul`. */
  readonly name: string;
  /** The tensors that it took, in the order in which `backward` gives their gradients. */
  readonly inputs: readonly (TensorBase | undefined)[];
  /** The tensors that it made: float ones, that nobody else has. */
  readonly outputs: readonly Tensor[];
  /** What `backward` needs besides the gradients: inputs, outputs, or neither. */
  readonly saves?: readonly (TensorBase | undefined)[] | undefined;
  /**
   * Its gradient. Runs without recording; all tensors that it makes and does not return are disposed. It is
   * kept with the graph, and with it whatever the scope where it is written shares with any closure there:
   * none of these may mention a tensor.
   */
  readonly backward: Backward;
  /**
   * What else it read that requires gradients, without being given it; its gradients come behind those of
   * the inputs.
   */
  readonly captured?: readonly Variable[];
}

/** Whether an operation on these inputs is to be recorded. */
export function isRecorded(inputs: readonly (TensorBase | undefined)[]): boolean {
  const wanted = inputs.filter((input) => input && variableOf(input).requiresGrad);
  if (isGradEnabled()) return wanted.length > 0;
  for (const input of wanted) reportUnrecorded(variableOf(input!));
  return false;
}

/** Records an operation, if it is to be: its outputs then require gradients. */
export function record(operation: Operation): void {
  const { name, inputs, outputs, saves = [], backward, captured = [] } = operation;
  if (!isRecorded(inputs) && captured.length === 0) {
    noteEnd(inputs, outputs, `${name} ran in noGrad(); compute it outside`);
    return;
  }
  if (outputs.length === 0) return;
  const variables = outputs.map((output) => variableOf(output));
  const saved = saves.map((tensor) => tensor && save(tensor));
  const edges = [...inputs.map((input) => input && edgeOf(input)), ...captured];
  const node = new Node(name, edges, variables, saved, backward);
  for (const variable of variables) {
    variable.requiresGrad = true;
    variable.node = node;
  }
}

/**
 * Notes on results of what is not recorded why gradients end there, for the error of a backward pass from what follows:
 * that the inputs require gradients is no help to whoever has set it.
 *
 * @param inputs What the results were computed of; nothing is noted unless gradients flow to one, or did before.
 * @param outputs The results.
 * @param reason What ended them, and the remedy: `detach() ended them; leave it out`.
 */
export function noteEnd(
  inputs: readonly (TensorBase | undefined)[],
  outputs: readonly TensorBase[],
  reason: string,
): void {
  let end: string | undefined;
  for (const input of inputs) {
    if (!input) continue;
    const variable = variableOf(input);
    if (variable.requiresGrad) end = reason;
    end ??= variable.end;
  }
  if (end === undefined) return;
  for (const output of outputs) variableOf(output).end = end;
}

/** A tensor whose history matters; others are no part of the graph. */
function edgeOf(tensor: TensorBase): Variable | undefined {
  const variable = variableOf(tensor);
  return variable.requiresGrad ? variable : undefined;
}

function save(tensor: TensorBase): Saved {
  const { device, runtime, array } = tensorParts(tensor);
  return { device, runtime, array, version: array.storage.retain().version };
}

/**
 * Saved tensors as they were. Each is a new handle that the caller disposes.
 *
 * @throws {Error} If one was changed in place since.
 */
export function restore({ name, saved }: Node): (Tensor | undefined)[] {
  for (const item of saved!) {
    if (!item || item.array.storage.version === item.version) continue;
    throw new Error(
      `Cannot backward through ${name}: a tensor that it needs was changed in place since, by copyFrom() ` +
        "or an optimiser's step; call backward() before, or give the operation a clone()",
    );
  }
  return saved!.map((item) => {
    if (!item) return undefined;
    item.array.storage.retain();
    return tensorFrom(item.device, item.runtime, item.array);
  });
}
