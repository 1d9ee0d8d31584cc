/**
 * The way out of the kernel, and the remedy for output that it loses.
 *
 * Deno's kernel (2.9) tells that a cell has ended before it has sent the cell's last output, which
 * front ends then drop or show below another cell. So the thread that runs the cells is kept until all was
 * sent, whichever way a cell ends: by a value, by an error, or with the kernel itself. Where the kernel can be
 * listened to we know when that is; elsewhere we wait for a time that is enough as a rule.
 */
import { Listener } from "./listener.ts";
import type { Publisher } from "./publisher.ts";

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

/** What is used of the global scope. */
export interface Scope {
  readonly JSON: { stringify: typeof JSON.stringify };
  addEventListener(type: "unload", listener: () => void): void;
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

/** Waits until all output was sent, and blocks the thread meanwhile. */
export class Flush {
  readonly #kernel: Kernel;
  #listener: Listener | undefined;
  #messages = 0;

  /**
   * @param kernel What is to be waited for.
   * @param publisher Where it publishes; undefined if that cannot be found out.
   */
  constructor(kernel: Kernel, publisher: Publisher | undefined) {
    this.#kernel = kernel;
    if (publisher) this.#listener = new Listener(publisher);
    else this.#countPrinted();
  }

  /** Notes that a message is on its way. */
  count(): void {
    this.#messages++;
  }

  /** Never throws. */
  wait(): void {
    if (this.#listener) {
      if (this.#isSent(this.#listener)) return;
      this.#listener[Symbol.dispose](); // Another try would take as long.
      this.#listener = undefined;
      this.#countPrinted();
    }
    const wait = WAIT_MS + WAIT_MS_A_MESSAGE * this.#messages;
    this.#messages = 0;
    const never = new Int32Array(new SharedArrayBuffer(4));
    Atomics.wait(never, 0, 0, Math.min(wait, LONGEST_WAIT_MS));
  }

  /** Makes the kernel wait at the end of each cell; does nothing if it does so already, or has not got the function. */
  install(
    internals: Partial<Internals> | undefined = denoInternals(),
    scope: Scope = globalThis,
  ): void {
    const original = internals?.broadcastResult;
    if (!internals || typeof original !== "function" || WAITS in original) return;
    const waiting = async (count: unknown, value: unknown, ...more: unknown[]) => {
      const isShown = typeof value === "object" && value !== null && SHOWN in value;
      const result = await original.call(internals, count, isShown ? undefined : value, ...more);
      this.wait();
      return result;
    };
    internals.broadcastResult = Object.assign(waiting, { [WAITS]: true });
    this.#waitAtErrors(scope.JSON);
    scope.addEventListener("unload", () => this.wait()); // Of `Deno.exit()`.
  }

  /**
   * Of what a cell has thrown the kernel has this thread make `JSON.stringify({ name, message, stack })`, then
   * sends the error and tells that the cell has ended. No other code of this thread runs in between.
   */
  #waitAtErrors(json: Scope["JSON"]): void {
    json.stringify = new Proxy(json.stringify, {
      apply: (stringify, self, parameters) => {
        if (isThrown(parameters)) this.wait();
        return Reflect.apply(stringify, self, parameters);
      },
    });
  }

  #isSent(listener: Listener): boolean {
    const mark = `flush-${crypto.randomUUID()}`;
    // An update of a display that does not exist changes nothing anywhere.
    const content = { data: {}, metadata: {}, transient: { display_id: mark } };
    return listener.waitForMark(mark, () => {
      this.#kernel.broadcast("update_display_data", content);
    });
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

/** Whether these are the kernel's parameters for something thrown; if they are another's, waiting does no harm. */
function isThrown([value, ...more]: readonly unknown[]): boolean {
  return more.length === 0 && typeof value === "object" && value !== null &&
    Object.keys(value).join() === "name,message,stack";
}
