/**
 * How to cut attention into launches none of which sees more of a buffer than
 * `maxStorageBufferBindingSize`. Pure arithmetic: which elements of each operand a launch touches, and along
 * which axis to cut until they fit. Rows and heads are cut first; what is left of keys and values is taken
 * in chunks whose partial results are merged.
 */
import type { Layout } from "../../gpu/layout.ts";
import type { Tile } from "../kernels/_tiles.ts";

/** A run of indices: from the first number up to but not including the second. */
export type Run = readonly [begin: number, end: number];

/** The part of the work that one launch, or one launch a chunk, does. */
export interface Launch {
  /** Tiles, in the order of their rows. */
  readonly tiles: readonly Tile[];
  /** Groups of heads. */
  readonly groups: Run;
  /** Heads of each group. */
  readonly heads: Run;
  /** Keys along M, chunk by chunk. */
  readonly chunks: readonly Run[];
}

/** An operand as the plan sees it. */
export interface Operand {
  /** `[B, M, G, H, K]`; for a bias `[B, G, H, Mq, Mkv]`, for a log-sum-exp `[B, G, H, Mq]`. */
  readonly layout: Layout;
  /** Bytes of an element. */
  readonly bytes: number;
  /** Stride of each axis by its role; 0 where the operand lacks it. */
  readonly strides: Strides;
  /** Elements behind the first that each place takes: the last axis. */
  readonly tail: number;
}

/** Strides in elements. */
export interface Strides {
  readonly batch: number;
  readonly query: number;
  readonly key: number;
  readonly group: number;
  readonly head: number;
}

/** What a plan needs to know. */
export interface PlanInputs {
  /** The whole work: all tiles and heads, and all keys as one chunk. */
  readonly whole: Launch;
  /** What kernels bind, by name. */
  readonly operands: Readonly<Record<string, Operand>>;
  /** Rows of a tile. */
  readonly blockRows: number;
  /** Bytes of a row of a partial result, over all groups and heads. */
  readonly partialRowBytes: number;
  /** Bytes that a kernel may see of one buffer. */
  readonly limit: number;
}

/** Bound ranges begin at multiples of so many bytes, which may cost that much more. */
const ALIGNMENT = 256;

/** Chunks of keys are multiples of a tile, so that no tile is taken twice where keys are in order. */
const CHUNK_STEP = 8;

/**
 * The launches.
 *
 * @returns One or more; together they cover all tiles and heads once.
 * @throws {RangeError} If a single tile of one head and a few keys are too much.
 */
export function planLaunches(plan: PlanInputs): Launch[] {
  const launches: Launch[] = [];
  const open = [plan.whole];
  for (let launch = open.pop(); launch; launch = open.pop()) {
    const halves = halvesOf(launch, plan) ?? cutForPartials(launch, plan);
    if (halves) open.push(...halves.toReversed());
    else launches.push({ ...launch, chunks: chunksOf(launch, plan) });
  }
  return launches;
}

/** Elements that a launch touches of an operand: the first, and the one behind the last. */
export function spanOf(
  { layout, strides, tail }: Operand,
  { tiles, groups, heads }: Launch,
  keys: Run,
  blockRows: number,
): Run {
  let begin = Infinity;
  let end = -Infinity;
  for (const { batch, queryBegin, queries, firstRow } of tiles) {
    const first = batch * strides.batch + (queryBegin + firstRow) * strides.query;
    const rows = Math.min(blockRows, queries - firstRow);
    begin = Math.min(begin, first);
    end = Math.max(end, first + (rows - 1) * strides.query);
  }
  const [low, high] = [0, 1].map((which) => {
    const at = (run: Run) => which === 0 ? run[0] : Math.max(run[0], run[1] - 1);
    return layout.offset + at(groups) * strides.group + at(heads) * strides.head +
      at(keys) * strides.key;
  }) as [number, number];
  return [begin + low, end + high + tail];
}

function fits(run: Run, { bytes }: Operand, limit: number): boolean {
  return (run[1] - run[0]) * bytes + ALIGNMENT <= limit;
}

