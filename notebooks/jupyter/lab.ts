// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Opens the notebooks in JupyterLab: the task `notebook`.
 *
 *     deno run -A notebooks/jupyter/lab.ts [--help]
 */
import { ensureJupyter } from "./ensure_jupyter.ts";
import { hasDisplay, LAB_USAGE, parseLabOptions } from "./lab_options.ts";
import { startLab } from "./lab_server.ts";
import { runProgram } from "./program.ts";

async function main(args: readonly string[]): Promise<number> {
  const { port, noBrowser, args: others, help } = parseLabOptions(args);
  if (help) {
    console.log(LAB_USAGE.trimEnd());
    return 0;
  }
  const openBrowser = !noBrowser && hasDisplay(Deno.build.os, Deno.env.toObject());
  const jupyter = await ensureJupyter();
  let stopping = false;
  // Before the start, so that an interruption cannot leave the server behind.
  onStop(() => {
    stopping = true;
    starting.then((lab) => lab.stop(), () => {});
  });
  const starting = startLab(jupyter, {
    ...(port === undefined ? {} : { port }),
    openBrowser,
    args: others,
  });
  const lab = await starting;
  if (!stopping) {
    console.log(`JupyterLab is running${openBrowser ? "" : "; open this address in a browser"}:

    ${lab.url}

Ctrl-C stops it and its kernels. Its messages are in ${lab.log}`);
  }
  const { code } = await lab.ended;
  if (stopping) {
    await lab.stop();
    return 0;
  }
  console.error(`JupyterLab ended by itself, with exit code ${code}: see ${lab.log}`);
  return 1;
}

/** Calls a function when the user ends the program or closes its terminal. */
function onStop(stop: () => void): void {
  const signals: Deno.Signal[] = Deno.build.os === "windows"
    ? ["SIGINT", "SIGBREAK"]
    : ["SIGINT", "SIGTERM", "SIGHUP"];
  for (const signal of signals) Deno.addSignalListener(signal, stop);
}

if (import.meta.main) await runProgram(main);
