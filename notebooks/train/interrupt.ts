/** Ctrl-C: once for an orderly end, twice for an end at once. */

/** The exit code of a program that was interrupted, by the shells' convention: 128 and SIGINT's number. */
export const INTERRUPTED = 130;

/**
 * Further signals within this time belong to the same key press: a terminal sends one to every program that
 * runs in it, and `deno task` passes its own on.
 */
const SAME_PRESS_MS = 300;

/** Listens for interrupts until it is disposed. */
export class Interrupt {
  #requestedAt: number | undefined;
  readonly #reactions: { readonly first: () => void; readonly second: () => void };

  /** Starts listening. `first` is called at the first interrupt, `second` before the second ends the program. */
  constructor(reactions: { readonly first: () => void; readonly second: () => void }) {
    this.#reactions = reactions;
    Deno.addSignalListener("SIGINT", this.#listener);
  }

  /** Whether there was one. */
  get requested(): boolean {
    return this.#requestedAt !== undefined;
  }

  /** Stops listening; the next interrupt ends the program. */
  [Symbol.dispose](): void {
    Deno.removeSignalListener("SIGINT", this.#listener);
  }

  readonly #listener = () => {
    const now = performance.now();
    if (this.#requestedAt === undefined) {
      this.#requestedAt = now;
      this.#reactions.first();
    } else if (now - this.#requestedAt > SAME_PRESS_MS) {
      this.#reactions.second();
      Deno.exit(INTERRUPTED);
    }
  };
}
