/** Where notebooks are, and where what they need is kept. */
import { fileURLToPath } from "node:url";

/** The folder of the project, with a slash at its end like those below. */
export const ROOT: string = fileURLToPath(new URL("../../", import.meta.url));

/** The folder of the notebooks. */
export const NOTEBOOKS: string = `${ROOT}notebooks/`;

/** The folder of everything that Jupyter reads and writes; git ignores it. */
export const JUPYTER_CACHE: string = `${ROOT}.cache/jupyter/`;

/** The folder of this file and its neighbours. */
export const HERE: string = `${NOTEBOOKS}jupyter/`;
