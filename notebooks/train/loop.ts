/** Training: steps, epochs and evaluation. */
import {
  AdamW,
  clipGradNorm,
  cosineSchedule,
  crossEntropy,
  type Device,
  noGrad,
  type Tensor,
  tidy,
} from "@denoformers/attention";
import {
  type Batch,
  CLASSES,
  type EpochPlan,
  planEpoch,
  SIDE,
  type Split,
  splitDigits,
  testBatch,
  trainingBatch,
} from "./data.ts";
import { DigitTransformer } from "./model.ts";
import type { RunOptions } from "./options.ts";

/** What came of an epoch. */
export interface EpochResult {
  /** Mean loss of its steps. */
  readonly loss: number;
  /** Part of the digits that its steps classed right, before learning from them. */
  readonly accuracy: number;
  /** Part of the held-out digits that are classed right at its end. */
  readonly heldOutAccuracy: number;
  /** How long it took, evaluation included. */
  readonly seconds: number;
}

/** How far a training is. With its options, weights and optimiser it says all that follows. */
export interface Progress {
  /** The epochs that are over. */
  readonly epochs: readonly EpochResult[];
  /** Steps done in the current one. */
  readonly step: number;
  /** Sum of these steps' losses. */
  readonly lossSum: number;
  /** Digits that these steps classed right. */
  readonly correct: number;
  /** Seconds that these steps took. */
  readonly seconds: number;
}

/** What to do meanwhile. */
export interface TrainingEvents {
  /** Called behind every step with its loss. */
  readonly onStep?: (loss: number) => void;
  /** Called, and awaited, when an epoch is over. */
  readonly onEpoch?: (result: EpochResult) => void | Promise<void>;
  /** Asked behind every step and epoch: whether to stop. */
  readonly shouldStop?: () => boolean;
}

/** The optimiser's settings: chosen so that six epochs are enough. */
const PEAK_LEARNING_RATE = 5e-3;
const WEIGHT_DECAY = 0.05;
/** The part of all steps in which the learning rate rises. */
const WARMUP = 0.05;
const MAX_GRADIENT_NORM = 1;
/** Held-out digits at a time. */
const TEST_BATCH = 250;

const START: Progress = { epochs: [], step: 0, lossSum: 0, correct: 0, seconds: 0 };

/** A model, its optimiser and digits, at some point of their training. */
export class Training {
  /** Where it runs. */
  readonly device: Device;
  /** What the run depends on. */
  readonly options: RunOptions;
  /** What is trained. */
  readonly model: DigitTransformer;
  /** How. */
  readonly optimizer: AdamW;
  /** The digits. */
  readonly digits: Split;
  #progress = START;

  /** Begins a training; the digits are chosen, and the weights drawn. */
  constructor(device: Device, options: RunOptions) {
    this.device = device;
    this.options = options;
    this.digits = splitDigits(options.seed, options.limit);
    this.model = new DigitTransformer(device, options);
    this.optimizer = new AdamW(this.model.parameters(), { weightDecay: WEIGHT_DECAY });
  }

  /** How far it is. */
  get progress(): Progress {
    return this.#progress;
  }

  /** Says how far it is, for one that goes on. */
  set progress(progress: Progress) {
    this.#progress = progress;
  }

  /** Steps of one epoch. The digits that fill no batch are left out, others in each epoch. */
  get stepsPerEpoch(): number {
    return Math.floor(this.digits.training.labels.length / this.options.batch);
  }

  /** Steps of all epochs, and how many of them are done. */
  get steps(): { readonly total: number; readonly done: number } {
    const { epochs, step } = this.#progress;
    return {
      total: this.options.epochs * this.stepsPerEpoch,
      done: epochs.length * this.stepsPerEpoch + step,
    };
  }

