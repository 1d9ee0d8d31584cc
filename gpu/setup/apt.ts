/**
 * What to run to install packages with apt. Nothing here touches the system: a plan is made from facts
 * and gives a list of commands.
 */

/** Waits for another package manager instead of failing, and retries downloads. */
const PATIENCE = ["-oDPkg::Lock::Timeout=300", "-oAcquire::Retries=3"];

/** Reads the package lists; unlike by default, a list that cannot be fetched is a failure. */
const UPDATE = ["update", "-oAPT::Update::Error-Mode=any", ...PATIENCE];

/** Installs what is named behind it, and what that cannot do without. */
const INSTALL = ["install", "--yes", "--no-install-recommends", ...PATIENCE];

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

/** The commands of which plans are made. */
export interface AptCommands {
  /** Steps that get the superuser's rights, where the user has to give a password. */
  authenticate: AptStep[];
  /** Reads the package lists. */
  update: AptStep;
  /** Installs packages. */
  install: (packages: readonly string[]) => AptStep;
  /** What to put before a command so that it runs as the superuser. */
  asRoot: string[];
}

/**
 * Writes the commands down.
 *
 * @param privilege How commands can be run as the superuser.
 * @param options Options for every call of apt-get.
 * @returns The commands.
 */
export function aptCommands(privilege: Privilege, options: readonly string[] = []): AptCommands {
  const asRoot = superuser(privilege);
  const apt = [...asRoot, "apt-get", ...options];
  return {
    authenticate: privilege === "sudo with a password"
      ? [{ command: ["sudo", "-v"], interactive: true }]
      : [],
    // A repository of someone else's may be out of order without harm to this.
    update: { command: [...apt, ...UPDATE], optional: true },
    install: (packages) => ({ command: [...apt, ...INSTALL, ...packages] }),
    asRoot,
  };
}

/**
 * Plans the installation of packages from the repositories that apt is configured to read.
 *
 * @param packages Their names.
 * @param summary What they are, for people.
 * @param facts What is known of the system.
 * @returns The plan, or the reason why there can be none.
 */
export function planPackages(
  packages: readonly string[],
  summary: string,
  facts: Pick<AptFacts, "osRelease" | "privilege" | "hasApt">,
): AptPlan | { impossible: string } {
  const impossible = obstacle(facts);
  if (impossible !== undefined) return { impossible };
  const { authenticate, update, install } = aptCommands(facts.privilege);
  return {
    summary,
    files: [],
    folders: [],
    steps: [...authenticate, update, install(packages)],
    cleanUp: [],
  };
}

/**
 * Why apt can install nothing at all.
 *
 * @param facts What is known of the system.
 * @returns The reason, or nothing where it can.
 */
export function obstacle(
  { osRelease, privilege, hasApt }: Pick<AptFacts, "osRelease" | "privilege" | "hasApt">,
): string | undefined {
  const system = osRelease.PRETTY_NAME ?? osRelease.ID ?? "this system";
  if (!hasApt) return `${system} has no apt-get, the only way known here`;
  return privilege === "none"
    ? "this user is not root, and cannot become root through sudo"
    : undefined;
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
