// deno-lint-ignore-file no-console -- says what is going on, on the command line
/** Finds a Python that can make virtual environments, and installs one where there is none. */
import { runCommand } from "../../gpu/setup/command.ts";
import { installPackages, SetupError } from "../../gpu/setup/install.ts";

/** The oldest minor version of Python 3 that requirements.txt is made for. */
const OLDEST = 10;
/** The newest that is looked for under a name of its own. */
const NEWEST = 16;
/** Starting Python takes a fraction of a second, through a version manager a second. */
const PROBE_SECONDS = 20;
/** Debian keeps what venv needs in a package of its own; without ssl pip cannot download. */
const PROBE = "import sys, ssl, venv, ensurepip; print(*sys.version_info[:2], sys.executable)";

/**
 * Finds a Python.
 *
 * @param candidates Commands to try, the first that will do is taken.
 * @returns The path of its program, or nothing where none will do.
 */
export async function findPython(
  candidates: readonly string[] = pythonCommands(),
): Promise<string | undefined> {
  for (const command of candidates) {
    const { ok, stdout } = await runCommand([command, "-c", PROBE], { timeout: PROBE_SECONDS });
    const [, major, minor, path] = /^(\d+) (\d+) (.+)$/m.exec(stdout) ?? [];
    if (ok && major === "3" && Number(minor) >= OLDEST && path !== undefined) return path;
  }
  return undefined;
}

/** What Pythons are called, those that the system prefers first. */
function pythonCommands(): string[] {
  if (Deno.build.os === "windows") return ["py", "python", "python3"];
  const versions = Array.from({ length: NEWEST - OLDEST + 1 }, (_, n) => `python3.${NEWEST - n}`);
  // The system's own may be hidden behind that of a version manager.
  return ["python3", "/usr/bin/python3", ...versions];
}

/**
 * Finds a Python, and installs Debian's where there is none and apt can be run as root.
 *
 * @returns The path of its program.
 * @throws {SetupError} If there is none and none can be installed; the text says what to install.
 */
export async function ensurePython(): Promise<string> {
  const found = await findPython();
  if (found !== undefined) return found;
  const wanted = `Python 3.${OLDEST} or later with its module venv`;
  console.error(`JupyterLab needs ${wanted}, and there is none here.`);
  if (Deno.build.os !== "linux") {
    throw new SetupError(`Install ${wanted}: see https://www.python.org/downloads/`);
  }
  await installPackages(["python3", "python3-venv"], wanted);
  const installed = await findPython();
  if (installed !== undefined) return installed;
  throw new SetupError(
    `The python3 of this system is older than 3.${OLDEST}, or cannot make virtual environments. ` +
      `Install ${wanted}.`,
  );
}
