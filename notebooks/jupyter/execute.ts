/** Runs a notebook in a Jupyter without pages, through execute.py. */
import type { Jupyter } from "./ensure_jupyter.ts";
import type { RunMetadata } from "./notebook_file.ts";
import { HERE } from "./paths.ts";

/** Beyond its own bounds, what the program may take to start, and to end its kernel. */
const GRACE_SECONDS = 90;

/** Options of {@linkcode executeNotebook}. */
export interface ExecuteOptions {
  /** The path of the notebook, whose folder is where its code runs. */
  readonly notebook: string;
  /** Where to write it with its outputs, if it runs to its end; may be the same path. */
  readonly out: string;
  /** How long a cell may take, in whole seconds. Default 300. */
  readonly cellSeconds?: number;
  /** How long the notebook may take, in seconds. Default 900. */
  readonly seconds?: number;
  /** What to write down of the run. */
  readonly metadata?: RunMetadata;
  /** Further variables for the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Whether to keep the messages for the caller, and print none. Default `false`. */
  readonly quiet?: boolean;
}

/** How a run went. */
export interface Execution {
  /** Whether all cells ran without an error, and the file was written. */
  readonly ok: boolean;
  /** What was said of the run's progress and of its failure; empty if it was printed. */
  readonly messages: string;
}

/**
 * Runs all cells of a notebook in a kernel of its own. What is displayed is what can be committed:
 * pictures instead of scripts, and text without colours.
 *
 * @param jupyter The installation.
 * @param options What to run, and for how long.
 * @returns How it went; whatever the cells do, this is known some seconds after the time is up.
 */
export async function executeNotebook(
  jupyter: Jupyter,
  options: ExecuteOptions,
): Promise<Execution> {
  const { notebook, out, cellSeconds = 300, seconds = 900, metadata, quiet = false } = options;
  const child = new Deno.Command(jupyter.python, {
    args: [
      ...[`${HERE}execute.py`, notebook, out],
      ...["--cell-timeout", `${cellSeconds}`, "--timeout", `${seconds}`],
      ...(metadata === undefined ? [] : ["--metadata", JSON.stringify(metadata)]),
    ],
    env: {
      ...jupyter.env,
      NO_COLOR: "1",
      DENOFORMERS_NOTEBOOK_OUTPUT: "static",
      ...options.env,
    },
    stdin: "null",
    stdout: "null",
    stderr: quiet ? "piped" : "inherit",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), (seconds + GRACE_SECONDS) * 1000);
  try {
    if (!quiet) return { ok: (await child.status).success, messages: "" };
    const { success, stderr } = await child.output();
    return { ok: success, messages: new TextDecoder().decode(stderr) };
  } finally {
    clearTimeout(timer);
  }
}
