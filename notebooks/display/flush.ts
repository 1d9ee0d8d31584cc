/**
 * The way out of the kernel, and the remedy for output that it loses.
 *
 * Deno's kernel (2.9) tells that a cell has ended before it has sent the cell's last output, which
 * front ends then drop or show below another cell. Where it can be listened to, we wait until it has
 * sent everything; elsewhere for a time that is enough as a rule.
 */
import { type Publisher, waitForMark } from "./publisher.ts";

/** How long a message may take at the least, in milliseconds, where the kernel cannot be listened to. */
const WAIT_MS = 50;
/** How much longer for each message before it. */
const WAIT_MS_A_MESSAGE = 1;
const LONGEST_WAIT_MS = 2000;

/** What is used of `Deno.jupyter`. */
export interface Kernel {
  broadcast(type: string, content: unknown): unknown;
}

/** What is used of Deno's internals: the kernel awaits it after each cell that did not throw. */
export interface Internals {
  /** Sends a cell's last value. */
  broadcastResult(...parameters: unknown[]): Promise<unknown>;
}

/** Marks a function that waits already, whichever copy of this module made it. */
const WAITS = Symbol.for("denoformers.waitsForOutput");

/** Property of values that have shown themselves already: as a cell's last value they show nothing. */
export const SHOWN: unique symbol = Symbol.for("denoformers.shown");

/** The kernel that runs this code; undefined elsewhere. */
export function runningKernel(): Kernel | undefined {
  try {
    const { jupyter } = Deno as unknown as { jupyter?: Kernel };
    return typeof jupyter?.broadcast === "function" ? jupyter : undefined;
  } catch {
    return undefined; // Outside of the kernel Deno throws.
  }
}

function denoInternals(): Partial<Internals> | undefined {
  const { internal } = Deno as unknown as { internal: string };
  return (Deno as unknown as Record<string, { jupyter?: Partial<Internals> }>)[internal]?.jupyter;
}

/** Waits until all output was sent. */
export class Flush {
  readonly #kernel: Kernel;
  #publisher: Publisher | undefined;
  #messages = 0;

  /**
   * @param kernel What is to be waited for.
   * @param publisher Where it publishes; undefined if that cannot be found out.
   */
  constructor(kernel: Kernel, publisher: Publisher | undefined) {
    this.#kernel = kernel;
    this.#publisher = publisher;
    if (!publisher) this.#countPrinted();
  }

  /** Notes that a message is on its way. */
  count(): void {
    this.#messages++;
  }

  /** Never throws. */
  async wait(): Promise<void> {
    if (this.#publisher) {
      if (await this.#isSent(this.#publisher)) return;
      this.#publisher = undefined; // Another try would take as long.
      this.#countPrinted();
    }
    const wait = WAIT_MS + WAIT_MS_A_MESSAGE * this.#messages;
    this.#messages = 0;
    await new Promise((done) => setTimeout(done, Math.min(wait, LONGEST_WAIT_MS)));
  }

  /** Makes the kernel wait after each cell; does nothing if it does so already, or has not got the function. */
  install(internals: Partial<Internals> | undefined = denoInternals()): void {
    const original = internals?.broadcastResult;
    if (!internals || typeof original !== "function" || WAITS in original) return;
    const waiting = async (count: unknown, value: unknown, ...more: unknown[]) => {
      const isShown = typeof value === "object" && value !== null && SHOWN in value;
      const result = await original.call(internals, count, isShown ? undefined : value, ...more);
      await this.wait();
      return result;
    };
    internals.broadcastResult = Object.assign(waiting, { [WAITS]: true });
  }

  async #isSent(publisher: Publisher): Promise<boolean> {
    const mark = `flush-${crypto.randomUUID()}`;
    const content = { data: {}, metadata: {}, transient: { display_id: mark } };
    try {
      // An update of a display that does not exist changes nothing anywhere.
      return await waitForMark(publisher, mark, () => {
        this.#kernel.broadcast("update_display_data", content);
      });
    } catch {
      return false;
    }
  }

  #countPrinted(): void {
    for (const name of ["log", "info", "debug", "warn", "error"] as const) {
      // deno-lint-ignore no-console -- to be wrapped
      const print = console[name];
      // deno-lint-ignore no-console -- to be wrapped
      console[name] = (...parameters) => {
        this.count();
        print.apply(console, parameters);
      };
    }
  }
}
