/** Values by name, and how they come into tensors that exist. */
import { checkedRecord } from "../../gpu/checks.ts";
import { noGrad } from "../../gpu/autograd/mode.ts";
import { formatShape, sameShape } from "../../gpu/shape.ts";
import { arrayOn, assertTensor } from "../../gpu/tensor/base.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";

/** Tensors by name, as PyTorch names them: `qkv.weight`, `proj.bias`. */
export type StateDict = Record<string, Tensor>;

/** What did not go together in a load that was not strict. */
export interface LoadResult {
  /** Names that the layer has and the state does not; their tensors keep their values. */
  readonly missing: readonly string[];
  /** Names that the state has and the layer does not. */
  readonly unexpected: readonly string[];
}

/**
 * Throws unless values go together with tensors of their names.
 *
 * @param owner Whose tensors they are, for errors.
 * @param strict Whether the names must be the same.
 * @returns Names that are on one side only.
 * @throws {RangeError} Naming everything that does not go together.
 */
export function assertLoadable(
  owner: string,
  own: Readonly<StateDict>,
  state: Readonly<StateDict>,
  strict: boolean,
): LoadResult {
  checkedRecord(`load weights into ${owner}`, "state", state);
  for (const [name, tensor] of Object.entries(state)) {
    assertTensor(`load weights into ${owner}`, name, tensor);
  }
  const missing = Object.keys(own).filter((name) => !Object.hasOwn(state, name));
  const unexpected = Object.keys(state).filter((name) => !Object.hasOwn(own, name));
  const common = commonNames(own, state);
  const shapeIn = (dict: Readonly<StateDict>, name: string) => formatShape(dict[name]!.shape);
  const problems = [
    ...(strict ? missing.map((name) => `missing ${name} ${shapeIn(own, name)}`) : []),
    ...(strict ? unexpected.map((name) => `unexpected ${name} ${shapeIn(state, name)}`) : []),
    ...common.filter((name) => !sameShape(own[name]!.shape, state[name]!.shape)).map((name) =>
      `${name} has shape ${shapeIn(state, name)}, expected ${shapeIn(own, name)}`
    ),
  ];
  if (problems.length > 0) {
    throw new RangeError(`Cannot load weights into ${owner}:\n  ${problems.join("\n  ")}`);
  }
  for (const name of common) arrayOn(own[name]!.device, state[name]!);
  return { missing, unexpected };
}

/** Copies values into tensors of their names, which keep their identity and dtype. */
export function copyState(own: Readonly<StateDict>, state: Readonly<StateDict>): void {
  noGrad(() => {
    for (const name of commonNames(own, state)) own[name]!.copyFrom(state[name]!);
  });
}

function commonNames(own: Readonly<StateDict>, state: Readonly<StateDict>): string[] {
  return Object.keys(own).filter((name) => Object.hasOwn(state, name));
}
