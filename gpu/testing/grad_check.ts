/** Gradients of a backward pass against differences of results. */
import {
  assertArguments,
  assertFunction,
  assertNotNegative,
  checkedArray,
  checkedOptions,
  type OptionNames,
} from "../checks.ts";
import { withRecording } from "../autograd/mode.ts";
import { tidy } from "../lifetime.ts";
import { noteSeeds, repeatSeeds } from "../random/journal.ts";
import { SeedSequence } from "../random/seeds.ts";
import { formatShape } from "../shape.ts";
import { assertTensor, TensorBase } from "../tensor/base.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { unravel } from "./unravel.ts";

/** Options of {@linkcode gradCheck}. */
export interface GradCheckOptions {
  /**
   * How far an element `x` is moved to either side, times max(1, |x|). Default 1e-2: the quotient is off by
   * the third derivative times step² / 6, which is 1.7e-5 of it then; rounding of f32 results, by 1e-6
   * as a rule, is divided by the step, which adds 1e-4.
   */
  readonly epsilon?: number;
  /** Allowed absolute difference. Default 1e-3, ten times what rounding adds at the default step. */
  readonly atol?: number;
  /** Allowed difference relative to the quotient. Default 1e-2, for functions that bend more than most. */
  readonly rtol?: number;
  /** Elements of each input that are checked, picked at random. Default 16. */
  readonly maxElements?: number;
  /** Seed of the picks and of the upstream gradient. Default 0. */
  readonly seed?: number;
}

const GRAD_CHECK_OPTIONS: OptionNames<GradCheckOptions> = {
  epsilon: "number",
  atol: "",
  rtol: "",
  maxElements: "",
  seed: "",
};

/** How many wrong gradients an error lists one by one. */
const LISTED = 5;

/** One element of an input. */
interface Place {
  readonly input: number;
  readonly index: number;
}

/**
 * Asserts that the gradients of a function, as `backward()` gives them, agree with central differences of
 * its results, in the manner of `torch.autograd.gradcheck`:
 *
 *     d/dx sum(u * fn(x)) = sum(u * (fn(x + h) - fn(x - h))) / 2h
 *
 * with a random upstream gradient `u`, summed in float64 on the host. Differences mean nothing across a kink,
 * as of relu at 0 or where a maximum changes hands: keep inputs away from these. Seeds that the function
 * draws (dropout without one) are the same each time. Two runs of the function an element.
 *
 * @param fn From tensors to one of floats; synchronous.
 * @param inputs Its arguments; those with `requiresGrad` are checked. Their own gradients stay as they are.
 * @param options Step, tolerances, how many elements, and a seed.
 * @throws {Error} If a gradient is wrong, naming input, index and both values.
 * @throws {TypeError} If no input requires gradients, or one that does is not f32, in which steps are lost.
 *
 * @example The gradient of a product
 * ```ts
 * import { requestDevice } from "@denoformers/attention";
 * import { gradCheck } from "@denoformers/attention/testing";
 *
 * using device = await requestDevice();
 * const x = device.randn([3, 4], { seed: 1, requiresGrad: true });
 * const y = device.randn([4, 2], { seed: 2, requiresGrad: true });
 * await gradCheck((x, y) => x.matmul(y).tanh(), [x, y]);
 * ```
 */
