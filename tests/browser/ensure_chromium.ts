// deno-lint-ignore-file no-console -- says what is going on, on the command line
/** Finds a Chromium or Chrome for tests, and installs Debian's where there is none. */
import { runCommand } from "../../gpu/setup/command.ts";
import { installPackages, SetupError } from "../../gpu/setup/install.ts";

/** What the program is called, the freest first. */
const NAMES = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome"];
/** Where macOS has it. */
const APPLICATIONS = [
  "/Applications/Chromium.app/Contents/MacOS/Chromium",
  "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
];
/** A cold start from a slow disk takes seconds. */
const PROBE_SECONDS = 30;

/**
 * Finds a browser: that in `CHROMIUM_PATH`, else one on the `PATH`, else Debian's after its
 * installation, if apt can be run as root.
 *
 * @returns The path of its program.
 * @throws {SetupError} If there is none and none can be installed; the text says what to do.
 */
export async function ensureChromium(): Promise<string> {
  const chosen = Deno.env.get("CHROMIUM_PATH");
  if (chosen) {
    if (await runs(chosen)) return chosen;
    throw new SetupError(
      `Cannot run CHROMIUM_PATH="${chosen}". Set it to the program of Chromium or Chrome, or unset it.`,
    );
  }
  const found = await findChromium();
  if (found !== undefined) return found;
  const remedy = "Install Chromium or Chrome, or set CHROMIUM_PATH to its program.";
  if (Deno.build.os !== "linux") throw new SetupError(`There is no Chromium here. ${remedy}`);
  console.error("The tests in a browser need Chromium, and there is none here.");
  await installPackages(["chromium"], "Chromium");
  const installed = await findChromium();
  if (installed !== undefined) return installed;
  throw new SetupError(`The system's package of Chromium has no program that runs. ${remedy}`);
}

async function findChromium(): Promise<string | undefined> {
  const folders = (Deno.env.get("PATH") ?? "").split(Deno.build.os === "windows" ? ";" : ":");
  const suffix = Deno.build.os === "windows" ? ".exe" : "";
  const onPath = NAMES.flatMap((name) => folders.map((folder) => `${folder}/${name}${suffix}`));
  for (const path of [...onPath, ...(Deno.build.os === "darwin" ? APPLICATIONS : [])]) {
    // Ubuntu's package may be a script that only says how to install another.
    if (await isFile(path) && await runs(path)) return path;
  }
  return undefined;
}

async function isFile(path: string): Promise<boolean> {
  return (await Deno.stat(path).catch(() => undefined))?.isFile ?? false;
}

async function runs(path: string): Promise<boolean> {
  const { ok, stdout } = await runCommand([path, "--version"], { timeout: PROBE_SECONDS });
  return ok && /Chrom/.test(stdout);
}