  /**
   * Trains until the last epoch is over, or as long as nobody stops it. Stopped, it can go on at any time.
   *
   * @returns Whether the last epoch is over.
   * @throws {Error} If a loss is not finite.
   */
  async run({ onStep, onEpoch, shouldStop = () => false }: TrainingEvents = {}): Promise<boolean> {
    const { epochs: total, seed } = this.options;
    while (this.#progress.epochs.length < total) {
      const epoch = this.#progress.epochs.length;
      const plan = planEpoch(seed, epoch, this.digits.training.labels.length);
      while (this.#progress.step < this.stepsPerEpoch) {
        const loss = await this.#step(plan);
        onStep?.(loss);
        if (shouldStop()) return false;
      }
      const result = await this.#endEpoch();
      await onEpoch?.(result);
      if (shouldStop()) return this.#progress.epochs.length === total;
    }
    return true;
  }

  /** Part of the held-out digits that are classed right. */
  async heldOutAccuracy(): Promise<number> {
    const { heldOut } = this.digits;
    const count = heldOut.labels.length;
    let correct = 0;
    for (let start = 0; start < count; start += TEST_BATCH) {
      const batch = testBatch(heldOut, start, Math.min(start + TEST_BATCH, count));
      using logits = noGrad(() => tidy(() => this.model.forward(this.#images(batch))));
      const scores = await logits.data();
      correct += countCorrect(scores, batch.labels);
    }
    return correct / count;
  }

  /** Disposes model and optimiser. */
  [Symbol.dispose](): void {
    this.model.dispose();
    this.optimizer.dispose();
  }

  async #step(plan: EpochPlan): Promise<number> {
    const start = performance.now();
    const { step, lossSum, correct, seconds } = this.#progress;
    const { batch: size } = this.options;
    const batch = trainingBatch(this.digits.training, plan, step * size, (step + 1) * size);
    const results = this.#learn(batch);
    using loss = results.loss;
    using logits = results.logits;
    const value = await loss.item();
    const scores = await logits.data();
    if (!Number.isFinite(value)) {
      throw new Error(
        `Cannot go on: the loss of step ${
          this.steps.done + 1
        } is ${value}, expected a finite number`,
      );
    }
    // Reading back goes without the event loop, on which progress is drawn and interrupts arrive.
    await new Promise((resolve) => setTimeout(resolve));
    this.#progress = {
      ...this.#progress,
      step: step + 1,
      lossSum: lossSum + value,
      correct: correct + countCorrect(scores, batch.labels),
      seconds: seconds + (performance.now() - start) / 1000,
    };
    return value;
  }

  /** Enqueues one step; nothing of it stays but the results. */
  #learn(batch: Batch): { loss: Tensor; logits: Tensor } {
    const { total, done } = this.steps;
    const { model, optimizer } = this;
    return tidy(() => {
      const logits = model.forward(this.#images(batch));
      const loss = crossEntropy(logits, this.device.tensor(batch.labels));
      loss.backward();
      clipGradNorm(model.parameters(), MAX_GRADIENT_NORM);
      optimizer.learningRate = cosineSchedule(done, {
        warmupSteps: Math.floor(WARMUP * total),
        totalSteps: total,
        peak: PEAK_LEARNING_RATE,
      });
      optimizer.step();
      optimizer.zeroGrad();
      return { loss: loss.detach(), logits: logits.detach() };
    });
  }

  async #endEpoch(): Promise<EpochResult> {
    const start = performance.now();
    const { epochs, step, lossSum, correct, seconds } = this.#progress;
    const heldOutAccuracy = await this.heldOutAccuracy();
    const result = {
      loss: lossSum / step,
      accuracy: correct / (step * this.options.batch),
      heldOutAccuracy,
      seconds: seconds + (performance.now() - start) / 1000,
    };
    this.#progress = { ...START, epochs: [...epochs, result] };
    return result;
  }

  #images({ images, labels }: Batch): Tensor {
    return this.device.tensor(images, { shape: [labels.length, SIDE, SIDE] });
  }
}

/** How many rows of scores `[B, 10]` are highest at their label. */
function countCorrect(scores: Float32Array, labels: Int32Array): number {
  let correct = 0;
  for (const [i, label] of labels.entries()) {
    const row = scores.subarray(i * CLASSES, (i + 1) * CLASSES);
    if (row[label] === Math.max(...row)) correct++;
  }
  return correct;
}
