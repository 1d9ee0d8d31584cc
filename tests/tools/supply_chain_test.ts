/** What comes with the package, and what it brings along: nothing but its own modules. */
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";

const ROOT = new URL("../../", import.meta.url);

interface Manifest {
  readonly exports: Readonly<Record<string, string>>;
  readonly imports: Readonly<Record<string, string>>;
}

interface Lock {
  readonly version: string;
  readonly specifiers: Readonly<Record<string, string>>;
  readonly npm: Readonly<Record<string, { readonly integrity?: string }>>;
  readonly jsr?: unknown;
  readonly remote?: unknown;
}

async function readJson<T>(name: string): Promise<T> {
  return JSON.parse(await Deno.readTextFile(new URL(name, ROOT)));
}

/** Runs this Deno at the root; gives what it printed. */
async function deno(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  }).output();
  const [out, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  assertEquals(code, 0, errors);
  return out! + errors!;
}

const { exports, imports } = await readJson<Manifest>("deno.json");

describe("the exports", () => {
  for (const [name, path] of Object.entries(exports).filter(([name]) => name !== "./notebook")) {
    it(`${name} consists of this package's own modules`, async () => {
      const { modules } = JSON.parse(await deno("info", "--json", path)) as {
        modules: readonly { readonly specifier: string; readonly kind?: string }[];
      };
      assert(modules.length > 10, "it is the whole graph");
      const foreign = modules.map(({ specifier }) => specifier).filter((specifier) => {
        const path = specifier.startsWith(ROOT.href) ? specifier.slice(ROOT.href.length) : "";
        return !/^(mod\.ts|(gpu|attention)\/.*\.ts)$/.test(path) || path.startsWith("gpu/setup/");
      });
      assertEquals(foreign, []);
    });
  }
});

describe("deno.lock", () => {
  it("has a checksum of every package, and of nothing that comes from elsewhere", async () => {
    const lock = await readJson<Lock>("deno.lock");
    assertEquals([lock.jsr, lock.remote], [undefined, undefined]);
    const packages = Object.entries(lock.npm);
    assert(packages.length > 20);
    const unchecked = packages.filter(([, { integrity }]) =>
      !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? "")
    );
    assertEquals(unchecked, []);
  });

  it("pins what deno.json names, each to one version", async () => {
    const { specifiers } = await readJson<Lock>("deno.lock");
    for (const specifier of Object.values(imports)) {
      if (specifier.startsWith("./")) continue;
      const [, version] = /^npm:(?:@[^/]+\/)?[^@/]+@(\d+\.\d+\.\d+)$/.exec(specifier) ?? [];
      assert(version !== undefined, `${specifier} is no npm package of one version`);
      assertEquals(specifiers[specifier], version, specifier);
    }
  });

  it("is up to date: no export, program or test would change it", async () => {
    const programs = [
      "notebooks/demo.ts",
      "notebooks/train.ts",
      "tests/tools/supply_chain_test.ts",
    ];
    await deno("cache", "--frozen", "--quiet", ...Object.values(exports), ...programs);
  });
});

describe("the published package", () => {
  it("holds the library's modules and its documents, and nothing that tests or installs", async () => {
    const output = await deno("publish", "--dry-run", "--allow-dirty", "--no-check");
    const files = [...output.matchAll(/^\s*(file:\/\/\S+) \(/gm)].map(([, url]) => {
      assert(url!.startsWith(ROOT.href), url);
      return url!.slice(ROOT.href.length);
    });
    const own = /^(mod\.ts|(gpu|attention|notebooks\/display)\/.*\.ts)$/;
    const documents = files.filter((file) => !own.test(file)).sort();
    assertEquals(documents, ["CHANGELOG.md", "LICENSE", "README.md", "deno.json"]);
    const strange = files.filter((file) => /_test\.ts$|(^|\/)(tests|setup)\//.test(file));
    assertEquals(strange, []);
    for (const path of Object.values(exports)) assert(files.includes(path.slice(2)), path);
  });
});
