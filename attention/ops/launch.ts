/** Runs an attention kernel: plans its launches, binds what each sees, merges partial results. */
import type { DeviceArray } from "../../gpu/array.ts";
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import type { Storage } from "../../gpu/runtime/memory.ts";
import { ceilDiv } from "../../gpu/shape.ts";
import type { AttentionInputs } from "../inputs.ts";
import type { AttentionKernelConfig } from "../kernels/_kernel.ts";
import { ATTENTION_PARAMS, type AttentionParams } from "../kernels/_params.ts";
import {
  biasOperand,
  bind,
  type Bound,
  type BoundOperand,
  keyOperand,
  lseOperand,
  outOperand,
  queryOperand,
} from "./operands.ts";
import { scoreParams, sizeParams, stridesOf } from "./launch_params.ts";
import { allocatePartials, mergePartials, type Partials } from "./partials.ts";
import { type Launch, planLaunches, type Run, spanOf } from "./plan.ts";
import { heaviestFirst, sequencesOf, tilesOf } from "./sequences.ts";
import { type PageTable, pageTable, uploadSlopes, uploadTable } from "./tables.ts";

/** A kernel and how it divides the work. */
export interface AttentionWork {
  readonly kernel: (config: AttentionKernelConfig) => Kernel;
  /** What it is compiled for, as far as it is known before the plan. */
  readonly config: Omit<AttentionKernelConfig, "tileSource" | "output" | "lse">;
  /** Rows of a tile. */
  readonly blockRows: number;
  /** Heads that a tile's rows run through for each query; 1 where each head has tiles of its own. */
  readonly rowHeads: number;
  /** Parts that each launch cuts the keys into, whose results are merged. */
  readonly splits: number;
}

/** Where results go: the output dense, of the log-sum-exp two words a row, see `log_sum_exp.ts`. */
export interface Outputs {
  readonly out: DeviceArray;
  readonly lse: DeviceArray | undefined;
}

/** Enqueues all launches that fill the outputs, which must have elements. */
export function runAttention(inputs: AttentionInputs, work: AttentionWork, outputs: Outputs): void {
  const { runtime, mask, sizes } = inputs;
  const { blockRows, rowHeads } = work;
  const limit = runtime.info.limits.maxStorageBufferBindingSize;
  const operands = operandsOf(inputs, outputs);
  const fits = Object.values(operands).every(({ array }) => array.storage.buffer.size <= limit);
  const slopes = uploadSlopes(inputs);
  const run = (launch: Launch, table?: PageTable) =>
    new LaunchRun(inputs, work, outputs, operands, launch, slopes?.array, table).enqueue();
  try {
    if (fits && !mask.blocks) {
      run(wholeWork(inputs, work, []));
      return;
    }
    const pages = pageTable(mask.pages);
    const tiles = tilesOf(sequencesOf(inputs), blockRows, rowHeads, pages.origins);
    const launches = fits
      ? [wholeWork(inputs, work, heaviestFirst(tiles, mask.window, blockRows, rowHeads))]
      : planLaunches({
        whole: wholeWork(inputs, work, tiles),
        operands,
        blockRows,
        partialRowBytes: 4 * sizes.G * sizes.H * sizes.Kv,
        limit,
      });
    for (const launch of launches) if (launch.tiles.length > 0) run(launch, pages);
  } finally {
    slopes?.release();
  }
}

/** What is read and written, by name. */
type Operands =
  & Record<"query" | "key" | "value" | "out", BoundOperand>
  & Partial<Record<"bias" | "lse", BoundOperand>>;

function operandsOf(inputs: AttentionInputs, { out, lse }: Outputs): Operands {
  return {
    query: queryOperand(inputs.query),
    key: keyOperand(inputs.key),
    value: keyOperand(inputs.value),
    ...(inputs.bias ? { bias: biasOperand(inputs.bias) } : {}),
    out: outOperand(out, inputs),
    ...(lse ? { lse: lseOperand(lse, inputs) } : {}),
  };
}

/** Everything in one launch. Without tiles, kernels compute them. */
function wholeWork(
  { sizes }: AttentionInputs,
  { rowHeads }: AttentionWork,
  tiles: Launch["tiles"],
): Launch {
  return { tiles, groups: [0, sizes.G], heads: [0, sizes.H / rowHeads], chunks: [[0, sizes.Mkv]] };
}

/** One launch under way. */
class LaunchRun {
  constructor(
    readonly inputs: AttentionInputs,
    readonly work: AttentionWork,
    readonly outputs: Outputs,
    readonly operands: Operands,
    readonly launch: Launch,
    readonly slopes: DeviceArray | undefined,
    readonly pages: PageTable | undefined,
  ) {}

