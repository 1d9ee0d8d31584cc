/** The code of a notebook as a module, which Deno's tools read. */
import { joined, type Notebook } from "./notebook_file.ts";

/**
 * Joins the code cells of a notebook to one module. So a notebook may declare a name only once, and must
 * import by bare specifiers, which resolve through deno.json from anywhere.
 *
 * @param notebook The notebook.
 * @returns The module's text, with a comment before each cell that gives its place.
 * @throws {Error} If a cell imports by a path.
 */
export function moduleOf({ cells }: Notebook): string {
  const parts: string[] = [];
  for (const [n, { cell_type: type, source }] of cells.entries()) {
    if (type !== "code") continue;
    const code = joined(source);
    const relative = code.match(/\b(?:from|import)\s*\(?\s*(["']\.{0,2}\/[^"'\n]*["'])/);
    if (relative !== null) {
      throw new Error(
        `Cannot read notebook: cell ${n + 1} imports ${relative[1]}; use a bare specifier`,
      );
    }
    parts.push(`${heading(n + 1)}\n${code.trimEnd()}\n`);
  }
  // Marks the text as a module even if no cell imports anything.
  parts.push("export {};\n");
  return parts.join("\n");
}

function heading(cell: number): string {
  return `// Cell ${cell}`;
}

/**
 * Where a line of such a module comes from.
 *
 * @param module The module's text.
 * @param line The line's number, from 1 on.
 * @returns The place, such as `cell 3, line 2`.
 */
export function placeOf(module: string, line: number): string {
  const before = module.split("\n").slice(0, line);
  const start = before.findLastIndex((text) => /^\/\/ Cell \d+$/.test(text));
  if (start < 0) return `line ${line}`;
  return `cell ${before[start]!.slice("// Cell ".length)}, line ${line - start - 1}`;
}
