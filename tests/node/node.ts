/**
 * The project's own test files in Node with the npm package `webgpu`, and a user's program bundled as README
 * says. Node is the one on the `PATH`, of version 20 or later.
 *
 *     deno test -A tests/node/node.ts
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { afterAll, beforeAll, describe, it } from "@std/testing/bdd";
import { bundleProgram, bundleTests, makeBundleFolder, rewriteModules } from "../browser/bundle.ts";
import { declaredTests, filesInNode } from "../browser/files.ts";
import { reportOutcomes } from "../browser/outcomes.ts";
import { fetchNodePackages, type NodePackages } from "./_packages.ts";
import { type NodeRun, startTests } from "./_run.ts";

/** What README tells users to write; the first import is a module of JavaScript for Node alone. */
const PROGRAM = `
import { memoryEfficientAttention, requestDevice } from "@denoformers/attention";

const device = await requestDevice();
const query = device.randn([1, 256, 4, 32], { seed: 1 });
await memoryEfficientAttention(query, query, query).print();
`;

const MAIN = `
import { create, globals } from "webgpu";

const navigator = { gpu: create([]) };
Object.assign(globalThis, globals);
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
await import("./program.js");
delete navigator.gpu; // Node ends when nothing refers to it any more.
`;

const FILES = filesInNode();

describe("in Node", () => {
  let packages: NodePackages;
  let bundles: string;
  let run: NodeRun;

  beforeAll(async () => {
    packages = await fetchNodePackages();
    bundles = await makeBundleFolder();
    await bundleTests(FILES, bundles);
    await rewriteModules(bundles, packages.lower);
    run = startTests(packages.webgpu, bundles, FILES);
  });

  afterAll(async () => {
    run.stop();
    await Deno.remove(bundles, { recursive: true });
  });

  for (const file of FILES) {
    const declared = declaredTests(file);
    it(file, async (t) => await reportOutcomes(t, declared, await run.outcomesOf(file)));
  }

  it("ends by itself, without an error", async () => {
    assertEquals(await run.ended, { code: 0, signal: null });
  });

  it("loads the whole package, which no bundler has rewritten for older versions", async () => {
    const all = ["", "/layers", "/testing"].map((path) => `"@denoformers/attention${path}"`);
    await bundleProgram(all.map((name) => `export * from ${name};\n`).join(""), `${bundles}/all`);
    await Deno.rename(`${bundles}/all.js`, `${bundles}/all.mjs`);
    const { success, stderr } = await new Deno.Command("node", { args: [`${bundles}/all.mjs`] })
      .output();
    assert(success, new TextDecoder().decode(stderr));
  });

  it("a program bundled by `deno bundle`", async () => {
    const folder = `${packages.folder}/program`;
    await Deno.mkdir(folder, { recursive: true });
    await bundleProgram(PROGRAM, `${bundles}/program`);
    await Deno.copyFile(`${bundles}/program.js`, `${folder}/program.js`);
    await Deno.writeTextFile(`${folder}/main.mjs`, MAIN);
    const { success, stdout, stderr } = await new Deno.Command("node", {
      args: [`${folder}/main.mjs`],
      stdin: "null",
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    assertMatch(new TextDecoder().decode(stdout), /^tensor\(\[\[\[\[ *-?\d/);
  });
});
