// deno-lint-ignore-file no-console -- says why the test ends, on the command line
/** A server of JupyterLab and a browser, for one test. */
import type { BrowserContext } from "playwright-core";
import { ensureJupyter } from "../../../notebooks/jupyter/ensure_jupyter.ts";
import { type Lab, startLab } from "../../../notebooks/jupyter/lab_server.ts";
import { launchChromium, STEP_MILLISECONDS } from "../../browser/_chromium.ts";
import { COPIES } from "./notebook_copies.ts";

/** After this time kernels end that say nothing, and after some more the server that is left alone. */
const IDLE_SECONDS = 300;
const CHECK_SECONDS = 30;
const ALONE_SECONDS = 120;

/** A server and a browser that are running. */
export interface LabSession {
  /** The browser's window; all its pages share the login. */
  readonly context: BrowserContext;
  /** The server. */
  readonly lab: Lab;
  /** Ends browser, kernels and server. Can be called again. */
  close(): Promise<void>;
}

/**
 * Starts JupyterLab on the copies of the notebooks, and a browser that reaches no other server. What
 * is missing is installed first.
 *
 * @param deadline After how many seconds to end both, whatever they do: pending steps then fail.
 * @returns What was started.
 * @throws {SetupError} If something is missing and cannot be installed.
 */
export async function startSession(deadline: number): Promise<LabSession> {
  const lab = await startLab(await ensureJupyter(), {
    port: 0,
    folder: COPIES,
    env: { DENOFORMERS_NOTEBOOK_SIZE: "small", DENOFORMERS_NOTEBOOK_OUTPUT: "interactive" },
    // `deno test` ends at once at an interruption, and may be killed: then the server ends by itself.
    args: [
      `--ServerApp.shutdown_no_activity_timeout=${ALONE_SECONDS}`,
      `--MappingKernelManager.cull_idle_timeout=${IDLE_SECONDS}`,
      `--MappingKernelManager.cull_interval=${CHECK_SECONDS}`,
      "--MappingKernelManager.cull_connected=True",
      "--MappingKernelManager.cull_busy=True",
    ],
  });
  try {
    const browser = await launchChromium(["--disable-gpu"]);
    const close = closeOnce(lab, () => browser.close());
    const timer = setTimeout(() => {
      console.error(
        `The test has not ended within ${deadline} seconds: browser and server end now.`,
      );
      close();
    }, deadline * 1000);
    lab.ended.finally(() => clearTimeout(timer));
    const context = await browser.newContext({ viewport: { width: 1280, height: 900 } });
    context.setDefaultTimeout(STEP_MILLISECONDS);
    return { context, lab, close };
  } catch (error) {
    await lab.stop();
    throw error;
  }
}

/**
 * Ends all kernels, as a notebook's lives on when its page is closed.
 *
 * @param lab The server.
 */
export async function endKernels({ base, token }: Lab): Promise<void> {
  const headers = { authorization: `token ${token}` };
  const signal = AbortSignal.timeout(STEP_MILLISECONDS);
  const response = await fetch(`${base}api/kernels`, { headers, signal });
  for (const { id } of await response.json() as { id: string }[]) {
    const ended = await fetch(`${base}api/kernels/${id}`, { method: "DELETE", headers, signal });
    await ended.body?.cancel();
  }
}

/** Ends both, also at a signal; steps of the test that are under way then fail. */
function closeOnce(lab: Lab, closeBrowser: () => Promise<void>): () => Promise<void> {
  let closing: Promise<void> | undefined;
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? [] : ["SIGTERM", "SIGHUP"];
  const close = () =>
    closing ??= Promise.all([closeBrowser(), lab.stop()]).then(() => {
      for (const signal of signals) Deno.removeSignalListener(signal, close);
    });
  for (const signal of signals) Deno.addSignalListener(signal, close);
  return close;
}
