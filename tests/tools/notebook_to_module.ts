/**
 * Type-checks notebooks, which `deno check` does not read, and runs them without Jupyter.
 *
 *     deno run -A tests/tools/notebook_to_module.ts [--run] [NOTEBOOK...]
 *
 * The code cells of each notebook, by default of all in `notebooks/`, become one module in
 * `.cache/notebooks/`. So a notebook may declare a name only once, and must import by bare
 * specifiers, which resolve through deno.json from anywhere.
 *
 * @module
 */

/** The parts of an .ipynb file that are read here. */
export interface Notebook {
  /** Major version of the format. */
  readonly nbformat: number;
  /** Cells from top to bottom. */
  readonly cells: readonly {
    readonly cell_type: string;
    readonly source: string | readonly string[];
  }[];
}

const ROOT = new URL("../../", import.meta.url);

/**
 * Joins the code cells of a notebook to one module.
 *
 * @param notebook The parsed .ipynb file.
 * @returns The module's text, with a comment before each cell that gives its place.
 */
export function moduleOf(notebook: Notebook): string {
  if (notebook.nbformat !== 4) {
    throw new TypeError(
      `Cannot read notebook: its format is version ${notebook.nbformat}, expected 4`,
    );
  }
  const parts: string[] = [];
  for (const [n, { cell_type: type, source }] of notebook.cells.entries()) {
    if (type !== "code") continue;
    const code = typeof source === "string" ? source : source.join("");
    const relative = code.match(/\b(?:from|import)\s*\(?\s*(["']\.{0,2}\/[^"'\n]*["'])/);
    if (relative !== null) {
      throw new Error(
        `Cannot read notebook: cell ${n + 1} imports ${relative[1]}; use a bare specifier`,
      );
    }
    parts.push(`// Cell ${n + 1}\n${code.trimEnd()}\n`);
  }
  // Marks the text as a module even if no cell imports anything.
  parts.push("export {};\n");
  return parts.join("\n");
}

async function deno(args: readonly string[], cwd: URL): Promise<boolean> {
  const child = new Deno.Command(Deno.execPath(), { args: [...args], cwd }).spawn();
  return (await child.status).success;
}

/** Whether the notebook is sound; Deno prints what is wrong with it. */
async function check(notebook: URL, run: boolean): Promise<boolean> {
  const name = decodeURIComponent(notebook.pathname.split("/").at(-1)!);
  const module = new URL(`.cache/notebooks/${name.replace(/\.ipynb$/, ".ts")}`, ROOT);
  try {
    const text = moduleOf(JSON.parse(await Deno.readTextFile(notebook)));
    await Deno.mkdir(new URL("./", module), { recursive: true });
    await Deno.writeTextFile(module, text);
  } catch (error) {
    print(`${name}: ${error instanceof Error ? error.message : error}`);
    return false;
  }
  const path = decodeURIComponent(module.pathname);
  // `deno check` passes over what deno.json excludes, as it does .cache/, and reports success.
  if (!await deno(["cache", "--check", path], ROOT)) return false;
  // The kernel runs cells in the notebook's folder.
  return !run || await deno(["run", "-A", "--no-check", path], new URL("./", notebook));
}

async function allNotebooks(): Promise<URL[]> {
  const folder = new URL("notebooks/", ROOT);
  const names: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    if (entry.isFile && entry.name.endsWith(".ipynb")) names.push(entry.name);
  }
  return names.sort().map((name) => new URL(encodeURIComponent(name), folder));
}

async function main(args: readonly string[]): Promise<number> {
  const run = args.includes("--run");
  const named = args.filter((arg) => arg !== "--run");
  const here = new URL(`file://${Deno.cwd()}/`);
  const notebooks = named.length > 0
    ? named.map((path) => new URL(path, here))
    : await allNotebooks();
  let failed = 0;
  for (const notebook of notebooks) {
    const sound = await check(notebook, run);
    if (!sound) failed++;
    print(`${sound ? "ok" : "FAILED"} ${decodeURIComponent(notebook.pathname.split("/").at(-1)!)}`);
  }
  print(`notebooks: ${notebooks.length - failed} passed, ${failed} failed`);
  // No notebooks means that none were found where they should be.
  return failed > 0 || notebooks.length === 0 ? 1 : 0;
}

function print(line: string): void {
  // deno-lint-ignore no-console
  console.log(line);
}

if (import.meta.main) Deno.exit(await main(Deno.args));
