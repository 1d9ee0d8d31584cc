import { type FileSystem, type KeptChoice, TuningFile } from "../../../gpu/tuning/file.ts";
import { assert, assertEquals } from "@std/assert";
import { describe, it } from "@std/testing/bdd";
import fc from "fast-check";

const PATH = "/cache/denoformers/tuning.json";
const MARK = '{"denoformersTuning":1,';

/** A file system of one folder, in memory, that forbids what it is told to. */
class FakeFiles implements FileSystem {
  readonly contents = new Map<string, string>();
  readonly denied = new Set<string>();
  readonly links = new Set<string>();
  folders = 0;

  isGranted({ name }: { name: string }): boolean {
    return !this.denied.has(name);
  }
  lstat(path: string): { isFile: boolean; size: number } {
    return { isFile: !this.links.has(path), size: this.read(path).length };
  }
  read(path: string): string {
    const text = this.contents.get(path);
    if (this.denied.has("read") || text === undefined) throw new Error(`no such file: ${path}`);
    return text;
  }
  write(path: string, text: string): void {
    if (this.denied.has("write") || this.denied.has("disk")) throw new Error("no room");
    this.contents.set(path, text);
  }
  rename(from: string, to: string): void {
    const text = this.read(from);
    if (this.denied.has("rename")) throw new Error("busy");
    this.contents.delete(from);
    this.contents.set(to, text);
  }
  remove(path: string): void {
    this.contents.delete(path);
  }
  mkdir(): void {
    if (this.denied.has("write")) throw new Error("not permitted");
    this.folders++;
  }
}

function kept(problem: string, choice = "2 lanes"): KeptChoice {
  return { problem, choice, fingerprint: 17, untried: 0, attempts: 1 };
}

function filesWith(text: string): FakeFiles {
  const files = new FakeFiles();
  files.contents.set(PATH, text);
  return files;
}

