/** A layer and its optimiser as the parts of one file. */
import {
  assertArguments,
  checkedOptions,
  checkedRecord,
  type OptionNames,
  told,
} from "../../gpu/checks.ts";
import type { Tensor } from "../../gpu/tensor/tensor.ts";
import { Module } from "./module.ts";
import { Optimizer } from "./optimizers/optimizer.ts";
import { assertLoadable } from "./state_dict.ts";

/** What goes into a file: the arguments of `saveSafetensors`. */
export interface TrainingState {
  /** By `model.` and the parameter's path, and by `optimizer.` and the name of the state. */
  readonly tensors: Readonly<Record<string, Tensor>>;
  /** The optimiser's numbers, by `optimizer.` and their name. */
  readonly metadata: Readonly<Record<string, string>>;
}

const STATE: OptionNames<TrainingState> = { tensors: "", metadata: "" };

const MODEL = "model.";
const OPTIMIZER = "optimizer.";

/**
 * All that training needs in order to go on: parameters, the optimiser's state, its learning rates and its
 * steps. Copies nothing.
 *
 * @example Save a training, and go on with it
 * ```ts
 * import {
 *   AdamW, Linear, loadSafetensors, loadTrainingState, readSafetensorsMetadata, requestDevice,
 *   saveSafetensors, tidy, trainingState,
 * } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const model = new Linear(device, 4, 1);
 * const optimizer = new AdamW(model.parameters());
 * const { tensors, metadata } = trainingState(model, optimizer);
 * const file = await saveSafetensors(tensors, { metadata });
 *
 * tidy(() => {
 *   const [tensors, metadata] = [loadSafetensors(device, file), readSafetensorsMetadata(file)];
 *   loadTrainingState({ tensors, metadata }, model, optimizer);
 * });
 * ```
 */
export function trainingState(model: Module, optimizer: Optimizer): TrainingState {
  assertArguments("keep a training", arguments, 2);
  assertParts("keep a training", model, optimizer);
  const { tensors, numbers } = optimizer.stateDict();
  const texts = Object.entries(numbers).map(([name, value]) => [OPTIMIZER + name, `${value}`]);
  return {
    tensors: { ...prefixed(MODEL, model.stateDict()), ...prefixed(OPTIMIZER, tensors) },
    metadata: Object.fromEntries(texts),
  };
}

/**
 * Loads what {@linkcode trainingState} gave into a layer and its optimiser.
 *
 * @throws {RangeError} Naming what does not fit, of the layer first; nothing is loaded then.
 */
export function loadTrainingState(
  state: TrainingState,
  model: Module,
  optimizer: Optimizer,
): void {
  assertArguments("load a training", arguments, 3);
  const { tensors, metadata } = checkedOptions("load a training", state, STATE);
  checkedRecord("load a training", "tensors", tensors);
  checkedRecord("load a training", "metadata", metadata);
  assertParts("load a training", model, optimizer);
  const numbers = Object.entries(under(OPTIMIZER, metadata))
    .map(([name, text]) => [name, Number(text)]);
  const ofOptimizer = { tensors: under(OPTIMIZER, tensors), numbers: Object.fromEntries(numbers) };
  const weights = under(MODEL, tensors);
  assertLoadable(model.constructor.name, model.stateDict(), weights, true);
  optimizer.loadStateDict(ofOptimizer);
  model.loadStateDict(weights);
}

function assertParts(action: string, model: Module, optimizer: Optimizer): void {
  if (!(model instanceof Module)) {
    throw new TypeError(`Cannot ${action}: model is ${told(model)}, expected a Module`);
  }
  if (!(optimizer instanceof Optimizer)) {
    throw new TypeError(`Cannot ${action}: optimizer is ${told(optimizer)}, expected an Optimizer`);
  }
}

function prefixed<T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [prefix + name, value]));
}

/** What is under a prefix, without it. */
function under<T>(prefix: string, record: Readonly<Record<string, T>>): Record<string, T> {
  return Object.fromEntries(
    Object.entries(record).filter(([name]) => name.startsWith(prefix))
      .map(([name, value]) => [name.slice(prefix.length), value]),
  );
}
