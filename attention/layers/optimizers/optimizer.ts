/** What optimisers have in common: parameters in groups, a learning rate, and state that can be saved. */
import {
  checkedArray,
  checkedOptions,
  limitArguments,
  type OptionNames,
} from "../../../gpu/checks.ts";
import { isDense } from "../../../gpu/array.ts";
import { isFloat } from "../../../gpu/dtype.ts";
import { tidyApart } from "../../../gpu/lifetime.ts";
import { arrayOf, TensorBase } from "../../../gpu/tensor/base.ts";
import type { Tensor } from "../../../gpu/tensor/tensor.ts";
import { assertNonNegative } from "./checks.ts";
import { loadedStates, type OptimizerState, type ParameterState } from "./state.ts";

/** Parameters that share settings of their own. */
export interface ParameterGroup {
  /** Leaves, none of which is in another group. */
  parameters: readonly Tensor[];
  /** Default the optimiser's, also when that changes. */
  learningRate?: number | undefined;
  /** Default the optimiser's. */
  weightDecay?: number | undefined;
}

const GROUP: OptionNames<ParameterGroup> = {
  parameters: "list",
  learningRate: "",
  weightDecay: "",
};

/** What an optimiser takes: parameters, or groups of them. */
export type OptimizedParameters = readonly Tensor[] | readonly ParameterGroup[];

/** The settings of one parameter's update. */
export interface UpdateSettings {
  /** Step size. */
  readonly learningRate: number;
  /** How strongly weights are drawn to 0. */
  readonly weightDecay: number;
}

/**
 * Base class of optimisers, after `torch.optim.Optimizer`. State is f32, whatever the parameters are, and is
 * made at a parameter's first step; it belongs to no `tidy` scope.
 */
export abstract class Optimizer {
  static {
    limitArguments(this);
  }

  /** The parameters in groups, as they were given; their learning rates may be changed between steps. */
  readonly groups: readonly ParameterGroup[];
  #learningRate: number;
  readonly #weightDecay: number;
  readonly #stateNames: readonly string[];
  /** All parameters, in order; states are numbered after them. */
  readonly #parameters: readonly Tensor[];
  readonly #states = new Map<Tensor, ParameterState>();

