/**
 * Waits for what the kernel publishes without giving up the thread: between the error that ends a cell and
 * the message that it has ended, the kernel calls this thread, but awaits nothing of it. So a worker listens,
 * and this thread sleeps meanwhile.
 */
import { type Publisher, waitForMark } from "./publisher.ts";

/** For how long the worker may say nothing, in milliseconds; the first time it has to start. */
const SILENCE_MS = 10_000;

/** What the worker says. */
const Word = { nothing: 0, send: 1, arrived: 2, failed: 3 } as const;

/** How long what is on its way may take after an interrupt, in milliseconds, if it does not end before. */
const LONGEST_END_MS = 1000;
/** After an interrupt all has come when nothing came for this long, in milliseconds. */
const QUIET_MS = 50;

/** What the worker is told. */
interface Order {
  readonly mark: string;
  /** Where it puts its words. */
  readonly words: Int32Array<SharedArrayBuffer>;
}

/** A worker that listens to a publisher. */
export class Listener {
  readonly #worker: Worker;

  /** @param publisher To what it listens. */
  constructor(publisher: Publisher) {
    // It imports this module, which has been loaded, and needs no file of its own.
    const script = `import { listen } from ${JSON.stringify(import.meta.url)};
      listen(${JSON.stringify(publisher)});`;
    const url = `data:text/javascript,${encodeURIComponent(script)}`;
    this.#worker = new Worker(url, { type: "module" });
    // Where it cannot start it stays silent; its error would end this program.
    this.#worker.addEventListener("error", (event) => event.preventDefault());
  }

  /**
   * Blocks this thread until the publisher has sent a mark to all subscribers.
   *
   * @param mark As of {@linkcode waitForMark}; so is `send`.
   * @param send Makes the publisher send it.
   * @returns Whether it arrived.
   */
  waitForMark(mark: string, send: () => void): boolean {
    const words = new Int32Array(new SharedArrayBuffer(4));
    this.#worker.postMessage({ mark, words } satisfies Order);
    while (Atomics.wait(words, 0, Word.nothing, SILENCE_MS) !== "timed-out") {
      const word = Atomics.exchange(words, 0, Word.nothing);
      if (word !== Word.send) return word === Word.arrived;
      send();
    }
    return false;
  }

  /** Ends the worker. */
  [Symbol.dispose](): void {
    this.#worker.terminate();
  }
}

/** What the worker does. */
export function listen(publisher: Publisher): void {
  globalThis.addEventListener("message", async (event: Event) => {
    const { mark, words } = (event as MessageEvent<Order>).data;
    const say = (word: number) => {
      Atomics.store(words, 0, word);
      Atomics.notify(words, 0);
    };
    const isHeard = await waitForMark(publisher, mark, () => say(Word.send)).catch(() => false);
    say(isHeard ? Word.arrived : Word.failed);
  });
  // Jupyter interrupts by a signal that ends Deno's kernel: not before it has sent what was printed.
  const end = async () => {
    const isQuiet = waitForMark(publisher, crypto.randomUUID(), () => {}, { silence: QUIET_MS });
    const isLate = new Promise((done) => setTimeout(done, LONGEST_END_MS));
    await Promise.race([isQuiet.catch(() => {}), isLate]);
    Deno.removeSignalListener("SIGINT", end);
    Deno.kill(Deno.pid, "SIGINT");
  };
  Deno.addSignalListener("SIGINT", end);
}
