/** What a notebook shows, without what it says: the same on every adapter. */
import type { Notebook, Output } from "../../notebooks/jupyter/notebook_file.ts";

/**
 * Describes the outputs of a notebook.
 *
 * @param notebook The notebook.
 * @returns By code cell, the kind of each output and its MIME types.
 */
export function outputStructure({ cells }: Notebook): Record<string, string[]> {
  const code = cells.flatMap((cell, n) => cell.cell_type === "code" ? [{ cell, n }] : []);
  return Object.fromEntries(
    code.map(({ cell, n }) => [`cell ${n + 1}`, (cell.outputs ?? []).map(describeOutput)]),
  );
}

function describeOutput({ output_type: type, name, data = {} }: Output): string {
  return [type, name ?? Object.keys(data).sort().join(" + ")].join(": ");
}
