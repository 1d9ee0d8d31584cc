/** One backward pass of attention under way: the tables that its kernels look things up in, and their launches. */
import { allocate, type DeviceArray } from "../../gpu/array.ts";
import type { DType, FloatDType } from "../../gpu/dtype.ts";
import type { Kernel } from "../../gpu/runtime/kernels.ts";
import type { Storage } from "../../gpu/runtime/memory.ts";
import { ceilDiv, numel } from "../../gpu/shape.ts";
import type { BackwardInputs } from "../dispatch.ts";
import type { AttentionInputs } from "../inputs.ts";
import { type BackwardKernelConfig, statsWords } from "../kernels/_backward.ts";
import { packKeyTiles } from "../kernels/_key_tiles.ts";
import type { Tiles } from "../kernels/_kernel.ts";
import { BACKWARD_PARAMS, type BackwardParams, STATS_PARAMS } from "../kernels/_params.ts";
import { packTiles, TILE_WORDS } from "../kernels/_tiles.ts";
import { backwardBlockRows } from "../kernels/flash_backward_query.ts";
import { FACTOR_PARAMS, FACTOR_ROWS, rowFactorsKernel } from "../kernels/row_factors.ts";
import { rowStatsKernel, STATS_BLOCK_ROWS } from "../kernels/row_stats.ts";
import { compiledIn } from "./compiled.ts";
import { keyTilesOf } from "./key_tiles.ts";
import { scoreParams, sizeParams, stridesOf } from "./launch_params.ts";
import { lowWords } from "./log_sum_exp.ts";
import { isAligned } from "./operands.ts";
import { heaviestFirst, sequencesOf, tilesOf } from "./sequences.ts";
import { pageTable, uploadSlopes } from "./tables.ts";

/** Storages are bound whole. */
const WHOLE = { base: 0 };

/** What differs from launch to launch. */
interface LaunchOptions {
  /** Element type of the outputs. */
  readonly output: FloatDType;
  readonly outputs: readonly DeviceArray[];
  /** Workgroups for each tile. */
  readonly jobs: number;
  /** Sequences of the batch whose tiles are launched; default all. */
  readonly batches?: number;
  readonly params?: Partial<BackwardParams>;
}

/** Tiles of query-major and of key-major kernels. */
export type BackwardTiles = Readonly<Record<"query" | "key", Tiles>>;

/** Tables, and launches that use them. Call `release()` behind the last. */
export class BackwardRun {
  readonly inputs: AttentionInputs;
  readonly #given: BackwardInputs;
  readonly #tiles: BackwardTiles;
  /** Tiles of queries and of keys, where a mask has blocks; 0 where kernels compute them. */
  readonly #listed: { readonly query: number; readonly key: number };
  readonly #keyTilesOffset: number;
  readonly #statsOffset: number;
  readonly #table: Storage;
  /** Of each row, filled by the kernels that find them. */
  readonly factors: DeviceArray;

