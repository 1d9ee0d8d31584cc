/** How far a long computation is. */
import { assertArguments, told } from "../../gpu/checks.ts";
import { display, isNotebook, isStatic } from "./kernel.ts";
import { progressHtml, type ProgressState, progressText } from "./progress_text.ts";

/** A line is redrawn at most as often as this, in milliseconds. */
const REDRAW_MS = 100;
/** Where lines cannot be redrawn, another is written at most as often as this. */
const LINE_MS = 15_000;

/** A line that shows how far a computation is. Made by {@linkcode progress}. */
export interface Progress {
  /**
   * Says how much is done. Shown at most ten times a second, but always when all is done. Never throws, as a
   * line that only shows should not end a run.
   *
   * @param done How much of the total is done by now; it may fall. What is less than nothing shows as nothing,
   * what is beyond the total as the total, and what is no number as the number before.
   * @param note What else is worth knowing now, such as the loss.
   */
  update(done: number, note?: string): Promise<void>;
}

/**
 * Shows how far a computation is, in one line: a bar, how much is done, the rate, the time that passed and
 * that is left. Time counts from this call on; the line shows from the first update on. Outside of a
 * notebook it is written to standard error.
 *
 * @param total How much there is to do, such as a number of steps; 0 is done at once.
 * @param label What is being done, at the start of the line.
 * @throws {TypeError} If the total is no number, or the label no string.
 * @throws {RangeError} If the total is negative or not finite.
 *
 * @example
 * ```ts ignore
 * const bar = progress(steps, "training");
 * for (let step = 1; step <= steps; step++) {
 *   const loss = await train();
 *   await bar.update(step, `loss ${loss.toFixed(3)}`);
 * }
 * ```
 */
export function progress(total: number, label = ""): Progress {
  assertArguments("show progress", arguments, 2);
  if (typeof total !== "number") {
    throw new TypeError(`Cannot show progress: total is ${told(total)}, expected a number`);
  }
  if (typeof label !== "string") {
    throw new TypeError(`Cannot show progress: label is ${told(label)}, expected a string`);
  }
  if (!(total >= 0 && total < Infinity)) {
    throw new RangeError(`Cannot show progress: total is ${total}, expected a number from 0 on`);
  }
  return new ProgressLine(total, label);
}

class ProgressLine implements Progress {
  readonly #total: number;
  readonly #label: string;
  readonly #id = `progress-${crypto.randomUUID()}`;
  readonly #isStatic = isNotebook() && isStatic();
  readonly #start = performance.now();
  #redrawn = -Infinity;
  #done = -1;
  #isShown = false;

  constructor(total: number, label: string) {
    this.#total = total;
    this.#label = label;
  }

  update(done: number, note = ""): Promise<void> {
    const total = this.#total;
    const before = this.#done;
    this.#done = shownPart(done, before, total);
    const now = performance.now();
    const pause = isNotebook() || Deno.stderr.isTerminal() ? REDRAW_MS : LINE_MS;
    const isEnd = this.#done === total && before !== total;
    if (!isEnd && now - this.#redrawn < pause) return Promise.resolve();
    this.#redrawn = now;
    const elapsed = now - this.#start;
    return this.#show({
      label: this.#label,
      done: this.#done,
      total,
      note: String(note ?? ""),
      elapsed,
    });
  }

  async #show(state: ProgressState): Promise<void> {
    const text = progressText(state);
    if (!isNotebook()) return writeLine(text, state.done === state.total);
    const update = this.#isShown;
    this.#isShown = true;
    await display({
      ...(!this.#isStatic && { "text/html": progressHtml(state) }),
      "text/plain": text,
    }, { id: this.#id, update });
  }
}

/** How much is done as far as that can be shown: a part of the total. */
function shownPart(done: unknown, before: number, total: number): number {
  const number = typeof done === "number" || typeof done === "bigint" ? Number(done) : NaN;
  return Math.min(Math.max(Number.isNaN(number) ? before : number, 0), total);
}

/** Writes over the line before where that is possible. */
function writeLine(text: string, isLast: boolean): void {
  const line = Deno.stderr.isTerminal() ? `\r${text}\x1b[K${isLast ? "\n" : ""}` : `${text}\n`;
  try {
    Deno.stderr.writeSync(new TextEncoder().encode(line));
  } catch {
    // Nobody reads it any more, which is no reason to stop.
  }
}
