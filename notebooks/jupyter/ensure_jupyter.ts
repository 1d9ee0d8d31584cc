/** Makes sure that JupyterLab and its Deno kernel are there, in `.cache/jupyter/` of the project. */
import { HERE, JUPYTER_CACHE } from "./paths.ts";
import { ensureVenv, ISOLATED, pythonOf } from "./venv.ts";

/** An installation of Jupyter that is ready to be used. */
export interface Jupyter {
  /** The path of its Python, whose modules are its programs: `[python, "-m", "jupyterlab"]`. */
  readonly python: string;
  /** Variables for the environment of its programs, which then stay within the project's folder. */
  readonly env: Readonly<Record<string, string>>;
}

/** Settings of JupyterLab that differ from its own: it asks nothing, and asks nobody for news. */
const SETTINGS = {
  "@jupyterlab/apputils-extension:notification": { checkForUpdates: false, fetchNews: "false" },
};

/**
 * Installs JupyterLab, once, and describes the running Deno to it as a kernel. A first call takes a
 * minute or two and says so on the error stream, others a moment.
 *
 * @returns The installation.
 * @throws {SetupError} If it cannot be installed; the text says what is missing.
 */
export async function ensureJupyter(): Promise<Jupyter> {
  const venv = `${JUPYTER_CACHE}venv`;
  await ensureVenv({
    folder: venv,
    requirements: `${HERE}requirements.txt`,
    summary: "JupyterLab",
  });
  await writeJson(`${venv}/share/jupyter/lab/settings/overrides.json`, SETTINGS);
  await writeJson(`${venv}/share/jupyter/kernels/deno/kernel.json`, kernelSpec(Deno.execPath()));
  return { python: pythonOf(venv), env: await environment() };
}

/**
 * Describes Deno's kernel to Jupyter.
 *
 * @param deno The path of the program of Deno.
 * @returns The content of kernel.json.
 */
export function kernelSpec(deno: string): Record<string, unknown> {
  return {
    argv: [deno, "jupyter", "--quiet", "--kernel", "--conn", "{connection_file}"],
    display_name: "Deno",
    language: "typescript",
  };
}

async function environment(): Promise<Record<string, string>> {
  const folders: Record<string, string> = {
    JUPYTER_CONFIG_DIR: `${JUPYTER_CACHE}config`,
    JUPYTER_DATA_DIR: `${JUPYTER_CACHE}data`,
    JUPYTER_RUNTIME_DIR: `${JUPYTER_CACHE}runtime`,
    IPYTHONDIR: `${JUPYTER_CACHE}ipython`,
  };
  // Without it WebGPU on Linux warns in every notebook.
  if (Deno.build.os === "linux" && !Deno.env.get("XDG_RUNTIME_DIR")) {
    folders.XDG_RUNTIME_DIR = `${JUPYTER_CACHE}xdg_runtime`;
  }
  for (const folder of Object.values(folders)) {
    await Deno.mkdir(folder, { recursive: true, mode: 0o700 });
  }
  // Where users keep kernels and settings of their own.
  return { ...ISOLATED, ...folders, JUPYTER_PATH: "", JUPYTER_CONFIG_PATH: "" };
}

/** Writes a file in one step, as other processes may be reading it. */
async function writeJson(path: string, value: unknown): Promise<void> {
  await Deno.mkdir(path.replace(/[^/]+$/, ""), { recursive: true });
  const temporary = `${path}.${Deno.pid}`;
  await Deno.writeTextFile(temporary, `${JSON.stringify(value, null, 2)}\n`);
  await Deno.rename(temporary, path);
}
