/**
 * Type-checks the package as users in browsers and Node compile it: with TypeScript itself and
 * without Deno's types.
 *
 *     deno run -A tests/tools/check_browser_types.ts
 *
 * The entry points in deno.json's `exports`, but for {@linkcode DENO_ALONE}, are
 * compiled together with `browser_consumer.ts`, once for each of {@linkcode COMPILERS}, in a project of its own in `.cache/browser_types/`.
 *
 * @module
 */

interface Compiler {
  /** Version of TypeScript. */
  readonly typescript: string;
  /** Whether to leave the declaration files themselves unchecked. */
  readonly skipLibCheck: boolean;
}

/**
 * The compilers that must accept the package.
 *
 * TypeScript's own DOM types know WebGPU since version 6, where `@webgpu/types` declares the same
 * names a little differently: the two agree only with `skipLibCheck`. Without `@webgpu/types` that
 * version still lacks the constants `GPUBufferUsage`, `GPUMapMode` and `GPUShaderStage`.
 */
const COMPILERS: readonly Compiler[] = [
  { typescript: "5.9.3", skipLibCheck: false },
  { typescript: "7.0.2", skipLibCheck: true },
];

const WEBGPU_TYPES = "0.1.74";

/** The entry point for notebooks in Deno's kernel. */
const DENO_ALONE = "./notebook";

const CONSUMER = "tests/tools/browser_consumer.ts";

const ROOT = new URL("../../", import.meta.url);

interface Manifest {
  readonly name: string;
  readonly exports: Readonly<Record<string, string>>;
}

function projectConfig({ name, exports }: Manifest, { skipLibCheck }: Compiler): object {
  // From .cache/browser_types/VERSION/ to the package's root.
  const fromProject = (path: string): string => `../../../${path.replace(/^\.\//, "")}`;
  const offered = Object.entries(exports).filter(([subpath]) => subpath !== DENO_ALONE);
  const entryPoints = offered.map(([, path]) => fromProject(path));
  const paths = offered.map(([subpath, path]) => [name + subpath.slice(1), [fromProject(path)]]);
  return {
    compilerOptions: {
      target: "ES2024",
      module: "ESNext",
      lib: ["ES2024", "ESNext.Disposable", "DOM"],
      types: ["@webgpu/types"],
      strict: true,
      moduleResolution: "bundler",
      allowImportingTsExtensions: true,
      noEmit: true,
      skipLibCheck,
      paths: Object.fromEntries(paths),
    },
    files: [...entryPoints, fromProject(CONSUMER)],
  };
}

async function deno(args: readonly string[], cwd: URL): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args: [...args],
    cwd,
    env: { NO_COLOR: "1" },
  }).output();
  const decoder = new TextDecoder();
  // The compiler writes its diagnostics to stdout; stderr has the reason it did not start.
  return { code, text: decoder.decode(stdout).trim() || decoder.decode(stderr).trim() };
}

/** Whether the package compiles; prints what the compiler says. */
async function compile(manifest: Manifest, compiler: Compiler): Promise<boolean> {
  const project = new URL(`.cache/browser_types/${compiler.typescript}/`, ROOT);
  await Deno.mkdir(project, { recursive: true });
  await Deno.writeTextFile(
    new URL("deno.json", project),
    JSON.stringify({
      nodeModulesDir: "auto",
      imports: {
        "typescript": `npm:typescript@${compiler.typescript}`,
        "@webgpu/types": `npm:@webgpu/types@${WEBGPU_TYPES}`,
      },
    }),
  );
  await Deno.writeTextFile(
    new URL("tsconfig.json", project),
    JSON.stringify(projectConfig(manifest, compiler)),
  );

  const title = `TypeScript ${compiler.typescript}, @webgpu/types ${WEBGPU_TYPES}`;
  const install = await deno(["install"], project);
  if (install.code !== 0) {
    print(`${title}: cannot be installed\n${install.text}`);
    return false;
  }
  const { code, text } = await deno(
    ["run", "-A", "node_modules/typescript/bin/tsc", "-p", ".", "--pretty", "false"],
    project,
  );
  print(code === 0 ? `${title}: compiles` : `${title}: does not compile\n${text}`);
  return code === 0;
}

async function main(): Promise<number> {
  const manifest: Manifest = JSON.parse(await Deno.readTextFile(new URL("deno.json", ROOT)));
  let failed = 0;
  for (const compiler of COMPILERS) {
    if (!await compile(manifest, compiler)) failed++;
  }
  print(`browser types: ${COMPILERS.length - failed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function print(line: string): void {
  // deno-lint-ignore no-console
  console.log(line);
}

if (import.meta.main) Deno.exit(await main());
