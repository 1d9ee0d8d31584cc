// deno-lint-ignore-file no-console -- says what is going on, on the command line
/** Makes the virtual environment that JupyterLab runs in. */
import { runCommand } from "../../gpu/setup/command.ts";
import { explain, SetupError } from "../../gpu/setup/install.ts";
import { ensurePython } from "./python.ts";

/** An installation takes a minute; a server that stops to answer must not hang it for good. */
const INSTALL_SECONDS = 1200;
const PROBE_SECONDS = 20;

/**
 * Variables under which the Python of an environment sees that environment alone, whatever the user has
 * set.
 */
export const ISOLATED: Readonly<Record<string, string>> = {
  PYTHONPATH: "",
  PYTHONHOME: "",
  PYTHONNOUSERSITE: "1",
};

/** What a virtual environment is to be. */
export interface VenvOptions {
  /** Its folder. */
  readonly folder: string;
  /** Path of the list of packages for pip. */
  readonly requirements: string;
  /** What is installed, for people. */
  readonly summary: string;
  /** Gives the Python to make it with; called only where it must be made. */
  readonly findPython?: () => Promise<string>;
}

/**
 * The Python of an environment.
 *
 * @param folder The environment's folder.
 * @returns The path of the program.
 */
export function pythonOf(folder: string): string {
  return Deno.build.os === "windows" ? `${folder}/Scripts/python.exe` : `${folder}/bin/python`;
}

/**
 * Makes a virtual environment if there is none, or if it is not as it should be: because its packages are
 * others, its Python is gone or was replaced, its folder was moved, or its installation was interrupted.
 * Processes that ask for the same one at the same time wait for each other.
 *
 * @param options What it is to be.
 * @returns The path of its Python.
 * @throws {SetupError} If it cannot be made.
 */
export async function ensureVenv(options: VenvOptions): Promise<string> {
  const { folder } = options;
  if (await isSound(options)) return pythonOf(folder);
  await Deno.mkdir(folder.replace(/[^/\\]+[/\\]?$/, ""), { recursive: true });
  // The system frees the lock if this process ends in the middle.
  using lock = await Deno.open(`${folder}.lock`, { write: true, create: true });
  if (!await lock.tryLock(true)) {
    console.error(`Waiting for another process that installs ${options.summary}.`);
    await lock.lock(true);
  }
  if (!await isSound(options)) await makeVenv(options);
  return pythonOf(folder);
}

async function makeVenv({ folder, requirements, summary, ...options }: VenvOptions): Promise<void> {
  const python = await (options.findPython ?? ensurePython)();
  console.error(`Installing ${summary} into ${folder}; this takes a minute or two, once.`);
  await Deno.remove(folder, { recursive: true }).catch(ignoreMissing);
  await must([python, "-m", "venv", folder]);
  await must([
    ...[pythonOf(folder), "-m", "pip", "install", "--quiet", "--no-input"],
    ...["--disable-pip-version-check", "--requirement", requirements],
  ]);
  // Written last: what has no stamp was not finished.
  await Deno.writeTextFile(`${folder}/stamp.json`, await stamp(folder, requirements));
}

async function must(command: string[]): Promise<void> {
  const result = await runCommand(command, {
    timeout: INSTALL_SECONDS,
    // A setting of pip's to install for the user would be refused in an environment.
    env: { ...ISOLATED, PIP_USER: "0", PIP_REQUIRE_VIRTUALENV: "0" },
  });
  if (result.ok) return;
  throw new SetupError(explain(`${command.join(" ")}\n${result.ending}`, result));
}

async function isSound({ folder, requirements }: VenvOptions): Promise<boolean> {
  const found = await Deno.readTextFile(`${folder}/stamp.json`).catch(ignoreMissing);
  return found !== undefined && found === await stamp(folder, requirements);
}

/** What an environment depends on, as its own Python sees it. */
async function stamp(folder: string, requirements: string): Promise<string> {
  const { stdout } = await runCommand(
    [pythonOf(folder), "-c", "import sys; print(*sys.version_info[:2], sys.base_prefix)"],
    { timeout: PROBE_SECONDS, env: ISOLATED },
  );
  const list = new TextEncoder().encode(await Deno.readTextFile(requirements));
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", list));
  return JSON.stringify({ folder, python: stdout.trim(), requirements: digest.toHex() }) + "\n";
}

function ignoreMissing(error: unknown): undefined {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
