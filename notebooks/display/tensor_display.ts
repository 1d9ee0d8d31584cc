/**
 * How tensors show as a cell's last value, once this module was loaded: as PyTorch prints them, and matrices
 * with a picture.
 */
import { type Tensor, TensorBase } from "../../mod.ts";
import { escapeHtml } from "./html.ts";
import { display, isStatic, type MimeBundle } from "./kernel.ts";
import { readMatrix } from "./matrix.ts";
import { matrixPicture, PICTURE_PIXELS } from "./picture.ts";

/** By which the kernel asks a value how it wants to be shown. */
const DISPLAY: unique symbol = Symbol.for("Jupyter.display");

/** Of the prototype of all tensors, what is replaced here. */
type Displayable = Record<typeof DISPLAY, (this: Tensor) => Promise<MimeBundle>>;

const prototype = TensorBase.prototype as unknown as Displayable;
const formatted = prototype[DISPLAY];
prototype[DISPLAY] = async function () {
  return await withPicture(this, await formatted.call(this));
};

async function withPicture(tensor: Tensor, bundle: MimeBundle): Promise<MimeBundle> {
  const isMatrix = tensor.ndim === 2 && tensor.shape.every((size) => size > 1);
  if (!isMatrix || tensor.isDisposed) return bundle;
  const matrix = await readMatrix(tensor, PICTURE_PIXELS);
  const { png, width, height, caption } = await matrixPicture(matrix);
  const base64 = png.toBase64();
  if (isStatic()) {
    // A picture outranks text where both are in one output.
    await display({ "image/png": base64, "text/plain": `[picture: ${caption}]` }, {
      metadata: { "image/png": { width, height } },
    });
    return bundle;
  }
  const html = `<pre>${escapeHtml(String(bundle["text/plain"]))}</pre>` +
    `<img width="${width}" height="${height}" alt="the matrix as colours" ` +
    `style="image-rendering:pixelated" src="data:image/png;base64,${base64}">` +
    `<div><small>${escapeHtml(caption)}</small></div>`;
  return { ...bundle, "text/html": html };
}
