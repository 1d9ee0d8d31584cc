/** What a notebook's code has to be, beside right in its types. Each violation is one line. */
import { moduleOf, placeOf } from "./module_of.ts";
import { joined, type Notebook } from "./notebook_file.ts";
import { ROOT } from "./paths.ts";

/** What notebooks import of this repository. */
const LIBRARY = "@denoformers/attention/notebook";
/** Notebooks print, and import data that is named nowhere else. */
const LINT = ["lint", "--json", "--rules-exclude=no-console,no-import-prefix", "-"];

/**
 * Holds a notebook's code against `deno fmt`, `deno lint`, and the rule that one changed line lets it
 * run outside of this repository.
 *
 * @param notebook The notebook.
 * @returns What is wrong with it.
 * @throws {Error} If a cell imports by a path.
 */
export async function sourceViolations(notebook: Notebook): Promise<string[]> {
  const module = moduleOf(notebook);
  const [formatted, lint] = await Promise.all([
    deno(["fmt", "--ext", "ts", "-"], module),
    deno(LINT, module),
  ]);
  return [
    ...importViolations(notebook),
    // What cannot be parsed is for the check of types to tell.
    ...(formatted.success ? formatViolations(module, formatted.stdout) : []),
    ...(lint.stdout === "" ? [] : lintViolations(module, JSON.parse(lint.stdout))),
  ];
}

async function deno(args: string[], input: string): Promise<{ success: boolean; stdout: string }> {
  const child = new Deno.Command(Deno.execPath(), {
    args,
    cwd: ROOT,
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const [{ success, stdout }] = await Promise.all([
    child.output(),
    new Blob([input]).stream().pipeTo(child.stdin),
  ]);
  return { success, stdout: new TextDecoder().decode(stdout) };
}

/**
 * Sees to it that the library is imported once, in the first code cell.
 *
 * @param notebook The notebook.
 * @returns What is wrong with it.
 */
export function importViolations({ cells }: Notebook): string[] {
  const found = cells.flatMap(({ cell_type: type, source }, cell) =>
    type !== "code" ? [] : Array.from(
      joined(source).matchAll(/\b(?:from|import)\s*\(?\s*["'](@denoformers\/[^"'\n]*)["']/g),
      ([, specifier]) => ({ specifier, cell }),
    )
  );
  const first = cells.findIndex(({ cell_type: type }) => type === "code");
  const isRight = found.length === 1 && found[0]!.specifier === LIBRARY && found[0]!.cell === first;
  if (isRight) return [];
  const names = found.map(({ specifier, cell }) => `"${specifier}" in cell ${cell + 1}`);
  return [
    `imports ${names.join(", ") || "nothing of this library"}; ` +
    `import "${LIBRARY}" once, in the first code cell`,
  ];
}

/**
 * Compares a module with what the formatter made of it.
 *
 * @param module The module's text.
 * @param formatted The same after `deno fmt`.
 * @returns The first line that differs, if there is one.
 */
export function formatViolations(module: string, formatted: string): string[] {
  if (module === formatted) return [];
  const [is, wanted] = [module.split("\n"), formatted.split("\n")];
  const n = is.findIndex((line, n) => line !== wanted[n]);
  return [`${placeOf(module, n + 1)}: \`${is[n]}\`, but deno fmt gives \`${wanted[n] ?? ""}\``];
}

/**
 * Reads the linter's findings.
 *
 * @param module The module's text.
 * @param report What `deno lint --json` printed.
 * @returns A line for each finding.
 */
export function lintViolations(
  module: string,
  report: {
    diagnostics: { code: string; message: string; range: { start: { line: number } } }[];
  },
): string[] {
  return report.diagnostics.map(({ code, message, range }) =>
    `${placeOf(module, range.start.line)}: ${message} (deno lint: ${code})`
  );
}
