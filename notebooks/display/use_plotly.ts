/** plotly.js for the page, from this package's dependencies instead of a network. */
import { display, isNotebook, isStatic } from "./kernel.ts";
import { plotlyHtml } from "./page.ts";

/** How long the page has for showing the script before its text is taken away again. */
const SHOWN_MS = 400;

/**
 * Gives the page plotly.js, so that figures are live: call it once, at the top of a notebook. The notebook
 * does not keep the script. Does nothing outside of a notebook, and where output is to be committed.
 */
export async function usePlotly(): Promise<void> {
  if (!isNotebook() || isStatic()) return;
  const { plotlySource } = await import("./static/plotly.ts");
  const id = `plotly-${crypto.randomUUID()}`;
  const text = "plotly.js was loaded when this cell ran.";
  await display({ "text/html": plotlyHtml(await plotlySource()), "text/plain": text }, { id });
  await new Promise((done) => setTimeout(done, SHOWN_MS));
  await display({ "text/html": `<small>${text}</small>`, "text/plain": text }, {
    id,
    update: true,
  });
}
