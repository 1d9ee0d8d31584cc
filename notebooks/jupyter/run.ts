// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Runs notebooks without a page and writes their outputs: the task `notebook:run`.
 *
 *     deno run -A notebooks/jupyter/run.ts [--help]
 */
import type { AdapterReport } from "../../gpu/setup/check_adapter.ts";
import { runCommand } from "../../gpu/setup/command.ts";
import { SetupError } from "../../gpu/setup/install.ts";
import { writeCharts } from "./charts.ts";
import { ensureJupyter, type Jupyter } from "./ensure_jupyter.ts";
import { executeNotebook } from "./execute.ts";
import {
  codeHash,
  fileName,
  notebooksIn,
  readNotebook,
  type RunMetadata,
} from "./notebook_file.ts";
import { NOTEBOOKS, ROOT } from "./paths.ts";
import { runProgram } from "./program.ts";
import { CELLS_TIME, parseRunOptions, RUN_USAGE, type RunCommand } from "./run_options.ts";

const CHECK_SECONDS = 120;

async function main(args: readonly string[]): Promise<number> {
  const command = parseRunOptions(args);
  if (command.help) {
    console.log(RUN_USAGE.trimEnd());
    return 0;
  }
  const notebooks = command.notebooks.length > 0 ? command.notebooks : notebooksIn(NOTEBOOKS);
  const jupyter = await ensureJupyter();
  const run = await describeRun(command.size);
  if (command.out !== undefined) await Deno.mkdir(command.out, { recursive: true });
  let failed = 0;
  for (const notebook of notebooks) {
    const start = performance.now();
    const ok = await runNotebook(jupyter, run, notebook, command);
    if (!ok) failed++;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${ok ? "ok" : "FAILED"} ${fileName(notebook)} (${run.size}, ${seconds} s)`);
  }
  console.log(`notebooks: ${notebooks.length - failed} passed, ${failed} failed`);
  return failed > 0 || notebooks.length === 0 ? 1 : 0;
}

async function runNotebook(
  jupyter: Jupyter,
  run: Omit<RunMetadata, "codeHash">,
  notebook: string,
  { out, cellSeconds }: RunCommand,
): Promise<boolean> {
  let metadata: RunMetadata;
  try {
    metadata = { codeHash: await codeHash(readNotebook(notebook)), ...run };
  } catch (error) {
    console.error(`${fileName(notebook)}: ${error instanceof Error ? error.message : error}`);
    return false;
  }
  const { ok } = await executeNotebook(jupyter, {
    notebook,
    out: out === undefined ? notebook : `${out}/${fileName(notebook)}`,
    cellSeconds,
    seconds: cellSeconds * CELLS_TIME,
    metadata,
    env: { DENOFORMERS_NOTEBOOK_SIZE: run.size },
  });
  if (ok && out === undefined) writeCharts(notebook);
  return ok;
}

/** What a run depends on beside the notebook. */
async function describeRun(
  size: "small" | "large" | undefined,
): Promise<Omit<RunMetadata, "codeHash">> {
  // In a process of its own, so that none of the device's memory is taken while notebooks run.
  const program = `${ROOT}gpu/setup/check_adapter.ts`;
  const { stdout, ending } = await runCommand([Deno.execPath(), "run", "-A", "--quiet", program], {
    timeout: CHECK_SECONDS,
  });
  const report: AdapterReport = JSON.parse(stdout.trim().split("\n").at(-1) || "null") ??
    { ok: false, reason: `The process that tests the adapter ${ending}` };
  if (!report.ok) throw new SetupError(`Cannot run notebooks: ${report.reason}.`);
  const { version } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.json`));
  return {
    size: size ?? (report.isFallback ? "small" : "large"),
    adapter: report.adapter ?? "",
    runtime: `Deno ${Deno.version.deno}`,
    version,
  };
}

if (import.meta.main) await runProgram(main);
