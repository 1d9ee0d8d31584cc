/** Calls of what notebooks show that are right. */
import * as notebook from "@denoformers/attention/notebook";
import type { Entry } from "../../fuzz/_entry.ts";

/** The helpers of notebooks. */
export const NOTEBOOK_ENTRIES: readonly Entry[] = [
  {
    name: "plot",
    kinds: { figure: "options", options: "options" },
    right: () => ({ figure: { data: [] } }),
    call: (a) => notebook.plot(a.figure, a.options),
  },
  {
    name: "table",
    kinds: { rows: "instance", options: "options" },
    right: () => ({ rows: [] }),
    call: (a) => notebook.table(a.rows, a.options),
  },
  {
    name: "heatmap",
    kinds: { values: "instance", options: "options" },
    right: () => ({ values: [[1]] }),
    call: (a) => notebook.heatmap(a.values, a.options),
  },
  {
    name: "chooseSize",
    kinds: { device: "instance", sizes: "options" },
    right: (device) => ({ device, sizes: { small: 1, large: 2 } }),
    call: (a) => notebook.chooseSize(a.device, a.sizes),
  },
  {
    name: "sharedDevice",
    kinds: { options: "options" },
    right: () => ({}),
    call: (a) => notebook.sharedDevice(a.options),
  },
];
