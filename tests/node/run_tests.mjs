/**
 * Runs bundles of test files in Node, whose WebGPU is that of the npm package `webgpu`. Writes a line of JSON
 * for each file.
 *
 *     node --expose-gc run_tests.mjs MODULE_OF_WEBGPU FOLDER_OF_BUNDLES FOLDER_OF_FIXTURES FILE...
 */
import { readdirSync, readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [webgpu, folder, fixtures, ...files] = process.argv.slice(2);
const { create, globals } = await import(pathToFileURL(webgpu).href);
Object.assign(globalThis, globals);
// Node 20 has no navigator, and from 21 on only one that can be read. It is in a variable of this
// module as well, so that it can be let go: as long as a page's GPU is in use, Node does not end.
const navigator = { gpu: create([]) };
Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
// What tests, but not the library, use of later versions: 24, and 21.
globalThis.Float16Array ??= class Float16Array {};
Map.groupBy ??= (list, keyOf) => {
  const groups = new Map();
  for (const value of list) groups.set(keyOf(value), [...groups.get(keyOf(value)) ?? [], value]);
  return groups;
};

const { prepareTests } = await import(pathToFileURL(`${folder}/harness.js`).href);
const names = readdirSync(fixtures).filter((name) => /\.(json|safetensors)$/.test(name));
const run = prepareTests(
  new Map(names.map((name) => [name, new Uint8Array(readFileSync(`${fixtures}/${name}`))])),
);
for (const file of files) {
  const bundle = pathToFileURL(`${folder}/tests/${file.replace(/\.ts$/, ".js")}`);
  const outcomes = await run(bundle.href).catch((error) => [
    { path: [`loading ${file}`], status: "failed", milliseconds: 0, error: `${error.stack}` },
  ]);
  process.stdout.write(`${JSON.stringify({ file, outcomes })}\n`);
}
delete navigator.gpu;
