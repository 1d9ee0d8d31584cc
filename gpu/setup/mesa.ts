/**
 * What to run to install Mesa's software Vulkan driver with apt. Nothing here touches the system: the
 * plan is made from facts and gives a list of commands.
 *
 * Debian 12 needs a detour, because its own Mesa 22.3 silently cuts loops short, as 24.0 still does:
 * its backports have 25.0. They are read through a sources file and package lists in a folder of the plan's own, so
 * that the configuration of apt stays as it is.
 */
import { aptCommands, type AptFacts, type AptPlan, obstacle, planPackages } from "./apt.ts";

/** The packages: the driver, and the library that finds drivers. */
const PACKAGES = ["mesa-vulkan-drivers", "libvulkan1"];

/** What they are, for people. */
const SUMMARY = `Mesa's software Vulkan driver (${PACKAGES.join(", ")})`;

/** Releases that have no Mesa but one that cuts loops short. */
const TOO_OLD: Record<string, string> = {
  buster: "Debian 10",
  bullseye: "Debian 11",
  bionic: "Ubuntu 18.04",
  focal: "Ubuntu 20.04",
  jammy: "Ubuntu 22.04",
};

/** Debian 12: the release has an unsafe Mesa, its backports a safe one. */
const NEEDS_BACKPORTS = "bookworm";

/**
 * Plans the installation of Mesa's driver.
 *
 * @param facts What is known of the system.
 * @returns The plan, or the reason why there can be none.
 */
export function planMesa(facts: AptFacts): AptPlan | { impossible: string } {
  const { osRelease } = facts;
  const tooOld = TOO_OLD[codename(osRelease)];
  if (facts.hasApt && tooOld) {
    return { impossible: `the Mesa of ${tooOld} is unsafe: it silently ends long loops` };
  }
  const impossible = obstacle(facts);
  if (impossible !== undefined) return { impossible };
  if (codename(osRelease) !== NEEDS_BACKPORTS) return planPackages(PACKAGES, SUMMARY, facts);
  const backports = backportsSource(facts);
  if (backports === null) {
    return { impossible: "apt is not configured with a mirror of Debian 12 to find backports on" };
  }
  const sources = `${facts.folder}/sources.list`;
  const lists = `${facts.folder}/lists`;
  const { authenticate, update, install, asRoot } = aptCommands(facts.privilege, [
    `-oDir::Etc::SourceList=${sources}`,
    `-oDir::State::Lists=${lists}`,
    // The caches describe the usual lists.
    "-oDir::Cache::pkgcache=",
    "-oDir::Cache::srcpkgcache=",
  ]);
  const fromBackports = PACKAGES.map((name) =>
    name.startsWith("mesa") ? `${name}/${backports.release}` : name
  );
  return {
    summary: `${SUMMARY} from ${backports.release}`,
    files: [{ path: sources, text: `${facts.sourcesList}\n${backports.line}\n` }],
    folders: [lists, `${lists}/partial`],
    steps: [...authenticate, update, install(fromBackports)],
    // The lists belong to the superuser.
    cleanUp: [{ command: [...asRoot, "rm", "-rf", lists] }],
  };
}

/** The code name of the release of Debian or Ubuntu, also on systems made from one. */
function codename(osRelease: Record<string, string>): string {
  const { UBUNTU_CODENAME, DEBIAN_CODENAME, VERSION_CODENAME } = osRelease;
  return UBUNTU_CODENAME ?? DEBIAN_CODENAME ?? VERSION_CODENAME ?? "";
}

/** The line that adds backports; empty where apt reads them already, null where no mirror is known. */
function backportsSource(facts: AptFacts): { release: string; line: string } | null {
  const release = `${NEEDS_BACKPORTS}-backports`;
  const ofMain = facts.targets.filter(({ component }) => component === "main");
  if (ofMain.some((target) => target.release === release)) return { release, line: "" };
  const names = [NEEDS_BACKPORTS, "stable", "oldstable", "oldoldstable"];
  const mirrors = ofMain.filter((target) => names.includes(target.release));
  // Others' repositories may use the same names, but hardly the same folder.
  const mirror = mirrors.find(({ uri }) => /\/debian\/?$/.test(uri)) ?? mirrors[0];
  if (!mirror) return null;
  const options = facts.keyring ? `[signed-by=${facts.keyring}] ` : "";
  return { release, line: `deb ${options}${mirror.uri} ${release} main` };
}
