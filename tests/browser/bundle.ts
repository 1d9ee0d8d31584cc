/** Bundles of the project's test files, for where there is no Deno. */
import { fileURLToPath } from "node:url";

const TESTS = fileURLToPath(new URL("../", import.meta.url));
const FIXTURES = `${TESTS}fixtures/`;
const IMPORT_MAP = `${TESTS}browser/shims/import_map.json`;

/** Where bundles, pictures and packages go, outside version control. */
export const CACHE = fileURLToPath(new URL("../../.cache/browser/", import.meta.url));

/** The tests' modules see this as `Deno`, and the library sees none: see `harness.ts`. */
const PREAMBLE = "const Deno = globalThis.denoformersTestDeno;\n";

/** Makes a folder for bundles, which the caller removes: two runs may go on at once. */
export async function makeBundleFolder(): Promise<string> {
  await Deno.mkdir(CACHE, { recursive: true });
  return await Deno.makeTempDir({ dir: CACHE, prefix: "bundle-" });
}

/**
 * Bundles test files, and what runs them, for the web: `FOLDER/harness.js`, and `FOLDER/tests/` with a
 * module for each file, under the file's name with `.js`, and what they share.
 *
 * @param files Paths of the test files, from `tests/`.
 * @param folder Where to write.
 */
export async function bundleTests(files: readonly string[], folder: string): Promise<void> {
  await bundle([`${TESTS}browser/harness.ts`], ["--output", `${folder}/harness.js`]);
  // The bundler leaves out what the paths of all begin with; this file makes that `tests/`.
  const paths = [...files, "_device.ts"].map((file) => TESTS + file);
  await bundle(paths, ["--code-splitting", "--outdir", `${folder}/tests`]);
  await rewriteModules(`${folder}/tests`, (text) => PREAMBLE + text);
}

/**
 * Bundles a program as README tells users to.
 *
 * @param text The program, in TypeScript.
 * @param path Where to write it, and the bundle, but for the extensions. It must be within the project, whose
 * `deno.json` says where the package is, as `deno add` makes that of users say it.
 */
export async function bundleProgram(text: string, path: string): Promise<void> {
  await Deno.writeTextFile(`${path}.ts`, text);
  await runDeno([
    "bundle",
    "--platform",
    "browser",
    "--keep-names",
    "--output",
    `${path}.js`,
    `${path}.ts`,
  ]);
}

/**
 * Rewrites all modules in a folder and in those below.
 *
 * @param folder The folder.
 * @param rewrite Gives a module's new text.
 */
export async function rewriteModules(
  folder: string,
  rewrite: (text: string) => string,
): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    const path = `${folder}/${name}`;
    if (isDirectory) await rewriteModules(path, rewrite);
    else await Deno.writeTextFile(path, rewrite(await Deno.readTextFile(path)));
  }
}

/** Names of the files that tests read. */
export function fixtureNames(): string[] {
  const names = Array.from(Deno.readDirSync(FIXTURES), ({ name }) => name);
  return names.filter((name) => /\.(json|safetensors)$/.test(name));
}

/**
 * What a file in `tests/fixtures/` holds.
 *
 * @param name One of {@linkcode fixtureNames}.
 */
export function readFixture(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(FIXTURES + name);
}

async function bundle(entries: readonly string[], options: readonly string[]): Promise<void> {
  // Some tests look at names of classes, which the bundler would change.
  const common = ["--platform", "browser", "--import-map", IMPORT_MAP, "--no-lock", "--keep-names"];
  await runDeno(["bundle", ...common, ...options, ...entries]);
}

async function runDeno(args: string[]): Promise<void> {
  const { success, stderr } = await new Deno.Command(Deno.execPath(), { args }).output();
  if (success) return;
  throw new Error(`Cannot bundle: deno ${args.join(" ")}\n${new TextDecoder().decode(stderr)}`);
}
