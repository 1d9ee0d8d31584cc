/** Copies of the project's notebooks, for a browser to open, run and save. */
import {
  fileName,
  type Notebook,
  notebooksIn,
  readNotebook,
} from "../../../notebooks/jupyter/notebook_file.ts";
import { NOTEBOOKS, ROOT } from "../../../notebooks/jupyter/paths.ts";

/**
 * The folder of the copies. It is in the project, whose deno.json kernels look for from the notebook's
 * folder upwards.
 */
export const COPIES: string = `${ROOT}.cache/notebooks/lab/`;

/** The names of all notebooks' files, in order. */
export const NAMES: readonly string[] = notebooksIn(NOTEBOOKS).map(fileName);

/**
 * The copy of a notebook that keeps its outputs.
 *
 * @param name The name of the notebook's file.
 * @returns The name of the copy's file, in {@linkcode COPIES}.
 */
export function committedCopy(name: string): string {
  return `committed_${name}`;
}

/** Makes two copies of each notebook anew: one without outputs, under its name, and one as it is. */
export function copyNotebooks(): void {
  try {
    Deno.removeSync(COPIES, { recursive: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  Deno.mkdirSync(COPIES, { recursive: true });
  for (const name of NAMES) {
    Deno.copyFileSync(NOTEBOOKS + name, COPIES + committedCopy(name));
    const empty = withoutOutputs(readNotebook(NOTEBOOKS + name));
    Deno.writeTextFileSync(COPIES + name, JSON.stringify(empty, null, 1));
  }
}

function withoutOutputs(notebook: Notebook): Notebook {
  const cells = notebook.cells.map((cell) =>
    cell.cell_type === "code" ? { ...cell, outputs: [], execution_count: null } : cell
  );
  return { ...notebook, cells };
}
