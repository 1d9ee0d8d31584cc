/** How far the training is, on standard error: a bar on a terminal, elsewhere a line now and then. */
import cliProgress from "cli-progress";
import { formatPercent } from "./report.ts";
import type { Training } from "./loop.ts";

/** How often a line is written where there is no terminal. */
const LINE_MS = 15_000;

/** What of the package is used, which has no types of its own. */
interface Bar {
  start(total: number, done: number, payload: Record<string, string>): void;
  update(done: number, payload: Record<string, string>): void;
  stop(): void;
}

/** Shows one training. */
export class ProgressBar {
  readonly #training: Training;
  readonly #bar: Bar;
  readonly #isTerminal = Deno.stderr.isTerminal();
  /** Steps that were done, and the time, when it started. */
  #begin = { done: 0, time: 0 };

  /** Shows nothing before {@linkcode start}. */
  constructor(training: Training) {
    this.#training = training;
    this.#bar = new cliProgress.SingleBar({
      format: "epoch {epoch} [{bar}] {percentage} % | loss {loss} | accuracy {accuracy} | " +
        "{left} left",
      barsize: 20,
      clearOnComplete: true,
      noTTYOutput: true,
      notTTYSchedule: LINE_MS,
    });
  }

  /** Starts to show the training. */
  start(): void {
    this.#begin = { done: this.#training.steps.done, time: performance.now() };
    this.#draw();
  }

  /** Shows where the training is now. */
  update(): void {
    this.#bar.update(this.#training.steps.done, this.#payload());
  }

  /** Writes on standard output what stays there, above the bar. */
  print(write: () => void): void {
    if (!this.#isTerminal) return write();
    this.#bar.stop();
    write();
    this.#draw();
  }

  /** Takes the bar away. */
  [Symbol.dispose](): void {
    this.#bar.stop();
  }

  #draw(): void {
    const { total, done } = this.#training.steps;
    this.#bar.start(total, done, this.#payload());
  }

  #payload(): Record<string, string> {
    const { options, progress: { epochs, step, lossSum, correct } } = this.#training;
    return {
      epoch: `${Math.min(epochs.length + 1, options.epochs)}/${options.epochs}`,
      loss: step > 0 ? (lossSum / step).toFixed(3) : "-",
      accuracy: step > 0 ? formatPercent(correct / (step * options.batch)) : "-",
      left: this.#timeLeft(),
    };
  }

  /** As minutes and seconds, by the mean step since the start, evaluations included. */
  #timeLeft(): string {
    const { total, done } = this.#training.steps;
    const steps = done - this.#begin.done;
    if (steps === 0) return "-";
    const seconds = (performance.now() - this.#begin.time) / 1000 / steps * (total - done);
    const whole = Math.round(seconds);
    return `${Math.floor(whole / 60)}:${`${whole % 60}`.padStart(2, "0")}`;
  }
}