  /** Enqueues what all launches need, with kernels of these tiles. */
  constructor(inputs: AttentionInputs, given: BackwardInputs, tiles: BackwardTiles) {
    this.inputs = inputs;
    this.#given = given;
    const { sizes: { B, Mq, G, H }, runtime } = inputs;
    this.#tiles = tiles;
    const { words, queryTiles, keyTiles, keyTilesOffset } = tileTable(inputs, tiles);
    this.#listed = { query: queryTiles, key: keyTiles };
    this.#keyTilesOffset = keyTilesOffset;
    this.#statsOffset = words.length;
    const alibi = inputs.alibi !== undefined;
    const bytes = 4 * (words.length + statsWords({ alibi }) * B * G * H * Mq);
    this.factors = allocate(runtime, [B * G * H * Mq], "f32");
    try {
      this.#table = runtime.memory.acquire(bytes, "a table of tiles and statistics of rows");
    } catch (error) {
      this.factors.storage.release();
      throw error;
    }
    try {
      if (words.length > 0) runtime.upload(this.#table, new Uint8Array(words.buffer));
      this.#fillStats();
    } catch (error) {
      this.release();
      throw error;
    }
  }

  /** Gives the tables back. */
  release(): void {
    this.#table.release();
    this.factors.storage.release();
  }

  /** Has the launches after this one use the factors that were found, if the weights of a row are to sum to 1. */
  applyFactors(): void {
    if (!this.#given.isOwnLse) return;
    const { runtime, alibi } = this.inputs;
    const rows = numel(this.factors.layout.shape);
    runtime.kernels.dispatch(rowFactorsKernel(statsWords({ alibi: alibi !== undefined })), {
      storages: [this.factors.storage, this.#table],
      params: FACTOR_PARAMS.pack({ rows, stats_offset: this.#statsOffset }),
      workgroups: ceilDiv(rows, FACTOR_ROWS),
    });
  }

  /** Allocates outputs and has them filled; 0 where there are no rows to sum over. */
  fill(
    specs: readonly { readonly shape: readonly number[]; readonly dtype: DType }[],
    run: (outputs: readonly DeviceArray[]) => void,
  ): DeviceArray[] {
    const outputs: DeviceArray[] = [];
    try {
      for (const { shape, dtype } of specs) {
        outputs.push(allocate(this.inputs.runtime, shape, dtype));
      }
      run(outputs);
    } catch (error) {
      for (const { storage } of outputs) storage.release();
      throw error;
    }
    return outputs;
  }

  /** Enqueues a kernel over all tiles of queries, or of keys. */
  launch(
    kernel: (config: BackwardKernelConfig) => Kernel,
    major: "query" | "key",
    { output, outputs, jobs: jobsPerTile, batches = this.inputs.sizes.B, params }: LaunchOptions,
  ): void {
    const { inputs } = this;
    const { sizes, runtime, mask } = inputs;
    const { grad } = this.#given;
    const isListed = mask.blocks !== undefined;
    const rowBlocks = ceilDiv(
      major === "query" ? sizes.Mq : sizes.Mkv,
      backwardBlockRows(this.#tiles[major]),
    );
    const tiles = isListed ? this.#listed[major] : batches * rowBlocks;
    if (tiles * jobsPerTile === 0 || outputs.every(({ layout }) => numel(layout.shape) === 0)) {
      return;
    }
    const { aligned, ...compiled } = compiledIn(inputs);
    const config: BackwardKernelConfig = {
      ...this.#tiles[major],
      ...compiled,
      output,
      gradStorage: grad.dtype as FloatDType,
      aligned: { ...aligned, grad: isAligned(grad) },
      tileSource: !isListed ? "computed" : mask.pages ? "paged" : "listed",
    };
    runtime.kernels.dispatch(kernel(config), {
      storages: [
        inputs.query.storage,
        inputs.key.storage,
        inputs.value.storage,
        grad.storage,
        this.#table,
        ...(inputs.bias ? [inputs.bias.storage] : []),
        ...outputs.map(({ storage }) => storage),
      ],
      params: BACKWARD_PARAMS.pack({
        ...sizeParams(inputs),
        ...scoreParams(inputs, undefined),
        ...stridesOf("query", inputs.query, WHOLE),
        ...stridesOf("key", inputs.key, WHOLE),
        ...stridesOf("value", inputs.value, WHOLE),
        ...stridesOf("grad", grad, WHOLE),
        bias_offset: inputs.bias?.layout.offset ?? 0,
        jobs: tiles * jobsPerTile,
        tiles,
        row_blocks: rowBlocks,
        key_from: 0,
        key_to: sizes.Mkv,
        key_tiles_offset: this.#keyTilesOffset,
        stats_offset: this.#statsOffset,
        sums_to_one: this.#given.isOwnLse ? 1 : 0,
        sum_batches: 1,
        sum_groups: 1,
        sum_heads: 1,
        out_batch: 0,
        out_group: 0,
        out_head: 0,
        out_row: 0,
        out_key: 0,
        ...params,
      }),
      workgroups: tiles * jobsPerTile,
    });
  }

  #fillStats(): void {
    const { inputs } = this;
    const { runtime, sizes: { B, Mq, G, H, Kv } } = inputs;
    const { grad, output, lse, isOwnLse, lseGrad } = this.#given;
    const rows = B * G * H * Mq;
    const slopes = uploadSlopes(inputs);
    const config = {
      valueDim: Kv,
      gradStorage: grad.dtype as FloatDType,
      outputStorage: output.dtype as FloatDType,
      aligned: { grad: isAligned(grad), output: isAligned(output) },
      lowWords: !isOwnLse && lowWords(lse) !== undefined,
      alibi: slopes !== undefined,
      lseGradient: lseGrad !== undefined,
    };
    const [alibiBatch = 0, alibiGroup = 0, alibiHead = 0] = slopes?.array.layout.strides ?? [];
    try {
      runtime.kernels.dispatch(rowStatsKernel(config), {
        storages: [
          grad.storage,
          output.storage,
          lse.storage,
          ...(lseGrad ? [lseGrad.storage] : []),
          ...(slopes ? [slopes.array.storage] : []),
          this.#table,
        ],
        params: STATS_PARAMS.pack({
          queries: Mq,
          groups: G,
          heads: H,
          rows,
          ...stridesOf("grad", grad, WHOLE),
          ...stridesOf("output", output, WHOLE),
          ...headRowStrides("lse", lse),
          ...headRowStrides("lse_grad", lseGrad),
          alibi_offset: slopes?.array.layout.offset ?? 0,
          alibi_batch: alibiBatch,
          alibi_group: alibiGroup,
          alibi_head: alibiHead,
          stats_offset: this.#statsOffset,
        }),
        workgroups: ceilDiv(rows, STATS_BLOCK_ROWS),
      });
    } finally {
      slopes?.release();
    }
  }
}

/** Strides of `[B, G, H, Mq]`. */
function headRowStrides<N extends "lse" | "lse_grad">(name: N, array: DeviceArray | undefined) {
  const [batch = 0, group = 0, head = 0, row = 0] = array?.layout.strides ?? [];
  const fields = { offset: array?.layout.offset ?? 0, batch, group, head, row };
  return Object.fromEntries(
    Object.entries(fields).map(([field, value]) => [`${name}_${field}`, value]),
  ) as Record<`${N}_${keyof typeof fields}`, number>;
}

/** Tiles of queries with their page numbers, then tiles of keys; empty where kernels compute both. */
function tileTable(inputs: AttentionInputs, choice: BackwardTiles) {
  const { mask } = inputs;
  if (!mask.blocks) {
    return { words: new Uint32Array(0), queryTiles: 0, keyTiles: 0, keyTilesOffset: 0 };
  }
  const pages = pageTable(mask.pages);
  const blockRows = backwardBlockRows(choice.query);
  const tiles = heaviestFirst(
    tilesOf(sequencesOf(inputs), blockRows, 1, pages.origins),
    mask.window,
    blockRows,
    1,
  );
  const keyTiles = keyTilesOf(inputs, backwardBlockRows(choice.key));
  const behind = tiles.length * TILE_WORDS;
  const keyTilesOffset = behind + pages.words.length;
  const keyWords = packKeyTiles(keyTiles, keyTilesOffset);
  const words = new Uint32Array(keyTilesOffset + keyWords.length);
  packTiles(tiles.map((tile) => ({ ...tile, pages: behind + tile.pages })), words);
  words.set(pages.words, behind);
  words.set(keyWords, keyTilesOffset);
  return { words, queryTiles: tiles.length, keyTiles: keyTiles.length, keyTilesOffset };
}
