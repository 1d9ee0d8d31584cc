// deno-lint-ignore-file no-console -- says what is going on, on the command line
/** Carries out plans of an installation. */
import { type AptFacts, type AptPlan, type AptStep, planPackages } from "./apt.ts";
import { type CommandResult, runCommand } from "./command.ts";
import { aptFacts } from "./system.ts";

/** How much of a failed command's output to show. */
const TAIL_LINES = 15;

/** What was tried and why it went wrong; for people, and not a fault of the program. */
export class SetupError extends Error {
  override name = "SetupError";
}

/**
 * Installs what a plan says.
 *
 * @param makePlan Makes the plan, or says why there can be none.
 * @param verbose Whether to show the commands and their output, which otherwise is kept for failures.
 * @throws {SetupError} If it cannot be done.
 */
export async function install(
  makePlan: (facts: AptFacts) => AptPlan | { impossible: string },
  verbose = false,
): Promise<void> {
  const folder = Deno.makeTempDirSync({ prefix: "denoformers_" });
  try {
    const plan = makePlan(await aptFacts(folder));
    if ("impossible" in plan) throw new SetupError(`Nothing was installed: ${plan.impossible}.`);
    console.error(`Installing ${plan.summary}; this takes a minute or so.`);
    // apt gives up root's rights while it downloads, and must still reach the folder.
    Deno.chmodSync(folder, 0o755);
    try {
      await carryOut(plan, verbose);
    } finally {
      for (const step of plan.cleanUp) await run(step, verbose);
    }
  } finally {
    removeFolder(folder);
  }
}

/**
 * Installs packages of Debian or Ubuntu. See first whether what is needed is there already: this does
 * not look.
 *
 * @param packages Their names, such as `["python3", "python3-venv"]`.
 * @param summary What they are, for people, such as `"Python"`.
 * @throws {SetupError} If they cannot be installed; the text says what to install by hand.
 */
export async function installPackages(
  packages: readonly string[],
  summary: string,
): Promise<void> {
  const names = packages.join(" ");
  try {
    await install((facts) => planPackages(packages, `${summary} (${names})`, facts));
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    throw new SetupError(
      `${error.message}\n\nInstall ${summary}. On Debian and Ubuntu:\n  sudo apt install ${names}`,
    );
  }
}

function removeFolder(folder: string): void {
  try {
    Deno.removeSync(folder, { recursive: true });
  } catch (error) {
    // What root left in it; the system clears its folder of temporary files.
    if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
  }
}

async function carryOut(plan: AptPlan, verbose: boolean): Promise<void> {
  for (const path of plan.folders) Deno.mkdirSync(path, { recursive: true });
  for (const { path, text } of plan.files) Deno.writeTextFileSync(path, text);
  const failures: string[] = [];
  for (const step of plan.steps) {
    const result = await run(step, verbose);
    if (result.ok) continue;
    failures.push(explain(`${step.command.join(" ")}\n${result.ending}`, result));
    if (!step.optional) throw new SetupError(failures.join("\n"));
  }
}

function run(step: AptStep, verbose: boolean): Promise<CommandResult> {
  if (verbose) console.error(`+ ${step.command.join(" ")}`);
  return runCommand(step.command, { terminal: verbose || (step.interactive ?? false) });
}

/**
 * A reason, and the end of what the command behind it wrote.
 *
 * @param reason The reason.
 * @param result How the command ended.
 * @returns The text, without a line break at its end.
 */
export function explain(reason: string, { stdout, stderr }: CommandResult): string {
  const lines = `${stdout}${stderr}`.trimEnd().split("\n").slice(-TAIL_LINES);
  const output = lines.map((line) => `  ${line}`).join("\n");
  return output.trim() === "" ? reason : `${reason}:\n${output}`;
}
