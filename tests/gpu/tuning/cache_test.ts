import { requestDevice } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { spinProblem, type Work } from "./_problems.ts";
import { inFolder } from "../../_folder.ts";

const SLOW = 40_000;
const FAST = 2_000;

/** Requests a device that keeps choices in a file, and chooses. */
async function chosen(
  cache: string,
  works: Readonly<Record<string, Work>>,
  budget?: number,
): Promise<{ value: Work; choice: string; source: string; reason: string; measured: boolean }> {
  using device = await requestDevice({
    tune: budget === undefined ? { cache } : { cache, budget },
  });
  const problem = spinProblem(device, "kept", works);
  const value = runtimeOf(device).tuner.choose(problem);
  const { choice, source, reason } = device.tuning()[0]!;
  return { value, choice, source, reason, measured: problem.calls.prepared > 0 };
}

/** Runs a test with the path of a file in a folder that does not exist yet. */
async function withPath(fn: (path: string, folder: string) => Promise<void>): Promise<void> {
  await inFolder((folder) => fn(`${folder}/new/tuning.json`, folder));
}

describe("choices in a file", () => {
  it("spare the next device the measurement", async () => {
    await withPath(async (path, folder) => {
      const works = { slow: SLOW, fast: FAST };
      const { source } = await chosen(path, works);
      assertEquals(source, "measured");
      const next = await chosen(path, works);
      const reason = `measured earlier, kept in ${path}`;
      assertEquals(next, { value: FAST, choice: "fast", source: "cache", reason, measured: false });
      assertEquals([...Deno.readDirSync(`${folder}/new`)].map(({ name }) => name), ["tuning.json"]);
    });
  });

  it("are measured again where the candidates are others, or the entry names none", async () => {
    await withPath(async (path) => {
      await chosen(path, { slow: SLOW, fast: FAST });
      const others = await chosen(path, { slow: SLOW, fast: FAST, third: SLOW + 1 });
      assertEquals([others.choice, others.source], ["fast", "measured"]);
      const text = await Deno.readTextFile(path);
      assertStringIncludes(text, '"choice":"fast"');
      await Deno.writeTextFile(path, text.replace('"choice":"fast"', '"choice":"toString"'));
      const unknown = await chosen(path, { slow: SLOW, fast: FAST, third: SLOW + 1 });
      assertEquals([unknown.choice, unknown.source], ["fast", "measured"]);
    });
  });

  it("are completed by the next devices, three times at most, where time ran out", async () => {
    await withPath(async (path) => {
      const works: Record<string, Work> = {
        usual(storage) {
          const end = performance.now() + 20;
          while (performance.now() < end);
          storage.version++;
        },
        fast: FAST,
      };
      const sources: string[] = [];
      for (let i = 0; i < 4; i++) sources.push((await chosen(path, works, 5)).source);
      assertEquals(sources, ["default", "default", "default", "cache"]);
    });
  });

  it("are left alone where the path is a folder, or a link", async () => {
    await withPath(async (_, folder) => {
      const works = { slow: SLOW, fast: FAST };
      assertEquals((await chosen(folder, works)).source, "measured");
      const target = `${folder}/target`;
      await Deno.writeTextFile(target, "");
      await Deno.symlink(target, `${folder}/link`);
      assertEquals((await chosen(`${folder}/link`, works)).source, "measured");
      assertEquals(await Deno.readTextFile(target), "");
      assert((await Deno.lstat(`${folder}/link`)).isSymlink);
    });
  });
});

describe("requestDevice({ tune })", () => {
  it("throws for values that say nothing", async () => {
    for (const tune of [null, 3, "yes"] as unknown as boolean[]) {
      await assertRejects(
        () => requestDevice({ tune }),
        TypeError,
        `Cannot request a device: tune is ${JSON.stringify(tune)}, expected true, false or options`,
      );
    }
    await assertRejects(
      () => requestDevice({ tune: { cache: true } as unknown as boolean }),
      TypeError,
      "Cannot request a device: tune.cache is true, expected a path, or false for no file",
    );
    for (const [budget, told] of [[-1, "-1"], [NaN, "NaN"], ["2", '"2"']] as [number, string][]) {
      await assertRejects(
        () => requestDevice({ tune: { budget } }),
        RangeError,
        `Cannot request a device: tune.budget is ${told}, expected milliseconds, 0 or more`,
      );
    }
  });
});

/** What the program prints with these permissions, with a home of its own. */
async function tuneOnce(home: string, permissions: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-check",
      "--quiet",
      ...permissions,
      new URL("_tune_once.ts", import.meta.url).href,
    ],
    env: { XDG_CACHE_HOME: home, LOCALAPPDATA: home, HOME: home, DENO_DIR: await denoDir() },
    stdin: "null",
  }).output();
  const text = new TextDecoder();
  assertEquals([code, text.decode(stderr)], [0, ""]);
  return text.decode(stdout).trim();
}

/** The folder of this Deno's own files, which follows from the home otherwise. */
async function denoDir(): Promise<string> {
  const { stdout } = await new Deno.Command(Deno.execPath(), { args: ["info", "--json"] }).output();
  return JSON.parse(new TextDecoder().decode(stdout)).denoDir;
}

describe("a program that tunes", () => {
  it("needs no permission, and leaves no file without", async () => {
    const home = await Deno.makeTempDir();
    try {
      assertEquals(await tuneOnce(home, []), "fast measured");
      assertEquals(await tuneOnce(home, ["--allow-env", "--allow-read"]), "fast measured");
      assertEquals([...Deno.readDirSync(home)].filter(({ name }) => name.includes("denof")), []);
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  });

  it("finds the choice of the one before in the user's folder for caches", async () => {
    const home = await Deno.makeTempDir();
    try {
      const permissions = ["--allow-env", `--allow-read=${home}`, `--allow-write=${home}`];
      assertEquals(await tuneOnce(home, permissions), "fast measured");
      assertEquals(await tuneOnce(home, permissions), "fast cache");
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  });
});
