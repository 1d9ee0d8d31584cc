/** Small problems of the class that inputs belong to, to time kernels on. */
import type { DeviceArray } from "../../gpu/array.ts";
import { type ScratchArrays, scratchArrays } from "../../gpu/tuning/scratch.ts";
import type { AttentionInputs, AttentionSizes } from "../inputs.ts";
import { NO_MASK } from "../masks/dense.ts";

/**
 * What decides which kernel wins, besides the device: element type, head dims, and how many rows there are to be
 * computed side by side, since large tiles leave some of a large GPU idle where there are few. Masks, biases and
 * dropout are not: what is chosen without them serves with them.
 */
export function problemClass({ storage, sizes, runtime }: AttentionInputs): string {
  const { K, Kv } = sizes;
  return `${storage} K${K} Kv${Kv}, ${sampleRows(sizes, runtime.info.isFallback)} rows`;
}

/** Rows of a sample: those of the inputs, to the next power of four, within what is timed in a few ms. */
function sampleRows({ B, Mq, G, H }: AttentionSizes, isCpu: boolean): number {
  const [least, most] = isCpu ? [256, 1024] : [4096, 65_536];
  const rows = 4 ** Math.round(Math.log(Math.max(1, B * Mq * G * H)) / Math.log(4));
  return Math.min(most, Math.max(least, rows));
}

/** Inputs without mask, bias and dropout, with so many arrays of the query's shape behind them. */
export interface Sample extends ScratchArrays {
  readonly inputs: AttentionInputs;
  readonly extra: readonly DeviceArray[];
}

/** Makes a sample of the class of these inputs, of up to 16 heads. */
export function sampleOf(
  inputs: AttentionInputs,
  extra: readonly ("query" | "value")[],
): Sample {
  const { runtime, storage, sizes: { K, Kv } } = inputs;
  const isCpu = runtime.info.isFallback;
  const H = isCpu ? 2 : 16;
  const Mq = sampleRows(inputs.sizes, isCpu) / H;
  const Mkv = isCpu ? 256 : 1024;
  const sizes = { B: 1, Mq, Mkv, G: 1, H, K, Kv };
  const shape = (rows: number, dim: number) => [1, rows, 1, H, dim];
  const shapes = [shape(Mq, K), shape(Mkv, K), shape(Mkv, Kv)];
  const behind = extra.map((like) => shape(Mq, like === "query" ? K : Kv));
  const scratch = scratchArrays(runtime, [...shapes, ...behind], storage);
  const [query, key, value, ...rest] = scratch.arrays as [DeviceArray, DeviceArray, DeviceArray];
  const plain: AttentionInputs = {
    ...inputs,
    sizes,
    query,
    key,
    value,
    output: storage,
    mask: NO_MASK,
    bias: undefined,
    biasTensor: undefined,
    alibi: undefined,
    dropout: undefined,
    shapes: { query: shapes[0]!, key: shapes[1]!, value: shapes[2]! },
    outShape: shape(Mq, Kv),
    lseShape: [1, 1, H, Mq],
  };
  return { ...scratch, inputs: plain, extra: rest };
}