/** Two halves of a launch along the axis that contributes most to an operand that does not fit. */
function halvesOf(launch: Launch, plan: PlanInputs): Launch[] | undefined {
  const { tiles, groups, heads, chunks } = launch;
  for (const operand of Object.values(plan.operands)) {
    const span = spanOf(operand, launch, chunks[0]!, plan.blockRows);
    if (fits(span, operand, plan.limit)) continue;
    const { strides } = operand;
    const length = (run: Run) => run[1] - run[0] - 1;
    const tileSpan = spanOf(
      { ...operand, tail: 0, strides: { ...strides, group: 0, head: 0, key: 0 } },
      launch,
      chunks[0]!,
      plan.blockRows,
    );
    const contributions = [
      { by: tileSpan[1] - tileSpan[0], cut: tiles.length > 1 && (() => halveTiles(launch)) },
      {
        by: length(groups) * strides.group,
        cut: length(groups) > 0 && (() => halveHeads(launch, "groups")),
      },
      {
        by: length(heads) * strides.head,
        cut: length(heads) > 0 && (() => halveHeads(launch, "heads")),
      },
      { by: length(chunks[0]!) * strides.key, cut: false as const },
    ].sort((a, b) => b.by - a.by);
    // Along keys there is another way; along the rest none, so whatever can be cut is.
    const isByKeys = contributions[0]!.cut === false && strides.key > 0;
    const best = isByKeys ? undefined : contributions.find(({ cut, by }) => cut && by > 0);
    if (best?.cut) return best.cut();
  }
  return undefined;
}

function halveTiles(launch: Launch): Launch[] {
  const middle = Math.ceil(launch.tiles.length / 2);
  return [launch.tiles.slice(0, middle), launch.tiles.slice(middle)]
    .map((tiles) => ({ ...launch, tiles }));
}

function halveHeads(launch: Launch, axis: "groups" | "heads"): Launch[] {
  const [begin, end] = launch[axis];
  const middle = Math.ceil((begin + end) / 2);
  const runs: Run[] = [[begin, middle], [middle, end]];
  return runs.map((run) => ({ ...launch, [axis]: run }));
}

/** Partial results of all chunks lie in one buffer; fewer rows where that would be too large. */
function cutForPartials(launch: Launch, plan: PlanInputs): Launch[] | undefined {
  const chunks = chunksOf(launch, plan).length;
  if (chunks === 1) return undefined;
  const rows = launch.tiles.reduce(
    (sum, { queries, firstRow }) => sum + Math.min(plan.blockRows, queries - firstRow),
    0,
  );
  const bytes = chunks * rows * plan.partialRowBytes;
  if (bytes <= plan.limit) return undefined;
  if (launch.tiles.length > 1) return halveTiles(launch);
  throw new RangeError(
    `Cannot run attention: partial results of ${rows} rows over ${chunks} parts of the keys take ` +
      `${bytes} bytes, the device's maxStorageBufferBindingSize is ${plan.limit}; use fewer heads at a time`,
  );
}

/** The fewest chunks of keys with which every operand fits. */
function chunksOf(launch: Launch, plan: PlanInputs): Run[] {
  const [begin, end] = launch.chunks[0]!;
  for (let count = 1;; count++) {
    const size = Math.max(1, Math.ceil((end - begin) / count / CHUNK_STEP)) * CHUNK_STEP;
    const chunks: Run[] = [];
    for (let from = begin; from < end || chunks.length === 0; from += size) {
      chunks.push([from, Math.min(end, from + size)]);
    }
    const offender = Object.entries(plan.operands).find(([, operand]) =>
      !chunks.every((keys) =>
        fits(spanOf(operand, launch, keys, plan.blockRows), operand, plan.limit)
      )
    );
    if (!offender) return chunks;
    if (size === CHUNK_STEP || offender[1].strides.key === 0) {
      throw new RangeError(
        `Cannot run attention: what one block of ${plan.blockRows} rows needs of the ${
          offender[0]
        } ` +
          `spans more than ${plan.limit} bytes, the device's maxStorageBufferBindingSize; ` +
          "shorten its rows, or make it contiguous",
      );
    }
  }
}
