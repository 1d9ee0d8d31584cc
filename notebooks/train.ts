// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Trains a small vision transformer on handwritten digits.
 *
 *     deno task train [--help]
 *
 * @module
 */
import {
  type Device,
  DeviceLostError,
  GpuOutOfMemoryError,
  GpuUnavailableError,
  requestDevice,
} from "@denoformers/attention";
import {
  assertReplaceable,
  CheckpointError,
  readCheckpoint,
  restore,
  writeCheckpoint,
} from "./train/checkpoint.ts";
import { Interrupt } from "./train/interrupt.ts";
import { Training } from "./train/loop.ts";
import { parseOptions, runOptions, type TrainOptions, USAGE } from "./train/options.ts";
import { runWithArguments } from "./command_line.ts";
import { ProgressBar } from "./train/progress_bar.ts";
import { formatBeginning, formatEnd, formatEpoch, formatInterruption } from "./train/report.ts";

/** What can go wrong without a fault in the program: the message alone says what to do. */
const EXPECTED_ERRORS = [
  GpuUnavailableError,
  GpuOutOfMemoryError,
  DeviceLostError,
  CheckpointError,
  RangeError,
];

async function run(options: TrainOptions): Promise<number> {
  try {
    return await train(options);
  } catch (error) {
    if (!EXPECTED_ERRORS.some((kind) => error instanceof kind)) throw error;
    console.error((error as Error).message);
    return 1;
  }
}

async function train({ given, checkpoint, resume }: TrainOptions): Promise<number> {
  const resumed = resume === undefined ? undefined : await readCheckpoint(resume);
  const options = runOptions(given, resumed);
  if (checkpoint !== resume) await assertReplaceable(checkpoint);
  using device = await requestDevice();
  using training = new Training(device, options);
  if (resumed) restore(training, resumed);
  return await runToFile(device, training, checkpoint);
}

/** Trains to the end or to an interrupt, with a file behind each epoch; returns the exit code. */
async function runToFile(device: Device, training: Training, checkpoint: string): Promise<number> {
  const { options, digits, model } = training;
  const parameters = model.parameters().reduce((sum, { size }) => sum + size, 0);
  const counts = {
    training: digits.training.labels.length,
    heldOut: digits.heldOut.labels.length,
    parameters,
  };
  let isOver: boolean;
  let interruptedCode: number;
  {
    using bar = new ProgressBar(training);
    using interrupt = new Interrupt({
      first: () => bar.print(() => console.error("Interrupted: ending the step ...")),
      second: () => bar[Symbol.dispose](),
    });
    console.log(formatBeginning({ device: device.info, options, counts, checkpoint }));
    for (const [i, result] of training.progress.epochs.entries()) {
      console.log(formatEpoch(i + 1, result));
    }
    bar.start();
    isOver = await training.run({
      onStep: () => bar.update(),
      onEpoch: async (result) => {
        bar.print(() => console.log(formatEpoch(training.progress.epochs.length, result)));
        await writeCheckpoint(training, checkpoint);
      },
      shouldStop: () => interrupt.requested,
    });
    if (!isOver) await writeCheckpoint(training, checkpoint);
    interruptedCode = interrupt.code;
  }
  const { progress } = training;
  if (!isOver) {
    console.error(formatInterruption(progress, checkpoint));
    return interruptedCode;
  }
  console.log(formatEnd(progress, device.memory(), checkpoint));
  return 0;
}

const PROGRAM = { usage: USAGE, parse: parseOptions, run };

if (import.meta.main) Deno.exit(await runWithArguments(PROGRAM, Deno.args));
