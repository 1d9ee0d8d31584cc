/** What a family of random calls is: how to draw one, and how to see that it went right. */
import type { Device, Tensor } from "@denoformers/attention";
import type fc from "fast-check";
import type { Scope } from "./_scope.ts";

/** Calls of one part of the public surface. A case is plain data, so that it prints, and can be given again. */
export interface Family<Case> {
  /** As `--only` takes it. */
  readonly name: string;
  /** Its share of the cases, relative to the others'. */
  readonly weight: number;
  /** Cases that tests try, so that they stay fast. */
  readonly quick: number;
  /** Draws cases; the scope bounds how many kernels a run compiles. */
  cases(scope: Scope): fc.Arbitrary<Case>;
  /** Makes the call, and throws if what came of it is not right. Leaves no tensor behind. */
  check(device: Device, drawn: Case): Promise<void> | void;
}

/** A family whose cases nobody outside looks into. */
// deno-lint-ignore no-explicit-any -- `check` takes what `cases` of the same family drew
export type AnyFamily = Family<any>;

/** Reads tensors back, each once all are computed, and disposes them. */
export async function take(tensors: readonly Tensor[]): Promise<Taken[]> {
  try {
    return await Promise.all(tensors.map(async (tensor) => ({
      shape: tensor.shape,
      dtype: tensor.dtype,
      data: Array.from(await tensor.data()),
    })));
  } finally {
    for (const tensor of tensors) tensor.dispose();
  }
}

/** A tensor on the host. */
export interface Taken {
  readonly shape: readonly number[];
  readonly dtype: Tensor["dtype"];
  readonly data: readonly number[];
}
