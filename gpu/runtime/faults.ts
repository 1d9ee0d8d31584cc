/**
 * Turns the GPU's asynchronous errors into ours. WebGPU commands never throw: a refused one is
 * dropped, and whoever reads its output gets zeros. So three error scopes stay open all the time; at
 * each await they are closed, looked at and opened again. Every write to a tensor's storage carries a
 * serial number, and an error condemns all writes since the last look: the first await throws it, and
 * later uses of a condemned tensor throw it again.
 */
import { DeviceLostError, GpuOutOfMemoryError, GpuValidationError } from "../errors.ts";

/** How long the news of a device's loss may take behind its first sign, in milliseconds; mostly it takes 10. */
const NEWS_MS = 1000;

const FILTERS = ["validation", "out-of-memory", "internal"] as const;

/** So many failures are kept with their errors, which hold the source of a kernel; of earlier ones, what they undid. */
const MAX_ERRORS = 100;

/** An error together with the writes that it may have undone. */
interface Failure {
  readonly after: number;
  readonly upTo: number;
  error: Error;
}

/** What writes are noted on; a `Storage`. */
interface Writable {
  since: number;
  written: number;
}

/** The error state of one device. */
export class FaultLog {
  readonly #gpu: GPUDevice;
  readonly #describe: () => string;
  readonly #onOutOfMemory: () => void;
  #serial = 0;
  #settled = 0;
  #judged = 0;
  #unreported: Error[] = [];
  readonly #failures: Failure[] = [];
  #checks: Promise<Error | undefined>[] = [];
  #settling: Promise<void> = Promise.resolve();
  #lost: DeviceLostError | undefined;
  /** How to end the waits under way, should the device be lost. */
  readonly #waits = new Set<(error: DeviceLostError) => void>();
  /** Called before scopes are opened or closed: errors of what was enqueued before belong to those open until then. */
  onScopes: () => void = () => {};

