/**
 * Checkpoints: a function's intermediate results are not kept for the backward pass, which runs it again.
 * A chain of n layers in sqrt(n) checkpoints keeps O(sqrt(n)) results for one more forward pass. Chen et al.,
 * "Training Deep Nets with Sublinear Memory Cost" (2016), https://arxiv.org/abs/1604.06174.
 */
import { assertFunction } from "../checks.ts";
import { isFloat } from "../dtype.ts";
import { tidy } from "../lifetime.ts";
import { noteSeeds, repeatSeeds } from "../random/journal.ts";
import { sameShape } from "../shape.ts";
import { assertTensor, variableOf } from "../tensor/base.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { leafGradients, type Root } from "./engine.ts";
import type { Gradients, Variable } from "./graph.ts";
import { isGradEnabled, withoutRecording, withRecording } from "./mode.ts";
import { record } from "./record.ts";
import { ownHandles, tensorsOf } from "./results.ts";

const ACTION = "checkpoint: the function";

/**
 * Runs a function and keeps only its inputs for the backward pass, which runs it again for what it needs
 * of it. Saves the memory of all between inputs and result; costs one more run.
 *
 * The function must do the same both times, and does so if it depends on its inputs and on leaves such as
 * parameters alone. Seeds that it draws, as dropout and layers do, are the same in both runs.
 *
 * @param fn From tensors to one or an array of them; synchronous. What it makes but does not return is
 * disposed.
 * @param inputs Its arguments.
 * @returns What `fn` returns, as tensors of their own. Without recording, just that.
 * @throws {TypeError} If `fn` returns anything else.
 * @throws {Error} If `fn` uses a tensor that was computed of one that requires gradients, and is none of the
 * inputs. In the backward pass, if the second run does not do the same as the first.
 *
 * @example Keep the inputs of a block alone
 * ```ts
 * import { checkpoint, requestDevice } from "@denoformers/attention";
 *
 * using device = await requestDevice();
 * const w = device.randn([64, 64], { requiresGrad: true });
 * const x = device.randn([8, 64]);
 * checkpoint((x) => x.matmul(w).gelu().matmul(w).tanh(), x).sum().backward();
 * console.log(w.grad!.shape); // [64, 64]
 * ```
 */
export function checkpoint<Inputs extends Tensor[], Output extends Tensor | Tensor[]>(
  fn: (...inputs: Inputs) => Output,
  ...inputs: Inputs
): Output {
  assertFunction("checkpoint", fn);
  for (const [i, input] of inputs.entries()) assertTensor("checkpoint", `input ${i}`, input);
  if (!isGradEnabled()) {
    const result = fn(...inputs);
    tensorsOf(ACTION, result);
    return result;
  }
  return tidy(() => {
    // One handle a tensor: a function may ask whether two of its inputs are the same.
    const distinct = [...new Set<Tensor>(inputs)];
    const places = inputs.map((input) => distinct.indexOf(input));
    const run = atPlaces(fn as (...inputs: Tensor[]) => Output, places);
    const leaves = distinct.map((tensor) => leafOf(tensor.detach(), tensor.requiresGrad));
    const { result, seeds, touched } = firstRun(() => run(leaves));
    const outputs = ownHandles(ACTION, result);
    for (const output of tensorsOf(ACTION, result)) {
      if (output.requiresGrad) touched.add(variableOf(output));
    }
    const captured = leavesBeside(leaves, touched);
    record({
      name: "checkpoint",
      inputs: distinct,
      captured,
      outputs: outputs.filter(({ dtype }) => isFloat(dtype)),
      saves: distinct,
      backward: backwardOf(run, seeds, captured),
    });
    return (Array.isArray(result) ? outputs : outputs[0]) as Output;
  });
}

// This and what is kept for the backward pass are functions apart, so that they share no scope with tensors.

/** The function of distinct tensors, some of which it may take twice. */
function atPlaces<T>(
  fn: (...inputs: Tensor[]) => T,
  places: readonly number[],
): (distinct: readonly Tensor[]) => T {
  return (distinct) => fn(...places.map((place) => distinct[place]!));
}

function leafOf(tensor: Tensor, requiresGrad: boolean): Tensor {
  tensor.requiresGrad = requiresGrad;
  return tensor;
}

/** A run that is not recorded: the seeds that it drew, and what it took that requires gradients. */
function firstRun<T>(run: () => T): { result: T; seeds: number[]; touched: Set<Variable> } {
  const touched = new Set<Variable>();
  const noted = noteSeeds(() => withoutRecording((variable) => touched.add(variable), run));
  return { ...noted, touched };
}

/** What a function used that requires gradients, besides its inputs. */
function leavesBeside(inputs: readonly Tensor[], touched: ReadonlySet<Variable>): Variable[] {
  const known = new Set(inputs.map(variableOf));
  const captured = [...touched].filter((variable) => !known.has(variable));
  const computed = captured.find(({ node }) => node !== undefined)?.node;
  if (computed) {
    throw new Error(
      `Cannot checkpoint: the function uses a tensor that ${computed.name} computed, which the second ` +
        "run could not differentiate; pass it as an input",
    );
  }
  return captured;
}

function backwardOf(
  run: (distinct: readonly Tensor[]) => Tensor | Tensor[],
  seeds: readonly number[],
  captured: readonly Variable[],
) {
  return (
    gradients: Gradients,
    saved: readonly (Tensor | undefined)[],
    needs: readonly boolean[],
  ): Gradients => {
    const leaves = saved.map((tensor, i) => leafOf(tensor!, needs[i]!));
    const result = withRecording(true, () => repeatSeeds(seeds, () => tidy(() => run(leaves))));
    const found = new Map(leafGradients(rootsOf(tensorsOf(ACTION, result), gradients), false));
    return [...leaves.map(variableOf), ...captured].map((variable) => found.get(variable));
  };
}

/** Outputs of the second run, beside the gradients of those of the first. */
function rootsOf(outputs: readonly Tensor[], gradients: Gradients): Root[] {
  const floats = outputs.filter(({ dtype }) => isFloat(dtype));
  const isSame = floats.length === gradients.length &&
    gradients.every((gradient, i) =>
      !gradient ||
      (gradient.dtype === floats[i]!.dtype && sameShape(gradient.shape, floats[i]!.shape))
    );
  if (!isSame) {
    throw new Error(
      "Cannot backward through checkpoint: the second run of the function returned other outputs than the first",
    );
  }
  return floats.flatMap((output, i) => {
    const gradient = gradients[i];
    return gradient && output.requiresGrad ? [{ variable: variableOf(output), gradient }] : [];
  });
}
