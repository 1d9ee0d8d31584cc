// deno-lint-ignore-file no-console -- a program of the command line
/**
 * Checks notebooks without running them: the task `notebook:check`. Deno's own tools do not read them.
 *
 *     deno run -A notebooks/jupyter/check.ts [NOTEBOOK...]
 *
 * The code cells are right in their types, formatted, and without findings of the linter; the outputs
 * are those of the code as it is, and such as can be committed.
 */
import { runCommand } from "../../gpu/setup/command.ts";
import { chartViolations } from "./charts.ts";
import { moduleOf } from "./module_of.ts";
import { codeHash, fileName, type Notebook, notebooksIn, readNotebook } from "./notebook_file.ts";
import { outputViolations, sizeViolations } from "./output_checks.ts";
import { NOTEBOOKS, ROOT } from "./paths.ts";
import { sourceViolations } from "./source_checks.ts";

/** Where modules made of notebooks are written: in the project, so that its deno.json counts. */
const MODULES = `${ROOT}.cache/notebooks/`;

async function main(args: readonly string[]): Promise<number> {
  const paths = args.length > 0 ? args : notebooksIn(NOTEBOOKS);
  const found = await Promise.all(paths.map(violationsIn));
  let failed = found.filter((violations) => violations.length > 0).length;
  for (const [n, path] of paths.entries()) {
    for (const violation of found[n]!) console.log(`${fileName(path)}: ${violation}`);
  }
  if (args.length === 0) {
    const tooLarge = sizeViolations(paths.map((path) => Deno.statSync(path).size));
    if (tooLarge.length > 0) failed = Math.max(failed, 1);
    for (const violation of tooLarge) console.log(violation);
  }
  console.log(`notebooks: ${paths.length - failed} passed, ${failed} failed`);
  // No notebooks means that none were found where they should be.
  return failed > 0 || paths.length === 0 ? 1 : 0;
}

async function violationsIn(path: string): Promise<string[]> {
  let notebook: Notebook;
  try {
    notebook = readNotebook(path);
    const [hash, ...found] = await Promise.all([
      codeHash(notebook),
      sourceViolations(notebook),
      typeViolations(notebook, fileName(path)),
    ]);
    return [
      ...found.flat(),
      ...outputViolations(notebook, hash),
      ...chartViolations(fileName(path), notebook),
    ];
  } catch (error) {
    return [error instanceof Error ? error.message : String(error)];
  }
}

async function typeViolations(notebook: Notebook, name: string): Promise<string[]> {
  const module = `${MODULES}${name.replace(/\.ipynb$/, ".ts")}`;
  await Deno.mkdir(MODULES, { recursive: true });
  await Deno.writeTextFile(module, moduleOf(notebook));
  // `deno check` passes over what deno.json excludes, as it does .cache/, and reports success.
  const command = [Deno.execPath(), "cache", "--quiet", "--check", module];
  const { ok, stderr } = await runCommand(command, { env: { NO_COLOR: "1" } });
  return ok ? [] : [`its cells do not compile as one module:\n${stderr.trimEnd()}`];
}

if (import.meta.main) Deno.exit(await main(Deno.args));