describe("TuningFile", () => {
  it("gives to the next what was put into it, by adapter and problem", () => {
    const files = new FakeFiles();
    const first = new TuningFile(files, PATH, "one GPU");
    assertEquals(first.get("a"), undefined);
    first.put(kept("a", "old"));
    first.put(kept("b"));
    first.put(kept("a", "new"));
    new TuningFile(files, PATH, "another GPU").put(kept("a", "theirs"));
    const next = new TuningFile(files, PATH, "one GPU");
    assertEquals([next.get("a"), next.get("b"), next.get("c")], [
      kept("a", "new"),
      kept("b"),
      undefined,
    ]);
    assertEquals(new TuningFile(files, PATH, "another GPU").get("a"), kept("a", "theirs"));
    assertEquals([...files.contents.keys()], [PATH], "no draft is left");
  });

  it("keeps what others wrote since it was read", () => {
    const files = new FakeFiles();
    const [one, other] = [0, 1].map(() => new TuningFile(files, PATH, "GPU"));
    one!.put(kept("a"));
    other!.put(kept("b"));
    const next = new TuningFile(files, PATH, "GPU");
    assertEquals([next.get("a"), next.get("b")], [kept("a"), kept("b")]);
  });

  it("is bounded in adapters and problems, of which the oldest go", () => {
    const files = new FakeFiles();
    for (let i = 0; i < 10; i++) new TuningFile(files, PATH, `GPU ${i}`).put(kept("a"));
    assertEquals(new TuningFile(files, PATH, "GPU 1").get("a"), undefined);
    assertEquals(new TuningFile(files, PATH, "GPU 2").get("a"), kept("a"));
    const file = new TuningFile(files, PATH, "GPU 9");
    for (let i = 0; i < 300; i++) file.put(kept(`problem ${i}`));
    const next = new TuningFile(files, PATH, "GPU 9");
    assertEquals([next.get("problem 43"), next.get("problem 44")], [undefined, kept("problem 44")]);
    assert(files.contents.get(PATH)!.length < 2 ** 17);
  });

  it("remembers without a file where it may not write, and where writing fails", () => {
    for (const denied of ["read", "write", "disk", "rename"]) {
      const files = new FakeFiles();
      files.denied.add(denied);
      const file = new TuningFile(files, PATH, "GPU");
      file.put(kept("a"));
      assertEquals(file.get("a"), kept("a"), denied);
      assertEquals([...files.contents.keys()], [], denied);
    }
  });

  it("neither reads nor replaces links, folders, large files and those of others", () => {
    const own = new FakeFiles();
    new TuningFile(own, PATH, "GPU").put(kept("a"));
    const text = own.contents.get(PATH)!;
    const large = text + " ".repeat(2 ** 20);
    const foreign = ["# my notes", '{"name":"package"}', "[]", "\u0000", ` ${text}`];
    for (const content of [large, ...foreign]) {
      const files = filesWith(content);
      const file = new TuningFile(files, PATH, "GPU");
      assertEquals(file.get("a"), undefined);
      file.put(kept("b"));
      assertEquals([...files.contents], [[PATH, content]]);
    }
    const linked = filesWith(text);
    linked.links.add(PATH);
    const file = new TuningFile(linked, PATH, "GPU");
    file.put(kept("b"));
    assertEquals([file.get("a"), [...linked.contents]], [undefined, [[PATH, text]]]);
  });

  it("leaves out entries that are none", () => {
    const { problem, choice, fingerprint } = kept("a");
    const right = { problem, choice, fingerprint, untried: 0, attempts: 1 };
    const wrong = [
      null,
      [],
      "a",
      { ...right, choice: "" },
      { ...right, choice: 5 },
      { ...right, choice: ["2 lanes"] },
      { ...right, choice: "x".repeat(501) },
      { ...right, fingerprint: -1 },
      { ...right, untried: 0.5 },
      { ...right, attempts: "1" },
      { ...right, attempts: 2 ** 32 },
      { problem, choice },
    ];
    for (const entry of wrong) {
      const sections = JSON.stringify([{ key: "GPU", choices: [entry] }]);
      const files = filesWith(`${MARK}"sections":${sections}}`);
      assertEquals(new TuningFile(files, PATH, "GPU").get("a"), undefined, JSON.stringify(entry));
    }
    const polluted = filesWith(
      `${MARK}"sections":[{"key":"__proto__","choices":[{"problem":"__proto__","choice":"x",` +
        `"fingerprint":1,"untried":0,"attempts":1,"__proto__":{"polluted":1}}]}],"__proto__":{"polluted":1}}`,
    );
    const file = new TuningFile(polluted, PATH, "__proto__");
    assertEquals(file.get("__proto__")?.choice, "x");
    file.put(kept("a"));
    assertEquals(({} as Record<string, unknown>).polluted, undefined);
    assertEquals(new TuningFile(polluted, PATH, "__proto__").get("a"), kept("a"));
  });

  it("takes any content without error, and never one that is not ours to replace", () => {
    const entry = fc.record({
      problem: fc.constantFrom<unknown>("a", "__proto__", "constructor", 1, null),
      choice: fc.anything(),
      fingerprint: fc.anything(),
      untried: fc.nat(3),
      attempts: fc.double(),
    }, { requiredKeys: [] });
    const sections = fc.array(
      fc.record({ key: fc.constantFrom("GPU", "__proto__"), choices: fc.array(entry) }),
    );
    const ours = fc.oneof(sections.map((value) => JSON.stringify(value)), fc.json(), fc.string())
      .chain((body) =>
        fc.nat(body.length).map((cut) => `${MARK}"sections":${body.slice(0, cut)}}`)
      );
    fc.assert(fc.property(fc.oneof(ours, fc.string(), fc.json()), (content) => {
      const files = filesWith(content);
      const file = new TuningFile(files, PATH, "GPU");
      const found = file.get("a");
      assert(found === undefined || typeof found.choice === "string");
      file.put(kept("a"));
      const after = files.contents.get(PATH)!;
      if (content === "" || content.startsWith(MARK)) {
        assertEquals(new TuningFile(files, PATH, "GPU").get("a"), kept("a"));
      } else {
        assertEquals(after, content);
      }
      assertEquals(files.contents.size, 1);
    }));
  });
});
