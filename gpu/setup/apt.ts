/**
 * What to run to install Mesa's software Vulkan driver with apt. Nothing here touches the system: the
 * plan is made from facts and gives a list of commands.
 *
 * Debian 12 needs a detour, because its own Mesa 22.3 silently cuts loops short, as 24.0 still does:
 * its backports have 25.0. They are read through a sources file and package lists in a folder of the plan's own, so
 * that the configuration of apt stays as it is.
 */

/** The packages: the driver, and the library that finds drivers. */
const PACKAGES = ["mesa-vulkan-drivers", "libvulkan1"];

/** Waits for another package manager instead of failing, and retries downloads. */
const PATIENCE = ["-oDPkg::Lock::Timeout=300", "-oAcquire::Retries=3"];

/** Reads the package lists; unlike by default, a list that cannot be fetched is a failure. */
const UPDATE = ["update", "-oAPT::Update::Error-Mode=any", ...PATIENCE];

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

/** How commands can be run as the superuser. */
export type Privilege = "root" | "sudo" | "sudo with a password" | "none";

/** A package index that apt is configured to read. */
export interface AptTarget {
  /** Address of the repository. */
  uri: string;
  /** The release as the configuration names it: a code name, or for example `stable`. */
  release: string;
  /** The component, such as `main`. */
  component: string;
}

/** What the plan depends on. */
export interface AptFacts {
  /** Fields of /etc/os-release. */
  osRelease: Record<string, string>;
  /** How commands can be run as the superuser. */
  privilege: Privilege;
  /** Whether there is an apt-get. */
  hasApt: boolean;
  /** The package indexes that apt is configured to read. */
  targets: AptTarget[];
  /** Text of /etc/apt/sources.list, empty where there is none. */
  sourcesList: string;
  /** Path of Debian's key ring, where there is one. */
  keyring?: string;
  /** An empty folder, for what the plan needs to write. */
  folder: string;
}

/** A command of a plan. */
export interface AptStep {
  /** The program and its arguments. */
  command: string[];
  /** Whether the user may have to answer, so that the terminal must be the command's own. */
  interactive?: boolean;
  /** Whether the plan goes on where the command fails. */
  optional?: boolean;
}

/** What to do. */
export interface AptPlan {
  /** What is installed, for people. */
  summary: string;
  /** Files to write before the first command. */
  files: { path: string; text: string }[];
  /** Folders to make before the first command. */
  folders: string[];
  /** The commands, in order. */
  steps: AptStep[];
  /** Commands to run at the end, whether or not the steps went well. */
  cleanUp: AptStep[];
}

/**
 * Plans the installation.
 *
 * @param facts What is known of the system.
 * @returns The plan, or the reason why there can be none.
 */
export function planApt(facts: AptFacts): AptPlan | { impossible: string } {
  const { osRelease, privilege } = facts;
  const system = osRelease.PRETTY_NAME ?? osRelease.ID ?? "this system";
  if (!facts.hasApt) return { impossible: `${system} has no apt-get, the only way known here` };
  const tooOld = TOO_OLD[codename(osRelease)];
  if (tooOld) {
    return {
      impossible: `the Mesa of ${tooOld} is unsafe: it silently ends long loops`,
    };
  }
  if (privilege === "none") {
    return { impossible: "this user is not root, and cannot become root through sudo" };
  }
  const backports = codename(osRelease) === NEEDS_BACKPORTS ? backportsSource(facts) : undefined;
  if (backports === null) {
    return { impossible: "apt is not configured with a mirror of Debian 12 to find backports on" };
  }
  const asRoot = superuser(privilege);
  const authenticate: AptStep[] = privilege === "sudo with a password"
    ? [{ command: ["sudo", "-v"], interactive: true }]
    : [];
  const install = ["install", "--yes", "--no-install-recommends", ...PATIENCE];
  if (!backports) {
    return {
      summary: `Mesa's software Vulkan driver (${PACKAGES.join(", ")})`,
      files: [],
      folders: [],
      steps: [
        ...authenticate,
        // A repository of someone else's may be out of order without harm to this.
        { command: [...asRoot, "apt-get", ...UPDATE], optional: true },
        { command: [...asRoot, "apt-get", ...install, ...PACKAGES] },
      ],
      cleanUp: [],
    };
  }
  const sources = `${facts.folder}/sources.list`;
  const lists = `${facts.folder}/lists`;
  const options = [
    `-oDir::Etc::SourceList=${sources}`,
    `-oDir::State::Lists=${lists}`,
    // The caches describe the usual lists.
    "-oDir::Cache::pkgcache=",
    "-oDir::Cache::srcpkgcache=",
  ];
  return {
    summary: `Mesa's software Vulkan driver (${PACKAGES.join(", ")}) from ${backports.release}`,
    files: [{ path: sources, text: `${facts.sourcesList}\n${backports.line}\n` }],
    folders: [lists, `${lists}/partial`],
    steps: [
      ...authenticate,
      { command: [...asRoot, "apt-get", ...options, ...UPDATE], optional: true },
      {
        command: [
          ...[...asRoot, "apt-get", ...options, ...install],
          ...PACKAGES.map((name) =>
            name.startsWith("mesa") ? `${name}/${backports.release}` : name
          ),
        ],
      },
    ],
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

/** What to put before a command so that it runs as the superuser and asks no questions. */
function superuser(privilege: Privilege): string[] {
  // Not an assignment to sudo's own environment: many configurations refuse that.
  const env = ["env", "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"];
  if (privilege === "root") return env;
  return privilege === "sudo" ? ["sudo", "-n", ...env] : ["sudo", ...env];
}

/**
 * Reads the output of apt-get indextargets in {@linkcode TARGETS_FORMAT}.
 *
 * @param text The output.
 * @returns The indexes.
 */
export function parseAptTargets(text: string): AptTarget[] {
  const targets: AptTarget[] = [];
  for (const line of text.split("\n")) {
    const [uri, release, component] = line.split("\t");
    if (uri && release && component) targets.push({ uri, release, component });
  }
  return targets;
}

/** Arguments of apt-get that list the indexes it is configured to read, downloaded or not. */
export const LIST_TARGETS = [
  "indextargets",
  // With the information of release files it would leave out what was never downloaded.
  "--no-release-info",
  "--format",
  "$(REPO_URI)\t$(RELEASE)\t$(COMPONENT)",
  "Created-By: Packages",
];
