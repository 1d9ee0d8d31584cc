/** Memory, time and correctness of one way to compute attention at one length. */
import {
  type Device,
  MathBackwardOp,
  MathForwardOp,
  memoryEfficientAttention,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import { checkRows } from "./check_rows.ts";
import { type Measured, shapeOf, type Way } from "./points.ts";
import { MASKS, type Settings } from "./settings.ts";

/** Runs between two looks at the clock take about so long: clocks of browsers tell 0.1 ms apart. */
const BATCH_MS = 20;
/** Short runs are repeated up to so often, and the batch up to three times. */
const MAX_RUNS = 50;
const BATCHES = 3;
/** After so long no further batch is begun. */
const TIMING_MS = 500;

/** What is measured. */
export interface Work {
  readonly way: Way;
  readonly tokens: number;
  readonly settings: Settings;
  /** Looked at between runs. */
  readonly signal: AbortSignal;
}

/** Query, key and value, and in training the gradient of the result. */
export interface Inputs {
  readonly query: Tensor;
  readonly key: Tensor;
  readonly value: Tensor;
  readonly gradient: Tensor | undefined;
}

/**
 * Measures one way at one length, on inputs of its own, all of which are disposed at the end.
 *
 * @param device Where.
 * @param work What.
 * @returns The point.
 * @throws {RangeError} If the device's limits do not allow it.
 * @throws {GpuOutOfMemoryError} If there is no memory for it.
 * @throws {DeviceLostError} If the device goes away meanwhile.
 * @throws The signal's reason, if it is aborted.
 */
export async function measurePoint(device: Device, work: Work): Promise<Measured> {
  const before = device.memory().allocatedBytes;
  const inputs = makeInputs(device, work);
  try {
    device.resetPeakMemory();
    // The first run compiles kernels, and is not timed.
    run(inputs, work);
    await device.sync();
    const peakBytes = device.memory().peakBytes - before;
    const milliseconds = await time(device, inputs, work);
    const { error, isRight } = await checkRows(inputs, () => attend(inputs, work), work);
    const { way, tokens } = work;
    return { kind: "measured", way, tokens, peakBytes, milliseconds, error, isRight };
  } finally {
    for (const tensor of Object.values(inputs)) tensor?.dispose();
  }
}

/**
 * Why the formula cannot run at a length, told by shapes alone.
 *
 * @param device Where.
 * @param work What.
 * @returns The reasons; none if it can.
 */
export function formulaRefusals(
  device: Device,
  { tokens, settings }: Pick<Work, "tokens" | "settings">,
): string[] {
  return tidy(() => {
    const zero = device.zeros([1, 1, 1, 1], { dtype: settings.dtype });
    const x = zero.expand(shapeOf(settings, tokens));
    const attnBias = MASKS[settings.mask].maskFor(tokens);
    const ops = settings.isTraining ? [MathForwardOp, MathBackwardOp] : [MathForwardOp];
    return [...new Set(ops.flatMap((op) => op.notSupportedReasons(x, x, x, { attnBias })))];
  });
}

function makeInputs(device: Device, { tokens, settings }: Work): Inputs {
  const { dtype, isTraining } = settings;
  return tidy(() => {
    const random = (seed: number, requiresGrad: boolean) =>
      device.randn(shapeOf(settings, tokens), { seed, dtype, requiresGrad });
    return {
      query: random(1, isTraining),
      key: random(2, isTraining),
      value: random(3, isTraining),
      gradient: isTraining ? random(4, false) : undefined,
    };
  });
}

/** Computes attention, and in training the gradients of the inputs, which it gives back. */
function attend(
  { query, key, value, gradient }: Inputs,
  { way, tokens, settings }: Work,
): { out: Tensor; dQuery: Tensor | undefined } {
  const op = way === "formula" ? [MathForwardOp, MathBackwardOp] as const : undefined;
  const attnBias = MASKS[settings.mask].maskFor(tokens);
  const out = memoryEfficientAttention(query, key, value, { op, attnBias });
  if (!gradient) return { out, dQuery: undefined };
  out.backward(gradient);
  const dQuery = query.grad?.detach();
  for (const input of [query, key, value]) input.zeroGrad();
  return { out: out.detach(), dQuery };
}

/** Computes, and keeps nothing. */
function run(inputs: Inputs, work: Work): void {
  tidy(() => void attend(inputs, work));
}

/** The median of a few batches, each of runs that follow one another without a pause. */
async function time(device: Device, inputs: Inputs, work: Work): Promise<number> {
  const batch = async (runs: number) => {
    work.signal.throwIfAborted();
    const begin = performance.now();
    for (let n = 0; n < runs; n++) run(inputs, work);
    await device.sync();
    return (performance.now() - begin) / runs;
  };
  const begin = performance.now();
  const first = await batch(1);
  const runs = Math.min(MAX_RUNS, Math.ceil(BATCH_MS / Math.max(first, 0.1)));
  // One run alone waits for the way to the GPU and back too.
  const times = runs === 1 ? [first] : [];
  while (times.length < BATCHES && performance.now() - begin < TIMING_MS) {
    times.push(await batch(runs));
  }
  if (times.length === 0) return first;
  return times.toSorted((a, b) => a - b)[times.length >> 1]!;
}
