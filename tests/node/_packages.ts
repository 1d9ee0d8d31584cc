/** The npm packages that tests in Node need, fetched into `.cache/`, outside version control. */
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";

/** Dawn, Chromium's WebGPU, for Node. */
const WEBGPU = "webgpu@0.6.2";
/** Writes tests without `using`, which Node knows from version 24 on. */
const TYPESCRIPT = "typescript@5.9.3";

const CACHE = fileURLToPath(new URL("../../.cache/", import.meta.url));
const MODULES = { webgpu: "webgpu/index.js", typescript: "typescript/lib/typescript.js" } as const;

/** Where the packages are. */
export interface NodePackages {
  /** The folder with `node_modules`; programs in it and below find the packages by name. */
  readonly folder: string;
  /** Path of the module of `webgpu`. */
  readonly webgpu: string;
  /** Rewrites a module of JavaScript so that Node 20 understands it. */
  lower(text: string): string;
}

/** The part of TypeScript that is used. */
interface TypeScript {
  transpileModule(text: string, options: object): { readonly outputText: string };
  readonly ScriptTarget: { readonly ES2022: number };
  readonly ModuleKind: { readonly ESNext: number };
}

/** Makes sure that the packages are there. */
export async function fetchNodePackages(): Promise<NodePackages> {
  const folder = `${CACHE}node-${WEBGPU}-${TYPESCRIPT}`;
  if (!await exists(`${folder}/node_modules/${MODULES.typescript}`)) await install(folder);
  const require = createRequire(import.meta.url);
  const ts: TypeScript = require(`${folder}/node_modules/${MODULES.typescript}`);
  const compilerOptions = { target: ts.ScriptTarget.ES2022, module: ts.ModuleKind.ESNext };
  return {
    folder,
    webgpu: `${folder}/node_modules/${MODULES.webgpu}`,
    lower: (text) =>
      ts.transpileModule(text, { compilerOptions, fileName: "module.mjs" }).outputText,
  };
}

/** Lets Deno's own npm client put the packages in a folder where Node finds them. */
async function install(folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  const imports = { webgpu: `npm:${WEBGPU}`, typescript: `npm:${TYPESCRIPT}` };
  await Deno.writeTextFile(
    `${folder}/deno.json`,
    JSON.stringify({ nodeModulesDir: "auto", imports }),
  );
  const args = ["install", "--quiet"];
  const command = new Deno.Command(Deno.execPath(), { args, cwd: folder, stdin: "null" });
  const { success, stderr } = await command.output();
  if (success) return;
  throw new Error(
    `Cannot fetch npm packages for Node: deno install failed\n${new TextDecoder().decode(stderr)}`,
  );
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
