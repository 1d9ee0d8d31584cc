/** How much arithmetic attention takes, for benchmarks. */
import { assertArguments, checkedOptions, told } from "../gpu/checks.ts";
import { Tensor } from "../gpu/tensor/tensor.ts";
import { type AttentionOptions, BIAS_OPTIONS } from "./inputs.ts";
import { AttentionBias } from "./masks/bias.ts";
import { NO_MASK } from "./masks/dense.ts";
import { visibleKeys } from "./masks/window.ts";

/** Floating-point operations, a multiply-add counted as two. */
export interface AttentionFlops {
  /** Pairs of a query and a key that it may see, over all heads and sequences. */
  readonly cells: number;
  /** Two products of a forward pass: `2 (K + Kv) * cells`. */
  readonly forward: number;
  /** Five products of a backward pass: `2 (3 K + 2 Kv) * cells`. */
  readonly backward: number;
}

/**
 * Counts the operations that a mask leaves, as xformers' benchmarks do. A tensor bias counts as if it hid
 * nothing.
 *
 * @param query `[B, Mq, H, K]`, `[B, Mq, K]` or `[B, Mq, G, H, K]`; only shapes are looked at.
 * @param key Of the query's rank.
 * @param value Of the query's rank.
 * @param options The mask.
 * @returns The counts. Time O(Mq).
 */
export function attentionFlops(
  query: Pick<Tensor, "shape">,
  key: Pick<Tensor, "shape">,
  value: Pick<Tensor, "shape">,
  options: Pick<AttentionOptions, "attnBias"> = {},
): AttentionFlops {
  assertArguments("count attention's operations", arguments, 4, "write { attnBias: mask }");
  const { attnBias } = checkedOptions(
    "count attention's operations",
    options,
    BIAS_OPTIONS,
  );
  for (const [name, tensor] of Object.entries({ query, key, value })) {
    if (Array.isArray(tensor?.shape) && tensor.shape.length >= 3) continue;
    throw new TypeError(
      `Cannot count attention's operations: ${name} is ${told(tensor)}, expected a tensor or ` +
        "{ shape }, of 3 axes or more",
    );
  }
  if (
    attnBias !== undefined && attnBias !== null &&
    !(attnBias instanceof AttentionBias || attnBias instanceof Tensor)
  ) {
    throw new TypeError(
      `Cannot count attention's operations: attnBias is ${
        told(attnBias)
      }, expected a mask or a Tensor`,
    );
  }
  const mask = attnBias instanceof AttentionBias ? attnBias : NO_MASK;
  const [B, queries] = query.shape as [number, number];
  const keys = key.shape[1]!;
  const K = query.shape.at(-1)!;
  const Kv = value.shape.at(-1)!;
  const heads = query.shape.slice(2, -1).reduce((product, size) => product * size, 1);
  let pairs = 0;
  for (const block of mask.blocks ?? [{ queries, keys }]) {
    for (let row = 0; row < block.queries; row++) {
      const [begin, end] = visibleKeys(mask.window, row, block.queries, block.keys);
      pairs += end - begin;
    }
  }
  const cells = B * heads * pairs;
  return { cells, forward: 2 * (K + Kv) * cells, backward: 2 * (3 * K + 2 * Kv) * cells };
}
