/**
 * The program of the page: memory and time of attention in the reader's browser, drawn while they are
 * measured.
 */
import { type Device, requestDevice } from "@denoformers/attention";
import { page } from "./dom.ts";
import { deviceFacts, errorText } from "./report.ts";
import { parseSettings, type Settings, SettingsError } from "./settings.ts";
import { pointCount, sweep } from "./sweep.ts";
import { formatTokens } from "./text.ts";
import { View } from "./view.ts";

/** Sizes to begin with: a sweep of some seconds. */
const SUGGESTED = {
  cpu: { longest: 2048, heads: 1 },
  gpu: { longest: 32_768, heads: 8 },
} as const;

/** Why a sweep ends when its reader wants it to. */
class StoppedError extends Error {
  override name = "StoppedError";
}

/** What the page is doing. */
class Program {
  readonly #view = new View();
  #device: Device | undefined;
  /** Ends the sweep that is under way, if there is one. */
  #sweep: AbortController | undefined;
  #isFirstDevice = true;

  start(): void {
    const show = (error: unknown) => this.#view.showError(errorText(error));
    page.addEventListener("error", ({ error, message }) => show(error ?? message));
    page.addEventListener("unhandledrejection", ({ reason }) => show(reason));
    this.#view.onButtons({
      run: () => this.#run(),
      stop: () => this.#stop(),
      newDevice: () => this.#whileBusy(() => this.#connect()),
    });
    this.#whileBusy(() => this.#connect());
  }

  /** Requests a device, in place of one that was lost. */
  async #connect(): Promise<Device> {
    this.#view.showStatus("Asking the browser for a GPU …");
    const device = await requestDevice();
    this.#device = device;
    this.#view.showFacts(deviceFacts(device.info));
    if (this.#isFirstDevice) this.#view.suggest(SUGGESTED[device.info.isFallback ? "cpu" : "gpu"]);
    this.#isFirstDevice = false;
    this.#view.showStatus("Ready.");
    return device;
  }

  #run(): void {
    if (this.#sweep) return;
    this.#view.clearErrors();
    let settings: Settings;
    try {
      settings = parseSettings(this.#view.fields());
    } catch (error) {
      if (!(error instanceof SettingsError)) throw error;
      this.#view.showInvalid(error.field, error.message);
      return;
    }
    this.#whileBusy((signal) => this.#measure(settings, signal));
  }

  async #measure(settings: Settings, signal: AbortSignal): Promise<void> {
    const device = this.#device ?? await this.#connect();
    const total = pointCount(settings);
    let done = 0;
    this.#view.showPoints([], settings);
    this.#view.showProgress(done, total);
    for await (const event of sweep(device, settings, { signal })) {
      if (event.kind === "measuring") {
        const { way, tokens } = event;
        this.#view.showStatus(`Measuring N = ${formatTokens(tokens)}, ${way} …`);
        continue;
      }
      this.#view.showProgress(++done, total);
      this.#view.showPoints(event.points, settings);
    }
    this.#view.showStatus(`Done: ${total} points.`);
  }

  #stop(): void {
    this.#sweep?.abort(new StoppedError());
    this.#view.showStatus("Stopping …");
  }

  /** One thing at a time, with Stop instead of Run; an error ends it and is shown. */
  async #whileBusy(work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    const { signal } = this.#sweep = new AbortController();
    this.#view.clearErrors();
    this.#view.setRunning(true);
    try {
      await work(signal);
    } catch (error) {
      if (error instanceof StoppedError) this.#view.showStatus("Stopped.");
      else this.#fail(error);
    } finally {
      this.#sweep = undefined;
      this.#view.setRunning(false);
    }
  }

  #fail(error: unknown): void {
    const text = errorText(error);
    if (text.needsDevice) {
      this.#device?.dispose();
      this.#device = undefined;
    }
    this.#view.showError(text);
    this.#view.showStatus("Ended by an error.");
  }
}

new Program().start();
