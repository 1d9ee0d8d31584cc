/** An optimiser's state as named tensors and numbers. */
import { checkedOptions, checkedRecord, type OptionNames } from "../../../gpu/checks.ts";
import { tidyApart } from "../../../gpu/lifetime.ts";
import { formatShape, sameShape } from "../../../gpu/shape.ts";
import { arrayOn, assertTensor } from "../../../gpu/tensor/base.ts";
import type { Tensor } from "../../../gpu/tensor/tensor.ts";

/** What an optimiser keeps, as `Optimizer.stateDict()` gives it. */
export interface OptimizerState {
  /** By the parameter's number and the name of its state, as in `0.mean`. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** `learningRate`, those of groups, as in `groups.0.learningRate`, and steps taken, as in `0.step`. */
  readonly numbers: Readonly<Record<string, number>>;
}

const STATE: OptionNames<OptimizerState> = { tensors: "", numbers: "" };

/** What belongs to one parameter. */
export interface ParameterState {
  /** f32, of the parameter's shape, by name. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** How many steps were taken. */
  step: number;
}

/**
 * Checks a state and copies its tensors for their new owner.
 *
 * @param owner The optimiser's name, for errors.
 * @param optimizerState What to load.
 * @param own The optimiser's parameters, the names of each one's state, and the number of groups.
 * @returns The states of those parameters that have one.
 * @throws {RangeError} Naming everything that does not fit; nothing is copied then.
 */
export function loadedStates(
  owner: string,
  optimizerState: OptimizerState,
  { parameters, names, groups }: {
    readonly parameters: readonly Tensor[];
    readonly names: readonly string[];
    readonly groups: number;
  },
): [Tensor, ParameterState][] {
  const { tensors, numbers } = checkedOptions(
    `load the state of ${owner}`,
    optimizerState,
    STATE,
  );
  checkedRecord(`load the state of ${owner}`, "tensors", tensors);
  checkedRecord(`load the state of ${owner}`, "numbers", numbers);
  for (const [name, tensor] of Object.entries(tensors)) {
    assertTensor(`load the state of ${owner}`, name, tensor);
  }
  const stepped = parameters.map((_, i) => i).filter((i) => Object.hasOwn(numbers, `${i}.step`));
  const expected = stepped.flatMap((i) =>
    names.map((name) => [`${i}.${name}`, parameters[i]!] as const)
  );
  const problems = [
    ...numberProblems(numbers, parameters.length, groups),
    ...Object.keys(tensors).filter((name) => !expected.some(([known]) => known === name))
      .map((name) => `unexpected ${name} ${formatShape(tensors[name]!.shape)}`),
    ...expected.flatMap(([name, { shape }]) => {
      if (!Object.hasOwn(tensors, name)) return [`missing ${name} ${formatShape(shape)}`];
      const found = tensors[name]!.shape;
      if (sameShape(found, shape)) return [];
      return [`${name} has shape ${formatShape(found)}, expected ${formatShape(shape)}`];
    }),
  ];
  if (problems.length > 0) {
    throw new RangeError(`Cannot load the state of ${owner}:\n  ${problems.join("\n  ")}`);
  }
  for (const [name, { device }] of expected) arrayOn(device, tensors[name]!);
  const copies = tidyApart(() => expected.map(([name]) => tensors[name]!.to("f32").clone()));
  return stepped.map((i, at) => {
    const own = copies.slice(at * names.length, (at + 1) * names.length);
    const state = {
      tensors: Object.fromEntries(own.map((tensor, which) => [names[which]!, tensor])),
      step: numbers[`${i}.step`]!,
    };
    return [parameters[i]!, state];
  });
}

function numberProblems(
  numbers: Readonly<Record<string, number>>,
  parameters: number,
  groups: number,
): string[] {
  const problems = Object.hasOwn(numbers, "learningRate") ? [] : ["missing learningRate"];
  for (const [name, value] of Object.entries(numbers)) {
    const [, group, parameter] = /^(?:(?:groups\.(\d+)\.)?learningRate|(\d+)\.step)$/.exec(name) ??
      [undefined, Infinity];
    if (Number(group ?? 0) >= groups || Number(parameter ?? 0) >= parameters) {
      problems.push(`unexpected ${name}`);
    } else if (parameter !== undefined && !(Number.isInteger(value) && value > 0)) {
      problems.push(`${name} is ${value}, expected a whole number >= 1`);
    } else if (!(value >= 0 && value < Infinity)) {
      problems.push(`${name} is ${value}, expected a finite number >= 0`);
    }
  }
  return problems;
}
