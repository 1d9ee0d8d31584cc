/** A headless Chromium for tests, which reaches this computer alone. */
import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { ensureChromium } from "./ensure_chromium.ts";

/** No single step in a page takes as long as this, but on a machine that does much else. */
export const STEP_MILLISECONDS = 30_000;

/** WebGPU by the SwiftShader that Chromium brings, which needs no GPU and no driver. */
export const WEBGPU_FLAGS = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"];

/**
 * Starts the browser; installs it first where there is none. Names of all hosts but this computer lead
 * nowhere, so that nothing can depend on a CDN.
 *
 * @param flags Further flags of the command line.
 * @returns The browser, whose end is up to the caller, also at a signal.
 * @throws {SetupError} If there is none and none can be installed.
 */
export async function launchChromium(flags: readonly string[] = []): Promise<Browser> {
  return await chromium.launch({
    executablePath: await ensureChromium(),
    timeout: STEP_MILLISECONDS,
    // Its own handlers end this process, before whatever else was started is.
    handleSIGTERM: false,
    handleSIGHUP: false,
    args: [
      "--no-first-run",
      "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
      // Chromium does not run as root with it.
      ...(Deno.build.os !== "windows" && Deno.uid() === 0 ? ["--no-sandbox"] : []),
      ...flags,
    ],
  });
}

/** A browser that is running, and its window. */
export interface ChromiumSession extends AsyncDisposable {
  /** The window, of 1280 x 900 pixels. */
  readonly context: BrowserContext;
  /** Ends the browser. Can be called again. */
  close(): Promise<void>;
}

/**
 * Starts a browser with WebGPU and opens a window.
 *
 * @param flags Flags of the command line; by default those that give WebGPU everywhere.
 * @returns The session, to be closed at the end of the test.
 */
export async function startChromium(
  flags: readonly string[] = WEBGPU_FLAGS,
): Promise<ChromiumSession> {
  const browser = await launchChromium(flags);
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
  context.setDefaultTimeout(STEP_MILLISECONDS);
  const close = () => browser.close();
  return { context, close, [Symbol.asyncDispose]: close };
}