  /** Enqueues it: straight into the outputs, or chunk by chunk into partial results and these together. */
  enqueue(): void {
    const { inputs, work, outputs, launch, pages } = this;
    const table = pages && uploadTable(inputs.runtime, launch.tiles, pages);
    try {
      const parts = launch.chunks.length * work.splits;
      if (parts === 1) {
        this.#dispatch(launch.chunks[0]!, this.#finalTarget(launch.chunks[0]!), table);
        return;
      }
      const partials = allocatePartials(inputs, launch, work.blockRows, parts);
      for (const [c, keys] of launch.chunks.entries()) {
        this.#dispatch(keys, partialTarget(inputs, partials, c * work.splits), table);
      }
      mergePartials(inputs, partials, this.#unfolded(), work.blockRows, outputs);
      partials.out.storage.release();
      partials.lse.storage.release();
    } finally {
      table?.release();
    }
  }

  /** The launch with its heads one by one, also where a tile's rows run through them. */
  #unfolded(): Launch {
    const [begin, end] = this.launch.heads;
    const { rowHeads } = this.work;
    return { ...this.launch, heads: [begin * rowHeads, end * rowHeads] };
  }

  #bind(operand: BoundOperand, keys: Run): Bound {
    const limit = this.inputs.runtime.info.limits.maxStorageBufferBindingSize;
    return bind(operand, () => spanOf(operand, this.launch, keys, this.work.blockRows), limit);
  }

  #finalTarget(keys: Run): Target {
    const { out, lse } = this.operands;
    const bound = this.#bind(out, keys);
    const boundLse = lse && this.#bind(lse, keys);
    return {
      output: this.outputs.out.dtype as AttentionKernelConfig["output"],
      out: bound.binding,
      lse: boundLse?.binding,
      params: {
        out_base: bound.base,
        lse_offset: -(boundLse?.base ?? 0),
        lse_batch: lse?.strides.batch ?? 0,
        lse_row: lse?.strides.query ?? 0,
        lse_head: lse?.strides.head ?? 0,
        out_split: 0,
        lse_split: 0,
      },
    };
  }

  #dispatch(keys: Run, target: Target, table: Storage | undefined): void {
    const { inputs, work, operands, launch, slopes } = this;
    const config: AttentionKernelConfig = {
      ...work.config,
      tileSource: !table ? "computed" : inputs.mask.pages ? "paged" : "listed",
      output: target.output,
      lse: target.lse !== undefined,
    };
    const { query, key, value, bias } = operands;
    const bound = {
      query: this.#bind(query, keys),
      key: this.#bind(key, keys),
      value: this.#bind(value, keys),
      bias: bias && this.#bind(bias, keys),
    };
    const { sizes, runtime } = inputs;
    const rowBlocks = ceilDiv(sizes.Mq * work.rowHeads, work.blockRows);
    const tiles = table ? launch.tiles.length : sizes.B * rowBlocks;
    const headCount = launch.heads[1] - launch.heads[0];
    const jobs = tiles * (launch.groups[1] - launch.groups[0]) * headCount * work.splits;
    runtime.kernels.dispatch(work.kernel(config), {
      storages: [
        bound.query.binding,
        bound.key.binding,
        bound.value.binding,
        bound.bias?.binding,
        slopes?.storage,
        table,
        target.out,
        target.lse,
      ].filter((binding) => binding !== undefined),
      params: ATTENTION_PARAMS.pack({
        ...sizeParams(inputs),
        ...scoreParams(inputs, slopes),
        ...stridesOf("query", query, bound.query),
        ...stridesOf("key", key, bound.key),
        ...stridesOf("value", value, bound.value),
        bias_offset: bias ? bias.layout.offset - bound.bias!.base : 0,
        jobs,
        tiles,
        row_blocks: rowBlocks,
        group_begin: launch.groups[0],
        head_begin: launch.heads[0] * work.rowHeads,
        head_count: headCount,
        row_heads: work.rowHeads,
        key_from: keys[0],
        key_to: keys[1],
        splits: work.splits,
        ...target.params,
      }),
      workgroups: jobs,
    });
  }
}

/** Where one dispatch writes. */
interface Target {
  readonly output: AttentionKernelConfig["output"];
  readonly out: Bound["binding"];
  readonly lse: Bound["binding"] | undefined;
  readonly params: Pick<
    AttentionParams,
    "out_base" | "lse_offset" | "lse_batch" | "lse_row" | "lse_head" | "out_split" | "lse_split"
  >;
}

/** The part of the partial results from a number on; they are in order of rows, then groups and heads. */
function partialTarget(
  { sizes }: AttentionInputs,
  { out, lse, firstQuery, queries }: Partials,
  part: number,
): Target {
  const heads = sizes.G * sizes.H;
  const rows = queries * heads; // Of one part.
  const before = firstQuery * heads - part * rows; // Wraps around in the kernel where it is negative.
  return {
    output: "f32",
    out: out.storage,
    lse: lse.storage,
    params: {
      out_base: before * sizes.Kv,
      lse_offset: -before,
      lse_batch: sizes.Mq * heads,
      lse_row: heads,
      lse_head: 1,
      out_split: rows * sizes.Kv,
      lse_split: rows,
    },
  };
}
