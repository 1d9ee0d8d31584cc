/** How far the benchmark is, on standard error: a bar on a terminal, elsewhere a line now and then. */
import cliProgress from "cli-progress";

/** How often a line is written where there is no terminal. */
const LINE_MS = 15_000;

/** What of the package is used, which has no types of its own. */
interface Bar {
  start(total: number, done: number, payload: Record<string, string>): void;
  update(done: number, payload: Record<string, string>): void;
  stop(): void;
}

/** Shows one run. */
export class Progress {
  readonly #total: number;
  readonly #isTerminal = Deno.stderr.isTerminal();
  readonly #bar: Bar;
  #done = 0;
  #step = "";

  /** Starts to show a run of so many steps. */
  constructor(total: number) {
    this.#total = total;
    this.#bar = new cliProgress.SingleBar({
      format: "[{bar}] {value}/{total} | {duration_formatted} | {step}",
      barsize: 20,
      clearOnComplete: true,
      noTTYOutput: true,
      notTTYSchedule: LINE_MS,
    });
    this.#bar.start(total, 0, { step: "" });
  }

  /** Shows what is done now. */
  show(step: string): void {
    this.#step = step;
    this.#bar.update(this.#done, { step });
  }

  /** One more step is done, which leaves these lines on standard output, above the bar. */
  finish(write: () => void): void {
    this.#done++;
    if (!this.#isTerminal) return write();
    this.#bar.stop();
    write();
    this.#bar.start(this.#total, this.#done, { step: this.#step });
  }

  /** Takes the bar away. */
  [Symbol.dispose](): void {
    this.#bar.stop();
  }
}
