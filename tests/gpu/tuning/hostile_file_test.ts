/** The tuning file on a real disk, where something else lies in its place, or others write to it. */
import { type KeptChoice, TuningFile } from "../../../gpu/tuning/file.ts";
import { denoHost } from "../../../gpu/tuning/place.ts";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import { inFolder } from "../../_folder.ts";

const { files } = denoHost()!;
const CHOICE: KeptChoice = { problem: "a", choice: "b", fingerprint: 1, untried: 0, attempts: 1 };

/** That a choice is remembered, as ever, though the file cannot be used. */
function assertIgnored(path: string): void {
  const file = new TuningFile(files, path, "GPU");
  assertEquals(file.get("a"), undefined);
  file.put(CHOICE);
  assertEquals(file.get("a"), CHOICE);
  assertEquals(new TuningFile(files, path, "GPU").get("a"), undefined);
}

const isWindows = Deno.build.os === "windows";

describe("a tuning file", () => {
  it("of megabytes or a terabyte is not read, and left alone", () =>
    inFolder(async (folder) => {
      const path = `${folder}/tuning.json`;
      for (const size of [2 ** 26, 2 ** 40]) {
        await Deno.writeTextFile(path, '{"denoformersTuning":1,');
        await Deno.truncate(path, size); // Zeros that are on no disk.
        assertIgnored(path);
        assertEquals((await Deno.stat(path)).size, size);
      }
    }));

  it("that is a folder, a device, a pipe or a link is not read, and left alone", () =>
    inFolder(async (folder) => {
      assertIgnored(folder);
      if (isWindows) return;
      for (const path of ["/dev/zero", "/dev/null", "/proc/self/mem"]) assertIgnored(path);
      const pipe = `${folder}/pipe`;
      await new Deno.Command("mkfifo", { args: [pipe] }).output();
      assert((await Deno.lstat(pipe)).isFifo);
      assertIgnored(pipe); // Reading it would wait for ever.
      const target = `${folder}/target`;
      new TuningFile(files, target, "GPU").put(CHOICE);
      const before = await Deno.readTextFile(target);
      for (const [to, name] of [[target, "link"], ["/nowhere/at/all", "dead"]] as const) {
        await Deno.symlink(to, `${folder}/${name}`);
        assertIgnored(`${folder}/${name}`);
        assert((await Deno.lstat(`${folder}/${name}`)).isSymlink);
      }
      assertEquals(await Deno.readTextFile(target), before);
      const all = [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
      assertEquals(all, ["dead", "link", "pipe", "target"], "no draft is left");
    }));

  it("in a folder that is none, or cannot be made, is done without", () =>
    inFolder(async (folder) => {
      await Deno.writeTextFile(`${folder}/file`, "mine");
      for (const path of [`${folder}/file/tuning.json`, `${folder}/${"x".repeat(5000)}/t.json`]) {
        assertIgnored(path);
      }
      for (const path of [`${folder}/a\0b`, "\0", `${folder}/`]) assertIgnored(path);
      assertEquals([...Deno.readDirSync(folder)].length, 1);
      assertEquals(await Deno.readTextFile(`${folder}/file`), "mine");
    }));

  it("nested deeply, or full of odd keys, holds no choice, and is replaced", () =>
    inFolder(async (folder) => {
      const path = `${folder}/tuning.json`;
      const deep = "[".repeat(400_000) + "]".repeat(400_000);
      const bodies = [
        deep,
        `[{"key":"GPU","choices":${deep}}]`,
        '[{"__proto__":{"key":"GPU"},"choices":[]},{"key":"GPU","choices":{"length":1e9}}]',
        '[{"key":"GPU","choices":[{"problem":"a","choice":"b","fingerprint":NaN}]}]',
        '[{"key":"GPU","choices":[{"problem":"a","choice":"b","fingerprint":1e400,"untried":0,"attempts":1}]}]',
      ];
      for (const body of bodies) {
        await Deno.writeTextFile(path, `{"denoformersTuning":1,"sections":${body}}`);
        const file = new TuningFile(files, path, "GPU");
        assertEquals(file.get("a"), undefined);
        file.put(CHOICE);
        assertEquals(new TuningFile(files, path, "GPU").get("a"), CHOICE);
      }
      assertEquals(Object.keys(Object.prototype), []);
    }));

  it("is whole at every moment, though several programs write to it", () =>
    inFolder(async (folder) => {
      const path = `${folder}/tuning.json`;
      const program = new URL("_put_many.ts", import.meta.url).href;
      let running = 3;
      const writers = ["one", "two", "three"].map(async (name) => {
        const { code } = await new Deno.Command(Deno.execPath(), {
          args: ["run", "-A", "--no-check", "--quiet", program, path, name, "60"],
        }).output();
        running--;
        return code;
      });
      let seen = 0;
      while (running > 0) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        const text = await Deno.readTextFile(path).catch(() => undefined);
        if (text === undefined) continue; // Nobody has written yet; on Windows, somebody is.
        assertEquals(JSON.parse(text).denoformersTuning, 1);
        seen++;
      }
      assertEquals(await Promise.all(writers), [0, 0, 0]);
      assertGreater(seen, 3, "the file was looked at while it was written");
      // Of two that wrote at once, one may have lost its choice; who came last has not.
      const file = new TuningFile(files, path, "GPU");
      assert(["one 59", "two 59", "three 59"].some((problem) => file.get(problem)));
      assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), ["tuning.json"]);
    }));
});
