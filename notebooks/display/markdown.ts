/** Text that a cell computes, set as Markdown. */
import { told } from "../../gpu/checks.ts";
import { display } from "./kernel.ts";

/**
 * Shows a text as Markdown below the cell.
 *
 * @param text Markdown as Jupyter takes it; outside of a notebook it is printed as it is.
 * @throws {TypeError} If it is no string.
 *
 * @example A sentence with a number in it
 * ```ts ignore
 * await markdown(`The largest error is **${error.toExponential(1)}**.`);
 * ```
 */
export async function markdown(text: string): Promise<void> {
  if (typeof text !== "string") {
    throw new TypeError(`Cannot show Markdown: text is ${told(text)}, expected a string`);
  }
  await display({ "text/markdown": text, "text/plain": text });
}
