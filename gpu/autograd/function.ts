/** Operations with gradients of their own, after PyTorch's `autograd.Function`. */
import { assertFunction, checkedOptions, type OptionNames, told } from "../checks.ts";
import type { Device } from "../device.ts";
import { type DType, isFloat } from "../dtype.ts";
import { tidy } from "../lifetime.ts";
import { TensorBase } from "../tensor/base.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { Gradients } from "./graph.ts";
import { isGradEnabled, withRecording } from "./mode.ts";
import { record } from "./record.ts";
import { ownHandles } from "./results.ts";

/** What a custom function's two passes share: one object a call. */
export interface FunctionContext {
  /** For each input, whether its gradient is wanted; the others may be left `undefined`. */
  readonly needsGrad: readonly boolean[];
  /** In `backward`: what `forward` saved, in order. */
  readonly saved: readonly Tensor[];
  /** Whatever else `backward` needs: shapes, numbers. Tensors are to be saved instead. */
  readonly data: Record<string, unknown>;
  /**
   * In `forward`: keeps inputs, outputs or other tensors for `backward`, until it ran or the graph is gone.
   * What is saved must not be changed in place meanwhile.
   */
  save(...tensors: Tensor[]): void;
}

/** A custom function, see {@linkcode customFunction}. */
export interface CustomFunction<Inputs extends Tensor[], Output extends Tensor | Tensor[]> {
  /** What it is called in errors. */
  readonly name: string;
  /**
   * Computes the result of the inputs. Runs without recording; tensors that it makes are disposed unless
   * they are returned or saved.
   */
  forward(context: FunctionContext, ...inputs: Inputs): Output;
  /**
   * From gradients of the outputs to those of the inputs, in order; a function of one input may return its
   * gradient bare. An output that nothing depends on has zeros. Runs without recording.
   */
  backward(
    context: FunctionContext,
    ...gradients: Tensor[]
  ): Tensor | undefined | readonly (Tensor | undefined)[];
}

const DEFINITION: OptionNames<CustomFunction<Tensor[], Tensor>> = {
  name: "string",
  forward: "function",
  backward: "",
};

/** What the backward pass must know of an output. */
interface OutputType {
  readonly shape: readonly number[];
  readonly dtype: DType;
}

/**
 * Makes a function of tensors whose gradient is written by hand: because it can be had for less than the
 * recorded operations would cost, or is to differ from theirs.
 *
 * @param definition Name, `forward` and `backward`.
 * @returns The function. Its result is a tensor of its own, even if `forward` returns an input.
 * @throws {TypeError} At a call, if an input is no tensor or `forward` returns none; in a backward pass, if
 * `backward` returns anything but tensors of floats or `undefined`.
 * @throws {RangeError} In a backward pass, if `backward` returns not one gradient an input, or one of a shape
 * other than its input's and to which that does not broadcast.
 *
 * @example Rounding that gradients pass straight through
 * ```ts
 * import { customFunction, requestDevice } from "@denoformers/attention";
 *
 * const round = customFunction({
 *   name: "round",
 *   forward: (_, x) => x.add(0.5).to("i32").to("f32"),
 *   backward: (_, gradient) => gradient,
 * });
 * using device = await requestDevice();
 * const x = device.tensor([0.2, 1.7], { requiresGrad: true });
 * round(x).mul(3).sum().backward();
 * console.log(await x.grad!.toArray()); // [3, 3]
 * ```
 */
export function customFunction<Inputs extends Tensor[], Output extends Tensor | Tensor[]>(
  definition: CustomFunction<Inputs, Output>,
): (...inputs: Inputs) => Output {
  const { name, forward, backward } = checkedOptions(
    "make a function",
    definition,
    DEFINITION,
  );
  assertFunction(`make the function ${name}: forward`, forward);
  assertFunction(`make the function ${name}: backward`, backward);
  return (...inputs) => tidy(() => call(definition, inputs));
}

function call<Inputs extends Tensor[], Output extends Tensor | Tensor[]>(
  definition: CustomFunction<Inputs, Output>,
  inputs: Inputs,
): Output {
  const { name } = definition;
  const device = deviceOf(name, inputs);
  const saves: Tensor[] = [];
  const data: Record<string, unknown> = {};
  const needsGrad = wanted(inputs);
  const context = { needsGrad, saved: [], data, save: saver(saves) };
  const result = withRecording(false, () => definition.forward(context, ...inputs));
  const outputs = ownHandles(`run ${name}: forward()`, result);
  const types = outputs.map(({ shape, dtype }) => ({ shape, dtype }));
  record({
    name,
    inputs,
    outputs: outputs.filter(({ dtype }) => isFloat(dtype)),
    saves,
    backward: backwardOf(definition, device, types, data),
  });
  return (Array.isArray(result) ? outputs : outputs[0]) as Output;
}

// The following are functions apart so that what the graph keeps does not share a scope with tensors.

function wanted(inputs: readonly Tensor[]): boolean[] {
  return inputs.map(({ requiresGrad }) => requiresGrad && isGradEnabled());
}

function saver(saves: Tensor[]): FunctionContext["save"] {
  return (...tensors) => {
    saves.push(...tensors);
  };
}

/** A backward pass that calls the one by hand, and checks what it returns. */
function backwardOf(
  definition: Pick<CustomFunction<Tensor[], Tensor>, "name" | "backward">,
  device: Device,
  types: readonly OutputType[],
  data: Record<string, unknown>,
) {
  return (
    gradients: Gradients,
    saved: readonly (Tensor | undefined)[],
    needsGrad: readonly boolean[],
  ): Gradients => {
    const rest = gradients.values(); // Only outputs of floats have one.
    const all = types.map(({ shape, dtype }) => {
      const gradient = isFloat(dtype) ? rest.next().value : undefined;
      return gradient ?? device.zeros(shape, { dtype });
    });
    const save = () => {
      throw new Error(`Cannot save in the backward pass of ${definition.name}: save in forward()`);
    };
    const context = { needsGrad, saved: saved as Tensor[], data, save };
    const result = definition.backward(context, ...all);
    const list = Array.isArray(result) ? result : [result];
    assertGradients(definition.name, list, needsGrad.length, device);
    return list;
  };
}

function deviceOf(name: string, inputs: readonly Tensor[]): Device {
  for (const input of inputs) {
    if (input instanceof TensorBase) continue;
    throw new TypeError(
      `Cannot run ${name}: an input is ${
        told(input)
      }, expected tensors; pass other values by a closure`,
    );
  }
  if (inputs.length === 0) throw new RangeError(`Cannot run ${name} of no inputs`);
  return inputs[0]!.device;
}

function assertGradients(
  name: string,
  gradients: readonly unknown[],
  count: number,
  device: Device,
): void {
  if (gradients.length !== count) {
    throw new RangeError(
      `Cannot backward through ${name}: backward() returned ${gradients.length} gradients, ` +
        `expected ${count}, one an input, undefined where there is none`,
    );
  }
  for (const gradient of gradients) {
    if (gradient === undefined) continue;
    const what = gradient instanceof TensorBase ? gradient.dtype : told(gradient);
    if (gradient instanceof TensorBase && isFloat(gradient.dtype) && gradient.device === device) {
      continue;
    }
    throw new TypeError(
      `Cannot backward through ${name}: backward() returned ${what}, expected tensors of floats on the ` +
        "inputs' device, or undefined",
    );
  }
}
