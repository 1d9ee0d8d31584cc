/** Notebooks as files, in the format of https://nbformat.readthedocs.io. */

/** A text, or its lines with their line breaks. */
export type Text = string | readonly string[];

/** What a code cell showed. */
export interface Output {
  /** `stream`, `display_data`, `execute_result` or `error`. */
  readonly output_type: string;
  /** Of a stream: `stdout` or `stderr`. */
  readonly name?: string;
  /** Of a stream. */
  readonly text?: Text;
  /** Of a display or a result: contents by MIME type. */
  readonly data?: Readonly<Record<string, unknown>>;
  /** Of an error: its text. */
  readonly evalue?: string;
}

/** A cell. */
export interface Cell {
  /** `code`, `markdown` or `raw`. */
  readonly cell_type: string;
  /** Its name, of which there is one in each notebook. */
  readonly id?: string;
  /** Its text. */
  readonly source: Text;
  /** Of a code cell: its place in the order of execution, from 1 on. */
  readonly execution_count?: number | null;
  /** Of a code cell. */
  readonly outputs?: readonly Output[];
}

/** What a run writes down of itself. */
export interface RunMetadata {
  /** {@linkcode codeHash} of the notebook that was run. */
  readonly codeHash: string;
  /** `small` or `large`: see `chooseSize()`. */
  readonly size: string;
  /** The name of the adapter. */
  readonly adapter: string;
  /** Such as `Deno 2.9.6`. */
  readonly runtime: string;
  /** The version of the library. */
  readonly version: string;
}

/** A notebook. */
export interface Notebook {
  /** Major version of the format. */
  readonly nbformat: number;
  /** Minor version of the format. */
  readonly nbformat_minor?: number;
  /** What is known of the notebook as a whole. */
  readonly metadata?: {
    readonly kernelspec?: Readonly<Record<string, unknown>>;
    readonly denoformers?: Partial<RunMetadata>;
  };
  /** Its cells from top to bottom. */
  readonly cells: readonly Cell[];
}

/**
 * Joins lines.
 *
 * @param text A text as the format has it.
 * @returns The text in one piece.
 */
export function joined(text: Text): string {
  return typeof text === "string" ? text : text.join("");
}

/**
 * A digest of the code cells: outputs belong to a notebook as long as it has not changed. Prose and
 * outputs do not count.
 *
 * @param notebook The notebook.
 * @returns SHA-256 in hexadecimal digits.
 */
export async function codeHash({ cells }: Notebook): Promise<string> {
  const sources = cells.filter((cell) => cell.cell_type === "code")
    .map(({ source }) => joined(source));
  const bytes = new TextEncoder().encode(JSON.stringify(sources));
  return new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)).toHex();
}

/**
 * Finds notebooks.
 *
 * @param folder A folder, with a slash at its end.
 * @returns The paths of the notebooks in it, in the order of their names; not of those in its folders.
 */
export function notebooksIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder))
    .filter(({ isFile, name }) => isFile && name.endsWith(".ipynb"))
    .map(({ name }) => folder + name).sort();
}

/**
 * Reads a notebook.
 *
 * @param path The file's path.
 * @returns The notebook; only its format is made sure of.
 * @throws {TypeError} If it is no notebook of version 4 of the format.
 */
export function readNotebook(path: string): Notebook {
  const notebook = JSON.parse(Deno.readTextFileSync(path));
  if (notebook?.nbformat !== 4 || !Array.isArray(notebook.cells)) {
    throw new TypeError(
      `Cannot read notebook: nbformat of ${path} is ${notebook?.nbformat}, expected 4`,
    );
  }
  return notebook;
}

/**
 * The last part of a path.
 *
 * @param path The path.
 * @returns The file's name.
 */
export function fileName(path: string): string {
  return path.split(/[/\\]/).at(-1)!;
}
