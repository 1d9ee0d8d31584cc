/**
 * Everything that a notebook needs by one import: the whole library, and helpers that show things.
 *
 * The helpers are for notebooks with Deno's kernel; elsewhere they print text. Importing this module also
 * makes tensors show as PyTorch prints them, matrices with a picture, and makes the kernel wait until a
 * cell's output was sent, of which it loses some otherwise: whether the cell ends by a value, by an error, by
 * `Deno.exit()` or by an interrupt, which ends the kernel. Three things this cannot mend: a syntax error shows
 * nothing, as nothing of the cell runs; behind a thrown object that cannot be made a string, and in a kernel that
 * was set up to be interrupted by a message (Deno's own set-up is not), lines may be lost.
 *
 * Two variables of the environment matter: `DENOFORMERS_NOTEBOOK_OUTPUT=static` shows pictures and text in place
 * of scripts, for notebooks that are committed; `DENOFORMERS_NOTEBOOK_SIZE` is for {@linkcode chooseSize}.
 *
 * @example A notebook's first cell
 * ```ts ignore
 * import { plot, requestDevice, usePlotly } from "@denoformers/attention/notebook";
 *
 * await usePlotly();
 * ```
 *
 * @module
 */
export * from "../../mod.ts";
export type { Figure } from "./figure.ts";
export { heatmap, type HeatmapOptions } from "./heatmap.ts";
export { markdown } from "./markdown.ts";
export { type Plot, plot, type PlotOptions } from "./plot.ts";
export { type Progress, progress } from "./progress.ts";
export { sharedDevice } from "./shared_device.ts";
export { chooseSize } from "./sizes.ts";
export { table, type TableOptions } from "./table.ts";
export { usePlotly } from "./use_plotly.ts";
