/** What a saved notebook shows, where JupyterLab's and the committed outputs have to agree. */
import {
  codeHash,
  joined,
  type Notebook,
  type Output,
  type Text,
} from "../../../notebooks/jupyter/notebook_file.ts";

/** The outputs of all code cells, in order. */
export function outputsOf({ cells }: Notebook): (readonly Output[])[] {
  return cells.filter((cell) => cell.cell_type === "code").map(({ outputs = [] }) => outputs);
}

/** Whether an output is a figure: a live one or its picture, which have the same words beside them. */
export function isFigure(output: Output): boolean {
  return plainText(output).startsWith("[plot");
}

/** Whether an output is a progress line, as JupyterLab shows it. */
export function isProgress({ data }: Output): boolean {
  return joined((data?.["text/html"] ?? "") as Text).includes("<progress ");
}

/** Errors, and what was written to the error stream, as a line each. */
export function complaintsOf(notebook: Notebook): string[] {
  return outputsOf(notebook).flatMap((outputs, n) =>
    outputs.flatMap(({ output_type: type, name, evalue, text = "" }) => {
      if (type === "error") return [`code cell ${n + 1}: ${evalue}`];
      return name === "stderr" ? [`code cell ${n + 1}: ${joined(text)}`] : [];
    })
  );
}

/**
 * The kinds of all outputs, without those that only one of the two ways to run a notebook has: plotly.js
 * for the page, and pictures of tensors, which in JupyterLab are part of the tensor's output.
 *
 * @param notebook The notebook.
 * @returns By code cell.
 */
export function kindsOf(notebook: Notebook): string[][] {
  return outputsOf(notebook).map((outputs) =>
    outputs.filter((output) => !/^(plotly\.js|\[picture)/.test(plainText(output)))
      .map((output) => isFigure(output) ? "figure" : output.output_type)
  );
}

/** Whether a notebook's outputs are those of its code, as far as it tells. */
export async function isFresh(notebook: Notebook): Promise<boolean> {
  return notebook.metadata?.denoformers?.codeHash === await codeHash(notebook);
}

function plainText({ data }: Output): string {
  return joined((data?.["text/plain"] ?? "") as Text);
}
