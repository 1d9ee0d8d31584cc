/** What an action of a random walk is, and how it chooses what it works with. */
import type { Tensor } from "@denoformers/attention";
import type { Step, Walk } from "./_walk.ts";

/** Does a step; returns what it leaves to the walk. Errors of the library may pass. */
export type Action = (
  walk: Walk,
  step: Step,
) => readonly Tensor[] | void | Promise<readonly Tensor[] | void>;

/** One of a list, by a number that is counted around. */
export function choose<T>(list: readonly T[], number: number): T {
  return list[number % list.length]!;
}

/** One of the tensors at hand; the first is made if there is none. */
export function pick({ device, tensors }: Walk, number: number): Tensor {
  if (tensors.length === 0) tensors.push(device.tensor([[1, -2, 3], [0.5, 0, -1]]));
  return choose(tensors, number);
}
