import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { type AptPlan, parseAptTargets, planPackages } from "../../../gpu/setup/apt.ts";

type Facts = Parameters<typeof planPackages>[2];

function plan(changes: Partial<Facts> = {}): AptPlan | { impossible: string } {
  const facts: Facts = { osRelease: { ID: "debian" }, privilege: "root", hasApt: true, ...changes };
  return planPackages(["python3", "python3-venv"], "Python", facts);
}

function planned(changes: Partial<Facts> = {}): AptPlan {
  const made = plan(changes);
  assert(!("impossible" in made), JSON.stringify(made));
  return made;
}

describe("planPackages()", () => {
  it("updates, then installs what is named", () => {
    const { steps, summary } = planned();
    assertEquals(summary, "Python");
    assertEquals(steps.map(({ optional }) => optional ?? false), [true, false]);
    assertStringIncludes(steps[0]!.command.join(" "), "apt-get update");
    assertStringIncludes(steps[1]!.command.join(" "), "apt-get install --yes");
    assertEquals(steps[1]!.command.slice(-2), ["python3", "python3-venv"]);
  });

  it("runs apt-get through sudo where the user is not root", () => {
    for (const { command } of planned({ privilege: "sudo" }).steps) {
      assertEquals(command.slice(0, 2), ["sudo", "-n"]);
    }
  });

  it("is impossible without apt or without root", () => {
    assertEquals(plan({ hasApt: false, osRelease: { ID: "fedora" } }), {
      impossible: "fedora has no apt-get, the only way known here",
    });
    assertEquals(plan({ privilege: "none" }), {
      impossible: "this user is not root, and cannot become root through sudo",
    });
  });
});

describe("parseAptTargets()", () => {
  it("reads a line for each index, and skips others", () => {
    assertEquals(parseAptTargets("http://a/\tbookworm\tmain\nW: a warning\n\nhttp://b/\tx\ty\n"), [
      { uri: "http://a/", release: "bookworm", component: "main" },
      { uri: "http://b/", release: "x", component: "y" },
    ]);
  });
});