export async function gradCheck(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: Tensor | readonly Tensor[],
  options: GradCheckOptions = {},
): Promise<void> {
  assertArguments("gradCheck", arguments, 3, "write { epsilon, atol, rtol }");
  assertFunction("gradCheck", fn);
  checkedOptions("gradCheck", options, GRAD_CHECK_OPTIONS);
  const list = inputs instanceof TensorBase
    ? [inputs]
    : checkedArray("gradCheck", "inputs", inputs);
  assertCheckable(list);
  const { atol = 1e-3, rtol = 1e-2, epsilon = 1e-2, maxElements = 16, seed = 0 } = options;
  for (const [name, value] of Object.entries({ atol, rtol, epsilon, maxElements })) {
    assertNotNegative("gradCheck", name, value);
  }
  // Else nothing would be compared, and that would pass.
  if (!(maxElements >= 1) || epsilon === 0) {
    throw new RangeError(
      `Cannot gradCheck: maxElements is ${maxElements} and epsilon ${epsilon}, expected at least 1 and more than 0`,
    );
  }
  const picks = new SeedSequence(seed);
  const { gradients, upstream, seeds } = await backwardOf(fn, list, picks.next());
  const hosts = await Promise.all(list.map((tensor) => tensor.data()));

  const resultsAt = ({ input, index }: Place, value: number): Promise<ArrayLike<number>> => {
    const moved = hosts[input]!.with(index, value);
    return resultsOf(() =>
      repeatSeeds(
        seeds,
        () =>
          fn(...list.map((tensor, i) =>
            i === input ? tensor.device.tensor(moved, { shape: tensor.shape }) : tensor.detach()
          )),
      )
    );
  };
  const wrong: string[] = [];
  let checked = 0;
  for (const [input, tensor] of list.entries()) {
    if (!tensor.requiresGrad) continue;
    for (const index of pick(tensor.size, maxElements, picks)) {
      const x = hosts[input]![index]!;
      const step = epsilon * Math.max(1, Math.abs(x));
      const [low, high] = [Math.fround(x - step), Math.fround(x + step)];
      const [below, above] = await Promise.all([
        resultsAt({ input, index }, low),
        resultsAt({ input, index }, high),
      ]);
      const quotient = projected(upstream, below, above) / (high - low);
      const gradient = gradients[input]?.[index] ?? 0;
      checked++;
      if (Math.abs(gradient - quotient) <= atol + rtol * Math.abs(quotient)) continue;
      wrong.push(
        `  input ${input} at ${
          formatShape(unravel(index, tensor.shape))
        }: backward() gives ${gradient}, ` +
          `differences give ${quotient}`,
      );
    }
  }
  if (wrong.length === 0) return;
  const unlisted = wrong.length - LISTED;
  throw new Error([
    `Expected gradients to be close to differences: ${wrong.length} of ${checked} checked elements differ ` +
    `(up to ${atol} + ${rtol} |difference quotient| allowed)`,
    ...wrong.slice(0, LISTED),
    ...(unlisted > 0 ? [`  and ${unlisted} more`] : []),
  ].join("\n"));
}

function assertCheckable(inputs: readonly Tensor[]): void {
  for (const [i, input] of inputs.entries()) assertTensor("gradCheck", `input ${i}`, input);
  const wanted = inputs.filter(({ requiresGrad }) => requiresGrad);
  if (wanted.length === 0) {
    throw new TypeError(
      "Cannot gradCheck: no input requires gradients, set requiresGrad = true",
    );
  }
  for (const { dtype } of wanted) {
    if (dtype === "f32") continue;
    throw new TypeError(
      `Cannot gradCheck: an input that requires gradients has dtype ${dtype}, expected f32; ` +
        "convert within the function",
    );
  }
}

/** Gradients by a backward pass over views of the inputs, and what it began with. */
async function backwardOf(
  fn: (...inputs: Tensor[]) => Tensor,
  inputs: readonly Tensor[],
  seed: number,
) {
  const leaves = inputs.map((input) => {
    const leaf = input.detach();
    leaf.requiresGrad = input.requiresGrad;
    return leaf;
  });
  const used = [...leaves];
  try {
    const { result, seeds } = noteSeeds(() => withRecording(true, () => tidy(() => fn(...leaves))));
    assertTensor("gradCheck", "the function's result", result);
    used.push(result);
    const upstream = result.device.randn(result.shape, { seed, dtype: result.dtype });
    used.push(upstream);
    result.backward(upstream);
    const gradients = await Promise.all(leaves.map(({ grad }) => grad?.data()));
    return { gradients, upstream: await upstream.data(), seeds };
  } finally {
    for (const tensor of used) tensor.dispose();
  }
}

async function resultsOf(run: () => Tensor): Promise<ArrayLike<number>> {
  const out = withRecording(false, () => tidy(run));
  try {
    return await out.data();
  } finally {
    out.dispose();
  }
}

/** The sum of upstream gradients times differences. */
function projected(
  upstream: ArrayLike<number>,
  below: ArrayLike<number>,
  above: ArrayLike<number>,
): number {
  let sum = 0;
  for (let i = 0; i < upstream.length; i++) sum += upstream[i]! * (above[i]! - below[i]!);
  return sum;
}

/** Some of the numbers below `size`, all if they are few, in ascending order. */
function pick(size: number, count: number, seeds: SeedSequence): number[] {
  const numbers = Array.from({ length: size }, (_, i) => i);
  for (let i = 0; i < Math.min(count, size); i++) {
    const other = i + seeds.next() % (size - i);
    [numbers[i], numbers[other]] = [numbers[other]!, numbers[i]!];
  }
  return numbers.slice(0, count).sort((a, b) => a - b);
}
