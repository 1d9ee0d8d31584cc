/** Asks the system for the facts that a plan needs. */
import { type AptFacts, LIST_TARGETS, parseAptTargets, type Privilege } from "./apt.ts";
import { runCommand } from "./command.ts";
import { parseOsRelease } from "./os_release.ts";

const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";

/**
 * Collects what {@linkcode AptFacts} holds.
 *
 * @param folder An empty folder, for what the plan needs to write.
 * @returns The facts.
 */
export async function aptFacts(folder: string): Promise<AptFacts> {
  const targets = await runCommand(["apt-get", ...LIST_TARGETS]);
  const osRelease = readText("/etc/os-release") ?? readText("/usr/lib/os-release") ?? "";
  return {
    osRelease: parseOsRelease(osRelease),
    privilege: await privilege(),
    hasApt: targets.ok,
    targets: parseAptTargets(targets.stdout),
    sourcesList: readText("/etc/apt/sources.list") ?? "",
    ...(readText(KEYRING) === undefined ? {} : { keyring: KEYRING }),
    folder,
  };
}

async function privilege(): Promise<Privilege> {
  if (Deno.uid() === 0) return "root";
  const sudo = await runCommand(["sudo", "-n", "true"]);
  if (sudo.ok) return "sudo";
  const found = (await runCommand(["sudo", "--version"])).ok;
  return found && Deno.stdin.isTerminal() ? "sudo with a password" : "none";
}

function readText(path: string): string | undefined {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
      return undefined;
    }
    throw error;
  }
}
