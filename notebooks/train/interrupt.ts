/** Ctrl-C, or the system's wish that the program end: once for an orderly end, twice for an end at once. */

/** Exit codes of a program that was interrupted, by the shells' convention: 128 and the signal's number. */
const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

type Signal = keyof typeof EXIT_CODES;

/** Windows knows SIGINT alone. */
const SIGNALS: readonly Signal[] = Deno.build.os === "windows" ? ["SIGINT"] : ["SIGINT", "SIGTERM"];

/**
 * Further signals within this time belong to the same key press: a terminal sends one to every program that
 * runs in it, and `deno task` passes its own on.
 */
const SAME_PRESS_MS = 300;

/** Listens for interrupts until it is disposed. */
export class Interrupt {
  #requestedAt: number | undefined;
  #code: number = EXIT_CODES.SIGINT;
  readonly #reactions: { readonly first: () => void; readonly second: () => void };

  /** Starts listening. `first` is called at the first interrupt, `second` before the second ends the program. */
  constructor(reactions: { readonly first: () => void; readonly second: () => void }) {
    this.#reactions = reactions;
    for (const signal of SIGNALS) Deno.addSignalListener(signal, this.#listeners[signal]);
  }

  /** Whether there was one. */
  get requested(): boolean {
    return this.#requestedAt !== undefined;
  }

  /** The exit code that tells of the first one. */
  get code(): number {
    return this.#code;
  }

  /** Stops listening; the next interrupt ends the program. */
  [Symbol.dispose](): void {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, this.#listeners[signal]);
  }

  readonly #listeners: Record<Signal, () => void> = {
    SIGINT: () => this.#take("SIGINT"),
    SIGTERM: () => this.#take("SIGTERM"),
  };

  #take(signal: Signal): void {
    const now = performance.now();
    if (this.#requestedAt === undefined) {
      this.#requestedAt = now;
      this.#code = EXIT_CODES[signal];
      this.#reactions.first();
    } else if (now - this.#requestedAt > SAME_PRESS_MS) {
      this.#reactions.second();
      Deno.exit(EXIT_CODES[signal]);
    }
  }
}
