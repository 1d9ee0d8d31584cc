/** Launches of the kernels that fill the gradients of query, key and value. */
import type { DeviceArray } from "../../gpu/array.ts";
import { canStore } from "../kernels/_rows.ts";
import { backwardKeyKernel } from "../kernels/flash_backward_key.ts";
import { backwardQueryKernel } from "../kernels/flash_backward_query.ts";
import { backwardSumsKernel } from "../kernels/flash_backward_sums.ts";
import type { BackwardRun } from "./backward_run.ts";

/** dQ, `[B, Mq, G, H, K]`, and the factors of rows. */
export function fillQueryGradient(run: BackwardRun): DeviceArray {
  const { sizes: { B, Mq, G, H, K }, storage } = run.inputs;
  const output = canStore(storage, K) ? storage : "f32";
  const [dq] = run.fill([{ shape: [B, Mq, G, H, K], dtype: output }], (outputs) => {
    run.launch(backwardQueryKernel, "query", {
      output,
      outputs: [...outputs, run.factors],
      jobs: G * H,
    });
    run.applyFactors();
  });
  return dq!;
}

/** Finds the factors of rows, which {@linkcode fillQueryGradient} does too. */
export function findFactors(run: BackwardRun): void {
  const { sizes: { G, H }, storage } = run.inputs;
  run.launch(backwardSumsKernel, "query", {
    output: storage,
    outputs: [run.factors],
    jobs: G * H,
  });
  run.applyFactors();
}

/** dK and dV, and of how many heads of a group: those that the inputs have, or more, still to be summed. */
export interface KeyGradients {
  /** dK `[B, Mkv, G, heads, K]` and dV `[B, Mkv, G, heads, Kv]`. */
  readonly arrays: readonly [dk: DeviceArray, dv: DeviceArray];
  readonly heads: number;
  /** How many heads of a group key and value themselves have: H, or 1 that all share. */
  readonly ownHeads: Readonly<Record<"key" | "value", number>>;
}

/** Fills dK and dV, which come from one kernel. */
export function fillKeyGradients(run: BackwardRun): KeyGradients {
  const { B, Mkv, G, H, K, Kv } = run.inputs.sizes;
  const { storage } = run.inputs;
  // Heads of a group share key or value if these have one; sharing both, they are summed in the kernel.
  const ownHeads = { key: ownHeadsOf(run, "key"), value: ownHeadsOf(run, "value") };
  const heads = Math.max(ownHeads.key, ownHeads.value);
  // What is summed behind the kernel is not rounded before.
  const isFinal = ownHeads.key === ownHeads.value && canStore(storage, K) && canStore(storage, Kv);
  const output = isFinal ? storage : "f32";
  const shape = (dim: number) => [B, Mkv, G, heads, dim];
  const [dk, dv] = run.fill(
    [{ shape: shape(K), dtype: output }, { shape: shape(Kv), dtype: output }],
    (outputs) => {
      const sums = { sum_heads: H / heads };
      run.launch(backwardKeyKernel, "key", { output, outputs, jobs: G * heads, params: sums });
    },
  );
  return { arrays: [dk!, dv!], heads, ownHeads };
}

function ownHeadsOf({ inputs: { sizes, shapes } }: BackwardRun, name: "key" | "value"): number {
  const shape = shapes[name];
  if (shape.length === 5) return shape[3]!;
  return shape.length === 4 && shape[2] !== sizes.G * sizes.H ? 1 : sizes.H;
}