  /**
   * @param gpu The device to watch.
   * @param describe Says which adapter this is and how much memory is in use, for messages.
   * @param onOutOfMemory Called when an allocation turns out to have failed.
   */
  constructor(gpu: GPUDevice, describe: () => string, onOutOfMemory: () => void) {
    this.#gpu = gpu;
    this.#describe = describe;
    this.#onOutOfMemory = onOutOfMemory;
    this.#openScopes();
    gpu.lost.then((info) => {
      this.#end(
        `GPU device was lost (${info.reason}): ${
          info.message.replace(/\.$/, "") || "the driver gave no reason"
        }; ` +
          `request a new device and create the tensors again. ${describe()}`,
      );
    });
  }

  /** Adds an error that is still being looked for, such as the outcome of a compilation. */
  track(check: Promise<Error | undefined>): void {
    this.#checks.push(check);
  }

  /**
   * Runs a function whose errors are its own affair: they condemn no write, and nobody else is told.
   *
   * @returns What the function returned, and what each of the error scopes around it will tell. A kernel that does
   * not compile shows there as well, by the validation errors of its dispatches.
   */
  apart<T>(fn: () => T): { result: T; scopes: Promise<GPUError | null>[] } {
    const checks = this.#checks;
    this.#checks = [];
    this.onScopes();
    this.#openScopes();
    const close = () => {
      this.onScopes();
      const scopes = FILTERS.map(() => this.#gpu.popErrorScope());
      for (const ignored of [...scopes, ...this.#checks]) ignored.catch(() => {});
      this.#checks = checks;
      return scopes;
    };
    let result: T;
    try {
      result = fn();
    } catch (error) {
      close();
      throw error;
    }
    return { result, scopes: close() };
  }

  /** Marks the device as gone by our own doing. */
  close(reason: string): void {
    this.#end(reason);
  }

  /** Throws if the device is gone. */
  assertAlive(): void {
    if (this.#lost) throw this.#lost;
  }

  /**
   * Waits for what the GPU promised, but not beyond the loss of the device: a driver that died may keep no promise.
   *
   * @throws {DeviceLostError} If the device is gone, or goes before the promise is kept.
   */
  async whileAlive<T>(promise: Promise<T>): Promise<T> {
    // One promise of the loss for all waits would hold on to each of them as long as the device lives.
    // Not by Promise.withResolvers(), which Node has from version 22 on.
    let end: (error: DeviceLostError) => void = () => {};
    const lost = new Promise<never>((_, reject) => end = reject);
    this.#waits.add(end);
    if (this.#lost) end(this.#lost);
    try {
      return await Promise.race([lost, promise]);
    } finally {
      this.#waits.delete(end);
    }
  }

  /**
   * Our error for a buffer that the runtime would not map: mostly the device is lost, and the news is on its way.
   *
   * @param cause What the runtime says.
   */
  async mappingError(cause: unknown): Promise<Error> {
    let timer: ReturnType<typeof setTimeout>;
    const patience = new Promise<void>((resolve) => timer = setTimeout(resolve, NEWS_MS));
    try {
      await this.whileAlive(patience);
    } catch (error) {
      return error as DeviceLostError;
    } finally {
      clearTimeout(timer!);
    }
    return new GpuValidationError(
      `GPU refused to give a buffer back to the host: ${cause}. ${this.#describe()}`,
      { cause },
    );
  }

  /**
   * Notes a write and what it read: until there is a verdict on a write, all that follows from it hangs
   * on the verdict as well.
   */
  noteWrite(target: Writable, sources: readonly Writable[] = []): void {
    const serial = this.#serial += 1;
    let first = target.since > this.#judged ? target.since : serial;
    for (const { since } of sources) if (since > this.#judged && since < first) first = since;
    target.since = first;
    target.written = serial;
  }

  /** Throws if a write that these contents follow from may not have happened. */
  assertSound({ since, written }: Writable): void {
    if (this.#failures.length === 0) return;
    const failure = this.#failures.find(({ after, upTo }) => after < written && since <= upTo);
    if (failure) throw failure.error;
  }

  /**
   * Waits for the verdict on everything enqueued so far, then throws the first error that nobody has
   * been told of. Call it without awaiting before a wait of your own, to overlap the two.
   */
  async settle(): Promise<void> {
    this.onScopes();
    const after = this.#settled;
    const upTo = this.#settled = this.#serial;
    const scopes = FILTERS.map(() => this.#gpu.popErrorScope());
    this.#openScopes();
    const checks = this.#checks;
    this.#checks = [];
    const verdict = this.#verdict(scopes, checks).then((error) => {
      if (!error) return;
      this.#unreported.push(error);
      this.#failures.push({ after, upTo, error });
      const old = this.#failures.at(-1 - MAX_ERRORS);
      if (old) old.error = forgotten();
    });
    const earlier = this.#settling;
    this.#settling = Promise.all([earlier, verdict]).then(() => {
      this.#judged = upTo;
    });
    await this.#settling;
    this.assertAlive();
    const error = this.#unreported.shift();
    // The rest followed from the first; whoever uses their tensors is told by assertSound.
    this.#unreported = [];
    if (error) throw error;
  }

  #end(reason: string): void {
    this.#lost ??= new DeviceLostError(reason);
    for (const end of this.#waits) end(this.#lost);
    this.#waits.clear();
  }

  #openScopes(): void {
    for (const filter of FILTERS) this.#gpu.pushErrorScope(filter);
  }

  async #verdict(
    scopes: Promise<GPUError | null>[],
    checks: Promise<Error | undefined>[],
  ): Promise<Error | undefined> {
    let compile: Error | undefined;
    let errors: (GPUError | null)[];
    try {
      // A compile error comes first: the validation errors of its dispatches only follow from it.
      const told = this.whileAlive(Promise.all([Promise.all(checks), Promise.all(scopes)]));
      let outcomes: (Error | undefined)[];
      [outcomes, errors] = await told;
      compile = outcomes.find((error) => error !== undefined);
    } catch (error) {
      // Scopes cannot be popped from a lost device; `lost` has the reason.
      return this.#lost ?? new DeviceLostError(`GPU device was lost: ${error}`);
    }
    const [internal, outOfMemory, validation] = errors;
    if (outOfMemory) this.#onOutOfMemory();
    if (compile) return compile;
    if (outOfMemory) {
      return new GpuOutOfMemoryError(
        `GPU is out of memory: ${
          outOfMemory.message || "an allocation failed"
        }. ${this.#describe()}. ` +
          `Use smaller tensors, dispose those no longer needed, or call device.emptyCache()`,
      );
    }
    const refused = validation ?? internal;
    return refused
      ? new GpuValidationError(`GPU refused a command: ${refused.message}. ${this.#describe()}`)
      : undefined;
  }
}

/** What remains of an error that was told long ago. */
function forgotten(): Error {
  return new GpuValidationError(
    `GPU refused a command that the tensor follows from, more than ${MAX_ERRORS} errors ago: ` +
      "the reason was thrown then; compute the tensor again",
  );
}