  /** Checks the parameters; `stateNames` are the tensors that each of them needs in `update`. */
  protected constructor(
    parameters: OptimizedParameters,
    { learningRate, weightDecay }: UpdateSettings,
    stateNames: readonly string[],
  ) {
    this.groups = groupsOf(parameters);
    this.#parameters = this.groups.flatMap((group) => group.parameters);
    assertParameters(this.#parameters);
    assertNonNegative("make an optimiser", "learningRate", learningRate);
    assertNonNegative("make an optimiser", "weightDecay", weightDecay);
    for (const group of this.groups) {
      assertNonNegative("make an optimiser", "learningRate", group.learningRate ?? 0);
      assertNonNegative("make an optimiser", "weightDecay", group.weightDecay ?? 0);
    }
    this.#learningRate = learningRate;
    this.#weightDecay = weightDecay;
    this.#stateNames = stateNames;
  }

  /** Step size of all parameters whose group has none of its own. May be set between steps. */
  get learningRate(): number {
    return this.#learningRate;
  }

  /** Sets it: a number >= 0. */
  set learningRate(value: number) {
    assertNonNegative("set the learning rate", "learningRate", value);
    this.#learningRate = value;
  }

  /**
   * Changes all parameters that have a gradient, in place.
   *
   * @throws {TypeError} If a parameter is disposed, as by `Module.to()`; none is changed then.
   * @throws {RangeError} If a group's learning rate was set to what is none; none is changed then.
   */
  step(): void {
    for (const parameter of this.#parameters) arrayOf(parameter);
    for (const { learningRate = 0 } of this.groups) {
      assertNonNegative("take a step", "learningRate of a group", learningRate);
    }
    for (const { parameters, learningRate, weightDecay } of this.groups) {
      const settings = {
        learningRate: learningRate ?? this.#learningRate,
        weightDecay: weightDecay ?? this.#weightDecay,
      };
      for (const parameter of parameters) {
        if (!parameter.grad) continue;
        const state = this.#stateOf(parameter);
        this.update(parameter, parameter.grad, state.tensors, ++state.step, settings);
      }
    }
  }

  /** Changes one parameter in place; `step` counts from 1, when the state's tensors are zeros. */
  protected abstract update(
    parameter: Tensor,
    gradient: Tensor,
    state: Readonly<Record<string, Tensor>>,
    step: number,
    settings: UpdateSettings,
  ): void;

  /** Disposes the gradients of all parameters; the next backward pass begins new sums. */
  zeroGrad(): void {
    for (const parameter of this.#parameters) parameter.zeroGrad();
  }

  /**
   * What to keep for going on later: the state of each parameter, by its number, and the learning rates.
   * The tensors are the optimiser's own, not copies. Other settings are those of the constructor.
   */
  stateDict(): OptimizerState {
    const tensors: Record<string, Tensor> = {};
    const numbers: Record<string, number> = { learningRate: this.#learningRate };
    for (const [i, { learningRate }] of this.groups.entries()) {
      if (learningRate !== undefined) numbers[`groups.${i}.learningRate`] = learningRate;
    }
    for (const [i, parameter] of this.#parameters.entries()) {
      const state = this.#states.get(parameter);
      if (!state) continue;
      numbers[`${i}.step`] = state.step;
      for (const name of this.#stateNames) tensors[`${i}.${name}`] = state.tensors[name]!;
    }
    return { tensors, numbers };
  }

  /**
   * Goes on from a state, whose tensors are copied. Parameters are not part of it.
   *
   * @param state Of an optimiser of the same class for the same parameters in the same order.
   * @throws {RangeError} Naming everything in it that does not fit; nothing is loaded then.
   */
  loadStateDict(state: Readonly<OptimizerState>): void {
    const states = loadedStates(this.constructor.name, state, {
      parameters: this.#parameters,
      names: this.#stateNames,
      groups: this.groups.length,
    });
    this.dispose();
    for (const [parameter, loaded] of states) this.#states.set(parameter, loaded);
    this.#learningRate = state.numbers["learningRate"]!;
    for (const [i, group] of this.groups.entries()) {
      group.learningRate = state.numbers[`groups.${i}.learningRate`];
    }
  }

  /** Disposes the state, not the parameters; a further step begins anew. */
  dispose(): void {
    for (const { tensors } of this.#states.values()) {
      for (const tensor of Object.values(tensors)) tensor.dispose();
    }
    this.#states.clear();
  }

  /** Disposes at the end of a `using` block. */
  [Symbol.dispose](): void {
    this.dispose();
  }

  #stateOf(parameter: Tensor): ParameterState {
    let state = this.#states.get(parameter);
    if (!state) {
      const { device, shape } = parameter;
      const entries = tidyApart(() => this.#stateNames.map((name) => [name, device.zeros(shape)]));
      state = { tensors: Object.fromEntries(entries), step: 0 };
      this.#states.set(parameter, state);
    }
    return state;
  }
}

function groupsOf(parameters: OptimizedParameters): ParameterGroup[] {
  const list = Array.from<Tensor | ParameterGroup>(
    checkedArray<Tensor | ParameterGroup>("make an optimiser", "parameters", parameters),
  );
  if (list.every((item) => item instanceof TensorBase)) return [{ parameters: list as Tensor[] }];
  return list.map((item) => {
    const isGroup = typeof item === "object" && item !== null && !(item instanceof TensorBase);
    const group = isGroup && checkedOptions("make an optimiser: a group", item, GROUP);
    if (!group || !Array.isArray(group.parameters)) {
      throw new TypeError(
        "Cannot make an optimiser: expected tensors, or groups { parameters, learningRate?, weightDecay? }",
      );
    }
    return { ...group };
  });
}

function assertParameters(parameters: readonly Tensor[]): void {
  if (parameters.length === 0) {
    throw new RangeError(
      "Cannot make an optimiser: there are no parameters, expected at least one",
    );
  }
  if (new Set(parameters).size < parameters.length) {
    throw new RangeError("Cannot make an optimiser: a parameter is there twice, expected once");
  }
  for (const [i, parameter] of parameters.entries()) {
    const isWhole = isDense(arrayOf(parameter));
    if (isWhole && parameter.isLeaf && isFloat(parameter.dtype)) continue;
    let problem = isWhole ? "computed from others" : "a view of another tensor";
    if (!isFloat(parameter.dtype)) problem = `of dtype ${parameter.dtype}`;
    throw new TypeError(
      `Cannot make an optimiser: parameter ${i} is ${problem}, expected a leaf of f32, f16 or bf16, as ` +
        "Module.parameters() gives",
    );
  }
}
