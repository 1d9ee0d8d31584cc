/** How large the examples of a notebook are. */
import { checkedOptions, told } from "../../gpu/checks.ts";
import type { Device } from "../../mod.ts";
import { environment } from "./kernel.ts";

const SIZES = { small: "", large: "" };

/**
 * Picks the sizes that a notebook works with: large ones for a GPU, small ones where the CPU computes.
 * The environment variable `DENOFORMERS_NOTEBOOK_SIZE`, `small` or `large`, decides instead if it is set.
 *
 * @param device The device that is to compute.
 * @param sizes What to pick from.
 * @returns One of the two, as it is.
 * @throws {TypeError} If the device is none, or the sizes have other names.
 * @throws {RangeError} If the variable has another value.
 *
 * @example
 * ```ts ignore
 * const { tokens } = chooseSize(device, { small: { tokens: 1024 }, large: { tokens: 65536 } });
 * ```
 */
export function chooseSize<T>(device: Device, sizes: { readonly small: T; readonly large: T }): T {
  if (typeof device?.info?.isFallback !== "boolean") {
    throw new TypeError(
      `Cannot choose sizes: device is ${told(device)}, expected what requestDevice() gave`,
    );
  }
  checkedOptions("choose sizes", sizes, SIZES);
  const size = environment("DENOFORMERS_NOTEBOOK_SIZE") ??
    (device.info.isFallback ? "small" : "large");
  if (size !== "small" && size !== "large") {
    throw new RangeError(
      `Cannot choose sizes: DENOFORMERS_NOTEBOOK_SIZE is "${size}", expected "small" or "large"`,
    );
  }
  return sizes[size];
}
