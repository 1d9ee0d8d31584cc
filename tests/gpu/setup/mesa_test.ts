import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import type { AptFacts, AptPlan } from "../../../gpu/setup/apt.ts";
import { planMesa } from "../../../gpu/setup/mesa.ts";

const DEBIAN_12 = { ID: "debian", VERSION_CODENAME: "bookworm", PRETTY_NAME: "Debian 12" };
const DEBIAN_13 = { ID: "debian", VERSION_CODENAME: "trixie", PRETTY_NAME: "Debian 13" };
const MAIN = { uri: "http://mirror.test/debian/", release: "bookworm", component: "main" };

function facts(changes: Partial<AptFacts> = {}): AptFacts {
  return {
    osRelease: DEBIAN_13,
    privilege: "root",
    hasApt: true,
    targets: [MAIN],
    sourcesList: "",
    folder: "/tmp/plan",
    ...changes,
  };
}

function planned(changes: Partial<AptFacts>): AptPlan {
  const plan = planMesa(facts(changes));
  assert(!("impossible" in plan), JSON.stringify(plan));
  return plan;
}

function impossible(changes: Partial<AptFacts>): string {
  const plan = planMesa(facts(changes));
  assert("impossible" in plan, JSON.stringify(plan));
  return plan.impossible;
}

/** The commands, without the variables that apt-get is given. */
function commands(plan: AptPlan): string[] {
  return plan.steps.map(({ command }) => command.join(" ").replace(/env (\w+=\S+ )+/, ""));
}

describe("planMesa() outside Debian 12", () => {
  it("updates, then installs, and writes no files", () => {
    const plan = planned({});
    assertEquals(commands(plan), [
      "apt-get update -oAPT::Update::Error-Mode=any -oDPkg::Lock::Timeout=300 -oAcquire::Retries=3",
      "apt-get install --yes --no-install-recommends -oDPkg::Lock::Timeout=300 " +
      "-oAcquire::Retries=3 mesa-vulkan-drivers libvulkan1",
    ]);
    assertEquals([plan.files, plan.folders, plan.cleanUp], [[], [], []]);
  });

  it("goes on where an update fails, but not where an installation does", () => {
    assertEquals(planned({}).steps.map(({ optional }) => optional ?? false), [true, false]);
  });

  it("asks no questions", () => {
    for (const privilege of ["root", "sudo"] as const) {
      for (const { command } of planned({ privilege }).steps) {
        assert(command.includes("DEBIAN_FRONTEND=noninteractive"), command.join(" "));
      }
    }
  });

  it("puts sudo before each command where the user is not root", () => {
    for (const { command } of planned({ privilege: "sudo" }).steps) {
      assertEquals(command.slice(0, 3), ["sudo", "-n", "env"]);
    }
  });

  it("lets sudo ask for a password first, on the terminal", () => {
    const [first, ...others] = planned({ privilege: "sudo with a password" }).steps;
    assertEquals(first, { command: ["sudo", "-v"], interactive: true });
    for (const { command } of others) assertEquals(command.slice(0, 2), ["sudo", "env"]);
  });

  it("is impossible without apt, without root, or where Mesa is too old", () => {
    assertStringIncludes(
      impossible({ hasApt: false, osRelease: { ID: "fedora" } }),
      "fedora has no",
    );
    assertStringIncludes(impossible({ privilege: "none" }), "not root");
    assertStringIncludes(impossible({ osRelease: { VERSION_CODENAME: "focal" } }), "Ubuntu 20.04");
  });

  it("knows a system made from another by the other's release", () => {
    const mint = { ID: "linuxmint", VERSION_CODENAME: "vera", UBUNTU_CODENAME: "jammy" };
    assertStringIncludes(impossible({ osRelease: mint }), "Ubuntu 22.04");
    const lmde = { ID: "linuxmint", VERSION_CODENAME: "faye", DEBIAN_CODENAME: "bookworm" };
    assertStringIncludes(planned({ osRelease: lmde }).summary, "bookworm-backports");
  });
});

describe("planMesa() on Debian 12", () => {
  it("reads backports through sources and lists of its own", () => {
    const plan = planned({ osRelease: DEBIAN_12, sourcesList: "deb a b c", keyring: "/key.gpg" });
    assertEquals(plan.files, [{
      path: "/tmp/plan/sources.list",
      text: "deb a b c\n" +
        "deb [signed-by=/key.gpg] http://mirror.test/debian/ bookworm-backports main\n",
    }]);
    assertEquals(plan.folders, ["/tmp/plan/lists", "/tmp/plan/lists/partial"]);
    for (const command of commands(plan)) {
      assertStringIncludes(
        command,
        "apt-get -oDir::Etc::SourceList=/tmp/plan/sources.list -oDir::State::Lists=/tmp/plan/lists",
      );
    }
    assertStringIncludes(commands(plan)[1]!, "mesa-vulkan-drivers/bookworm-backports libvulkan1");
    assertStringIncludes(plan.summary, "bookworm-backports");
  });

  it("removes the lists as the user who made them", () => {
    const [step] = planned({ osRelease: DEBIAN_12, privilege: "sudo" }).cleanUp;
    assertEquals(step?.command.slice(0, 2), ["sudo", "-n"]);
    assertEquals(step?.command.slice(-3), ["rm", "-rf", "/tmp/plan/lists"]);
  });

  it("names no key ring where there is none", () => {
    const [file] = planned({ osRelease: DEBIAN_12 }).files;
    assertEquals(file?.text, "\ndeb http://mirror.test/debian/ bookworm-backports main\n");
  });

  it("takes Debian's mirror among other repositories, also where it is named stable", () => {
    const other = { uri: "https://other.test/apt/", release: "stable", component: "main" };
    const updates = { ...MAIN, release: "bookworm-updates" };
    const security = { ...MAIN, uri: "http://mirror.test/security/", release: "bookworm-security" };
    for (const release of ["bookworm", "stable", "oldstable"]) {
      const targets = [other, security, updates, { ...MAIN, release }];
      const [file] = planned({ osRelease: DEBIAN_12, targets }).files;
      assertStringIncludes(file!.text, `deb ${MAIN.uri} bookworm-backports`);
    }
  });

  it("adds nothing where apt reads backports already", () => {
    const targets = [MAIN, { ...MAIN, release: "bookworm-backports" }];
    const [file] = planned({ osRelease: DEBIAN_12, targets }).files;
    assertEquals(file?.text.trim(), "");
  });

  it("is impossible without a mirror", () => {
    const docker = { uri: "https://other.test/debian/", release: "bookworm", component: "stable" };
    assertStringIncludes(impossible({ osRelease: DEBIAN_12, targets: [docker] }), "mirror");
  });
});
