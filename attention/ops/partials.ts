/** Results over parts of the keys, and how they become results over all of them. */
import type { FloatDType } from "../../gpu/dtype.ts";
import { allocate, type DeviceArray } from "../../gpu/array.ts";
import type { AttentionInputs } from "../inputs.ts";
import type { Outputs } from "./launch.ts";
import { allocateLse, lowWords } from "./log_sum_exp.ts";
import { runMerge } from "./merge.ts";
import { bind, type BoundOperand, lseOperand, outOperand } from "./operands.ts";
import { type Launch, spanOf } from "./plan.ts";

/** Outputs `[parts, queries, G, H, Kv]` and log-sum-exps `[parts, queries, G, H]` of two words, f32. */
export interface Partials {
  readonly out: DeviceArray;
  readonly lse: DeviceArray;
  /** Number of the first query, counted through the batch. */
  readonly firstQuery: number;
  /** Number of queries from there on. */
  readonly queries: number;
}

/** Makes room for the parts of a launch. The caller releases both storages. */
export function allocatePartials(
  { runtime, sizes: { B, Mq, G, H, Kv } }: AttentionInputs,
  { tiles }: Launch,
  blockRows: number,
  parts: number,
): Partials {
  // Tiles of a launch that does not take all rows lie one behind the other.
  let [firstQuery, end] = tiles.length > 0 ? [Infinity, 0] : [0, B * Mq];
  for (const { batch, queryBegin, firstRow, queries } of tiles) {
    const first = batch * Mq + queryBegin + firstRow;
    firstQuery = Math.min(firstQuery, first);
    end = Math.max(end, first + Math.min(blockRows, queries - firstRow));
  }
  const shape = [parts, end - firstQuery, G, H];
  const out = allocate(runtime, [...shape, Kv], "f32");
  const lse = allocateLse(runtime, shape);
  return { out, lse, firstQuery, queries: end - firstQuery };
}

/** Merges the parts into the rows and heads of the outputs that a launch is about. */
export function mergePartials(
  inputs: AttentionInputs,
  { out: part, lse: partLse, firstQuery, queries }: Partials,
  launch: Launch,
  blockRows: number,
  outputs: Outputs,
): void {
  const { runtime, sizes: { B, Mq } } = inputs;
  const limit = runtime.info.limits.maxStorageBufferBindingSize;
  const bindOutput = (operand: BoundOperand) =>
    bind(operand, () => spanOf(operand, launch, [0, 1], blockRows), limit);
  const out = bindOutput(outOperand(outputs.out, inputs));
  const lse = outputs.lse && bindOutput(lseOperand(outputs.lse, inputs));
  /** The parts as if they had all queries of the batch, of which those before the first are not looked at. */
  const asWhole = ({ layout, ...array }: DeviceArray): DeviceArray => {
    const [chunk, row, ...rest] = layout.strides as [number, number, ...number[]];
    const shape = [layout.shape[0]!, B, Mq, ...layout.shape.slice(2)];
    const strides = [chunk, Mq * row, row, ...rest];
    return { ...array, layout: { shape, strides, offset: layout.offset - firstQuery * row } };
  };
  runMerge(runtime, {
    part: asWhole(part),
    partLse: asWhole(partLse),
    partLow: asWhole(lowWords(partLse)!),
    queries: [firstQuery, firstQuery + queries],
    groups: launch.groups,
    heads: launch.heads,
  }, {
    dtype: outputs.out.dtype as FloatDType,
    out: out.binding,
    lse: lse?.binding,
    outBase: out.base,
    lseBase: lse?.base ?? 0,
  });
}
