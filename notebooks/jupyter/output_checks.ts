/** What a notebook has to be so that its outputs can be committed. Each violation is one line. */
import { type Cell, joined, type Notebook, type Output } from "./notebook_file.ts";

/** How large all notebooks together may be, in bytes. */
const MOST_BYTES = 3_000_000;
/** A data: URI holds no element. */
const SCRIPT = /<script\b/i;
const ID = /^[\w-]{1,64}$/;
const KERNEL: Readonly<Record<string, string>> = {
  display_name: "Deno",
  language: "typescript",
  name: "deno",
};
const PLOTLY = "application/vnd.plotly.v1+json";
const REMEDY = "run `deno task notebook:run`";

/**
 * Checks a notebook's format and its outputs.
 *
 * @param notebook The notebook.
 * @param hash The digest of its code cells as they are.
 * @returns What is wrong with it, and what to do.
 */
export function outputViolations(notebook: Notebook, hash: string): string[] {
  const found = formViolations(notebook);
  const stale = freshnessViolation(notebook, hash);
  // Outputs of other code are replaced, whatever they are.
  if (stale !== undefined) return [...found, stale];
  return [
    ...found,
    ...orderViolations(notebook.cells),
    ...notebook.cells.flatMap(({ outputs = [] }, n) =>
      outputs.flatMap((output) => contentViolations(output).map((text) => `cell ${n + 1} ${text}`))
    ),
  ];
}

/**
 * Checks how large notebooks are together.
 *
 * @param sizes The sizes of their files, in bytes.
 * @returns What is wrong, and what to do.
 */
export function sizeViolations(sizes: readonly number[]): string[] {
  const total = sizes.reduce((sum, size) => sum + size, 0);
  if (total < MOST_BYTES) return [];
  return [
    `the notebooks have ${total} bytes, expected less than ${MOST_BYTES}: show smaller pictures, ` +
    "or figures of fewer points",
  ];
}

function formViolations(notebook: Notebook): string[] {
  const { nbformat, nbformat_minor: minor, metadata, cells } = notebook;
  const found: string[] = [];
  if (nbformat !== 4 || minor !== 5) {
    found.push(`the format is ${nbformat}.${minor}, expected 4.5: save it in JupyterLab`);
  }
  const spec = metadata?.kernelspec ?? {};
  if (Object.entries(KERNEL).some(([name, value]) => spec[name] !== value)) {
    found.push(
      `metadata.kernelspec is ${JSON.stringify(spec)}, expected ${JSON.stringify(KERNEL)}`,
    );
  }
  const seen = new Set<string>();
  for (const [n, { id = "" }] of cells.entries()) {
    if (!ID.test(id)) found.push(`cell ${n + 1} has the id "${id}", expected letters and digits`);
    else if (seen.has(id)) found.push(`cell ${n + 1} has the id "${id}" of a cell before it`);
    seen.add(id);
  }
  return found;
}

function freshnessViolation({ metadata }: Notebook, hash: string): string | undefined {
  const written = metadata?.denoformers?.codeHash;
  if (written === hash) return undefined;
  return written === undefined
    ? `the outputs are not of a run of the whole notebook: ${REMEDY}`
    : `the code has changed since the outputs were made: ${REMEDY}`;
}

function orderViolations(cells: readonly Cell[]): string[] {
  const found: string[] = [];
  let count = 0;
  for (
    const [n, { cell_type: type, source, execution_count: executed = null }] of cells.entries()
  ) {
    if (type !== "code") continue;
    if (joined(source).trim() === "") {
      found.push(`cell ${n + 1} is empty: remove it`);
      continue;
    }
    count++;
    if (executed === null) found.push(`cell ${n + 1} has not been run: ${REMEDY}`);
    else if (executed !== count) {
      found.push(`cell ${n + 1} was run as number ${executed}, expected ${count}: ${REMEDY}`);
    }
  }
  return found;
}

function contentViolations({ output_type: type, name, data = {}, ...output }: Output): string[] {
  if (type === "error") {
    return [
      `ended with an error: ${output.evalue ?? ""}`.split("\n")[0]! + `; mend it, and ${REMEDY}`,
    ];
  }
  if (type === "stream" && name === "stderr") {
    const [line] = joined(output.text ?? "").split("\n");
    return [`wrote "${line}" to its error stream: mend what it warns of, and ${REMEDY}`];
  }
  const found: string[] = [];
  const html = data["text/html"];
  if (html !== undefined && SCRIPT.test(joined(html as string))) {
    found.push(`shows HTML with a script, which GitHub leaves out: ${REMEDY}`);
  }
  if ("image/svg+xml" in data) {
    found.push("shows image/svg+xml, which GitHub leaves out: show image/png instead");
  }
  if (PLOTLY in data && !("image/png" in data)) {
    found.push(`shows a figure without a picture for GitHub: ${REMEDY}`);
  }
  return found;
}
