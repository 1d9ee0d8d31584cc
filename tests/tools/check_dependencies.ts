/**
 * Checks that dependencies point one way: `notebooks/ -> mod.ts -> attention/ -> gpu/`.
 *
 *     deno run --allow-read --allow-run tests/tools/check_dependencies.ts
 *
 * From the entry points in deno.json's `exports` it reads the module graph that `deno info` makes
 * and reports
 * - modules that import each other at run time, in a cycle;
 * - imports, also of types alone, that point back up the layers. Within one layer type imports may
 *   point anywhere;
 * - imports by the library from outside this package;
 * - statements in entry points other than `export ... from`.
 *
 * @module
 */

/** One import of a module. */
export interface Import {
  /** A path relative to the package's root, or the whole specifier of something outside it. */
  readonly to: string;
  /** Whether it is gone once compiled. */
  readonly typeOnly: boolean;
}

/** The modules of a package, by path relative to its root, with what each imports. */
export type ModuleGraph = ReadonlyMap<string, readonly Import[]>;

/** The parts of the output of `deno info --json` that are read here. */
export interface DenoInfo {
  /** Every module that can be reached. */
  readonly modules: readonly {
    readonly specifier: string;
    readonly error?: string;
    readonly dependencies?: readonly {
      readonly code?: { readonly specifier?: string; readonly error?: string };
      readonly type?: { readonly specifier?: string; readonly error?: string };
    }[];
  }[];
  /** Where specifiers with a version range or a redirect lead. */
  readonly redirects?: Readonly<Record<string, string>>;
}

/** Layers from the lowest; a module imports from its own and those before it. */
const LAYERS = ["gpu/", "attention/", "mod.ts", "notebooks/", "tests/"];

/** Layers that run wherever WebGPU does, and so import nothing from outside the package. */
const PUBLISHED_LAYERS = ["gpu/", "attention/", "mod.ts"];

/**
 * Reads the output of `deno info --json`.
 *
 * @param info The parsed output.
 * @param root URL of the package's root, with a slash at the end.
 * @returns The package's own modules with their imports.
 */
export function graphOf(info: DenoInfo, root: string): ModuleGraph {
  const pathOf = (specifier: string): string => {
    const url = info.redirects?.[specifier] ?? specifier;
    return url.startsWith(root) ? url.slice(root.length) : url;
  };
  const graph = new Map<string, Import[]>();
  for (const { specifier, error, dependencies = [] } of info.modules) {
    if (error !== undefined) throw new Error(`Cannot read module graph: ${error}`);
    if (!specifier.startsWith(root)) continue;
    const imports = dependencies.map(({ code, type }): Import => {
      const failure = code?.error ?? type?.error;
      const to = code?.specifier ?? type?.specifier;
      if (to === undefined) {
        throw new Error(`Cannot read module graph: ${failure ?? `empty import in ${specifier}`}`);
      }
      // An import of both kinds has an entry of each.
      return { to: pathOf(to), typeOnly: code === undefined };
    });
    graph.set(pathOf(specifier), imports);
  }
  return graph;
}

/**
 * Checks the graph against the rules.
 *
 * @param graph The modules and what each imports.
 * @returns One line for every breach; none if all is well.
 */
export function violationsOf(graph: ModuleGraph): string[] {
  const lines: string[] = [];
  for (const [from, imports] of graph) {
    for (const { to, typeOnly } of imports) {
      const reason = objection(from, to);
      if (reason === undefined) continue;
      lines.push(`${from} ${typeOnly ? "imports types from" : "imports"} ${to}: ${reason}`);
    }
  }
  for (const cycle of cyclesOf(graph)) lines.push(`import cycle: ${cycle.join(" -> ")}`);
  return lines;
}

/**
 * Finds what an entry point has besides `export ... from` and comments.
 *
 * @param source The entry point's text.
 * @returns The start of each other statement.
 */
export function logicIn(source: string): string[] {
  const withoutComments = source.replace(/\/\*[\s\S]*?\*\/|(?<!:)\/\/.*$/gm, "");
  const reExport =
    /export\s+(type\s+)?(\*(\s+as\s+[\w$]+)?|\{[^{}]*\})\s+from\s+("[^"\n]*"|'[^'\n]*')\s*(;|\n|$)/g;
  return withoutComments.replace(reExport, "\n").split(/[;\n]\s*/)
    .map((statement) => statement.trim()).filter((statement) => statement !== "");
}

function objection(from: string, to: string): string | undefined {
  const fromLayer = layerOf(from);
  const toLayer = layerOf(to);
  if (toLayer === undefined) {
    const mayImportAnything = fromLayer === undefined || !PUBLISHED_LAYERS.includes(fromLayer);
    return mayImportAnything ? undefined : "it is outside the layers of the library";
  }
  if (fromLayer === undefined || LAYERS.indexOf(toLayer) <= LAYERS.indexOf(fromLayer)) {
    return undefined;
  }
  return `${fromLayer} lies below ${toLayer} and must not know of it`;
}

function layerOf(path: string): string | undefined {
  return LAYERS.find((layer) => layer.endsWith("/") ? path.startsWith(layer) : path === layer);
}

/** Chains of run-time imports that end where they began. */
function cyclesOf(graph: ModuleGraph): string[][] {
  const cycles: string[][] = [];
  const done = new Set<string>();
  const chain: string[] = [];
  const visit = (path: string): void => {
    const begin = chain.indexOf(path);
    if (begin >= 0) {
      cycles.push([...chain.slice(begin), path]);
      return;
    }
    if (done.has(path)) return;
    chain.push(path);
    for (const { to, typeOnly } of graph.get(path) ?? []) if (!typeOnly) visit(to);
    chain.pop();
    done.add(path);
  };
  for (const path of graph.keys()) visit(path);
  return cycles;
}

async function readGraph(entryPoints: readonly string[], root: URL): Promise<ModuleGraph> {
  const graph = new Map<string, readonly Import[]>();
  for (const entryPoint of entryPoints) {
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["info", "--json", entryPoint],
      cwd: root,
      env: { NO_COLOR: "1" },
    }).output();
    if (!success) {
      throw new Error(
        `Cannot read module graph: deno info failed on ${entryPoint}: ${
          new TextDecoder().decode(stderr).trim()
        }`,
      );
    }
    const info: DenoInfo = JSON.parse(new TextDecoder().decode(stdout));
    for (const [path, imports] of graphOf(info, root.href)) graph.set(path, imports);
  }
  return graph;
}

async function main(): Promise<number> {
  const root = new URL("../../", import.meta.url);
  const manifest: { exports: Record<string, string> } = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", root)),
  );
  const entryPoints = Object.values(manifest.exports);
  const graph = await readGraph(entryPoints, root);
  const violations = violationsOf(graph);
  for (const entryPoint of entryPoints) {
    for (const statement of logicIn(await Deno.readTextFile(new URL(entryPoint, root)))) {
      violations.push(`${entryPoint} has more than re-exports: ${statement}`);
    }
  }
  for (const violation of violations) print(violation);
  print(
    violations.length === 0
      ? `dependencies: ${graph.size} modules from ${entryPoints.length} entry points, all in order`
      : `dependencies: ${violations.length} violations`,
  );
  return violations.length === 0 ? 0 : 1;
}

function print(line: string): void {
  // deno-lint-ignore no-console
  console.log(line);
}

if (import.meta.main) Deno.exit(await main());
