/**
 * Matrix product for GPUs. A workgroup computes a tile of C, 128 x 128 for instance: it stages a run of k, 16
 * deep, of its rows of A and columns of B in workgroup memory, and each thread keeps 8 x 8 sums in registers,
 * so that four vec4 reads feed 64 multiply-adds. Around that:
 *
 * - The next run is fetched into registers before this one is multiplied, which hides the way from memory.
 *   With two stages of workgroup memory there is one barrier a run, with one stage there are two.
 * - The loop over a run is unrolled: all indices but the thread's own are constants, which need no guards.
 * - Both tiles lie with k outermost and lines dense. `swizzled` spreads the vec4s of blocks that were
 *   transposed on their way over the banks.
 * - 32 neighbouring threads compute 4 x 8 parts, so that they read few different vec4s at once.
 * - Where C has too few tiles to keep the device busy, or k is so long that one sum would round too often, k is cut
 *   into slices; `sum_slices.ts` adds these up.
 *
 * Time O(B M N K); scratch none, or B M N sums a slice.
 */
import type { FloatDType } from "../../dtype.ts";
import { type Binding, type Kernel, WORKGROUP_INDEX } from "../../runtime/kernels.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { unroll } from "../../runtime/unroll.ts";
import { accessorHelpers, WALK } from "../accessors.ts";
import {
  addProduct,
  BIAS,
  type Cut,
  declareElements,
  JOB,
  type MatmulProblem,
  packParams,
  PARAMS,
  sliceDepth,
  withoutBias,
  withParts,
  workgroupsOf,
} from "./problem.ts";
import { declareBlocks, type Reading, readingOf, unitOf } from "./tile_operands.ts";

/** How a workgroup computes a tile of C. */
export interface TileShape {
  /** Threads along the rows of the tile, a multiple of 4. */
  readonly threadRows: number;
  /** Threads along the columns of the tile, a multiple of 8. */
  readonly threadColumns: number;
  /** Rows of a thread, in fours. */
  readonly rowVecs: number;
  /** Columns of a thread, in fours. */
  readonly columnVecs: number;
  /** How much of k is staged at once, a multiple of 8. */
  readonly depth: number;
  /** How many runs of k workgroup memory holds, 1 or 2. */
  readonly stages: number;
}

const BODY = /* wgsl */ `
// One vec4 holds four neighbouring rows of A, or columns of B, at one k.
var<workgroup> a_tile: array<array<array<vec4f, ROW_BLOCKS>, DEPTH>, STAGES>;
var<workgroup> b_tile: array<array<array<vec4f, COLUMN_BLOCKS>, DEPTH>, STAGES>;

// Where a vec4 of four lines lies at one k.
fn swizzled(part: u32, k: u32) -> u32 { return part ^ (k / 4u % 2u * 4u); }

// Whether block i is one of A's, the rest are B's: for most turns a constant, which leaves no branch.
fn is_of_a(turn: u32, i: u32) -> bool {
  return turn * THREADS < A_BLOCKS && ((turn + 1u) * THREADS <= A_BLOCKS || i < A_BLOCKS);
}

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let job = job_of(workgroup_index(group, groups));
  let k_begin = job.slice * params.slice_depth;
  let k_end = max(k_begin, min(params.k, k_begin + params.slice_depth));
  let square = thread / 32u; // Of 4 x 8 threads.
  let row_part = square / (THREAD_COLUMNS / 8u) * 4u + thread / 8u % 4u;
  let column_part = square % (THREAD_COLUMNS / 8u) * 8u + thread % 8u;

  BEGIN_STRETCH
  let runs = (k_to - k_from + DEPTH - 1u) / DEPTH;
  var sums = array<array<vec4f, COLUMN_VECS>, THREAD_LINES>();
  var fetched = array<mat4x4f, FETCHES>();
  for (var run = 0u; run <= runs; run++) {
    // Fetch run number "run"; behind the last come zeros.
    let k_origin = k_from + run * DEPTH;
    /* unroll */ for (var turn = 0u; turn < FETCHES; turn++) {
      let i = turn * THREADS + thread;
      if (is_of_a(turn, i)) {
        let place = vec2u(job.row, k_origin) + 4u * place_a(i);
        fetched[turn] = fetch_a(job.a_origin, place.x, place.y, k_to);
      } else if (BLOCKS % THREADS == 0u || i < BLOCKS) {
        let place = vec2u(job.column, k_origin) + 4u * place_b(i - A_BLOCKS);
        fetched[turn] = fetch_b(job.b_origin, place.x, place.y, k_to);
      }
    }
    // Multiply the run before it.
    if (run > 0u) {
      let stage = (run - 1u) % STAGES;
      /* unroll */ for (var k = 0u; k < DEPTH; k++) {
        var b = array<vec4f, COLUMN_VECS>();
        /* unroll */ for (var v = 0u; v < COLUMN_VECS; v++) {
          b[v] = b_tile[stage][k][swizzled(column_part + v * THREAD_COLUMNS, k)];
        }
        /* unroll */ for (var u = 0u; u < ROW_VECS; u++) {
          let a = a_tile[stage][k][swizzled(row_part + u * THREAD_ROWS, k)];
          /* unroll */ for (var r = 0u; r < 4; r++) {
            /* unroll */ for (var v = 0u; v < COLUMN_VECS; v++) {
              sums[4u * u + r][v] = add_product(a[r], b[v], sums[4u * u + r][v]);
            }
          }
        }
      }
    }
    // Stage.
    if (STAGES == 1u) { workgroupBarrier(); }
    let stage = run % STAGES;
    /* unroll */ for (var turn = 0u; turn < FETCHES; turn++) {
      let i = turn * THREADS + thread;
      if (is_of_a(turn, i)) {
        let place = place_a(i);
        let part = swizzled(place.x, 4u * place.y);
        /* unroll */ for (var j = 0u; j < 4; j++) {
          a_tile[stage][4u * place.y + j][part] = fetched[turn][j];
        }
      } else if (BLOCKS % THREADS == 0u || i < BLOCKS) {
        let place = place_b(i - A_BLOCKS);
        let part = swizzled(place.x, 4u * place.y);
        /* unroll */ for (var j = 0u; j < 4; j++) {
          b_tile[stage][4u * place.y + j][part] = fetched[turn][j];
        }
      }
    }
    workgroupBarrier();
  }

  let plane = job.plane * params.m * params.n;
  if (job.plane < params.planes) {
    /* unroll */ for (var v = 0u; v < COLUMN_VECS; v++) {
      let column = job.column + 4u * (column_part + v * THREAD_COLUMNS);
      let bias = vec4f(
        bias_at(column),
        bias_at(column + 1u),
        bias_at(column + 2u),
        bias_at(column + 3u),
      );
      /* unroll */ for (var r = 0u; r < THREAD_LINES; r++) {
        let row = job.row + 4u * (row_part + r / 4u * THREAD_ROWS) + r % 4u;
        if (row < params.m) { write(plane + row * params.n, column, OWN_SUMS); }
      }
    }
  }
  END_STRETCH
}
`;

/** Where k is long, sums of a stretch of it are added to C as it is then, and roundings stay few. */
const STRETCHES = {
  one: {
    BEGIN_STRETCH: "let k_from = k_begin; let k_to = k_end;",
    OWN_SUMS: "sums[r][v] + bias",
    END_STRETCH: "",
  },
  many: {
    BEGIN_STRETCH: /* wgsl */ `
  for (var k_from = k_begin; k_from < k_end || k_from == k_begin; k_from += STRETCH) {
  let k_to = min(k_end, k_from + STRETCH);
  is_first = k_from == k_begin;`,
    OWN_SUMS: "sums[r][v] + select(vec4f(), bias, k_to == k_end)",
    END_STRETCH: "}",
  },
};

/** Terms of such a stretch, a multiple of all depths, and of the longest sum that is added up in one. */
const STRETCH = 1024;
const LONGEST = 2 * STRETCH;

/** Terms that one slice sums at most, if there is room for slices. */
export const TILES_SLICE: number = 16 * STRETCH;

/** `write(row, column, values)`: four neighbours in a row of C, as far as there are columns. */
const WRITE = {
  vec4s: /* wgsl */ `
fn write(row: u32, column: u32, values: vec4f) {
  if (column < params.n) { put((row + column) / 4u, values); }
}
`,
  elements: /* wgsl */ `
fn write(row: u32, column: u32, values: vec4f) {
  if (column < params.n) { put(row + column, values.x); }
  if (column + 1u < params.n) { put(row + column + 1u, values.y); }
  if (column + 2u < params.n) { put(row + column + 2u, values.z); }
  if (column + 3u < params.n) { put(row + column + 3u, values.w); }
}
`,
};

/** `out`, and `put(at, value)`, which writes an element of it or, behind the first stretch, adds to it. */
function declareOut(type: "f32" | "vec4f", isLong: boolean): string {
  const put = isLong
    ? "if (is_first) { out[at] = value; } else { out[at] += value; }"
    : "out[at] = value;";
  return /* wgsl */ `
@group(0) @binding(3) var<storage, read_write> out: array<${type}>;
${isLong ? "var<private> is_first: bool = true;" : ""}
fn put(at: u32, value: ${type}) { ${put} }
`;
}

/** Rows and columns of a tile of C. */
export function tileSize(shape: TileShape): [number, number] {
  return [4 * shape.rowVecs * shape.threadRows, 4 * shape.columnVecs * shape.threadColumns];
}

/** Bytes of workgroup memory. */
export function tileBytes(shape: TileShape): number {
  const [rows, columns] = tileSize(shape);
  return 4 * shape.stages * shape.depth * (rows + columns);
}

/**
 * Enqueues a product.
 *
 * @param slices Into how many runs to cut k. From 2 on, the bias is left out.
 * @param out C, of one element or more, row-major f32; as many of them as there are slices.
 */
export function tilesMatmul(
  runtime: Runtime,
  problem: MatmulProblem,
  shape: TileShape,
  slices: number,
  out: Binding,
): void {
  const { a, b, bias, dtype, zeroHides, k, n } = problem;
  const [tileRows, tileColumns] = tileSize(shape);
  const cut: Cut = { tileRows, tileColumns, slices, sliceDepth: sliceDepth(k, slices) };
  const config: TilesConfig = {
    dtype,
    zeroHides,
    aReading: readingOf(a, k, dtype),
    bReading: readingOf(b, k, dtype),
    writesVecs: n % 4 === 0,
    isLong: cut.sliceDepth > LONGEST,
    ...shape,
  };
  const summed = slices > 1 ? withoutBias(problem) : problem;
  runtime.kernels.dispatch(tilesKernel(config), {
    storages: [a.binding, b.binding, (bias ?? b).binding, out],
    params: packParams(summed, cut, { a: unitOf(config.aReading), b: unitOf(config.bReading) }),
    workgroups: workgroupsOf(problem, cut),
  });
}

/** What is compiled in. */
interface TilesConfig extends TileShape {
  readonly dtype: FloatDType;
  readonly zeroHides: boolean;
  readonly aReading: Reading;
  readonly bReading: Reading;
  readonly writesVecs: boolean;
  readonly isLong: boolean;
}

const kernels = new Map<string, Kernel>();

function tilesKernel(config: TilesConfig): Kernel {
  const key = Object.values(config).join();
  let kernel = kernels.get(key);
  if (!kernel) {
    const bindings = ["read", "read", "read", "write"] as const;
    kernel = { label: "matmul", source: tilesSource(config), bindings };
    kernels.set(key, kernel);
  }
  return kernel;
}

function tilesSource(config: TilesConfig): string {
  const { dtype, zeroHides, writesVecs, isLong, aReading, bReading } = config;
  const constants = tileConstants(config);
  const a = { name: "a", binding: 0, lines: "params.m", lineBlocks: "ROW_BLOCKS" } as const;
  const b = { name: "b", binding: 1, lines: "params.n", lineBlocks: "COLUMN_BLOCKS" } as const;
  return [
    PARAMS.wgsl,
    ...Object.entries(constants).map(([name, value]) => `const ${name} = ${value}u;\n`),
    accessorHelpers([dtype]),
    declareBlocks({ ...a, dtype, reading: aReading }),
    declareBlocks({ ...b, dtype, reading: bReading }),
    declareElements("bias", 2, dtype),
    declareOut(writesVecs ? "vec4f" : "f32", isLong),
    WALK,
    WORKGROUP_INDEX,
    JOB,
    BIAS,
    addProduct(zeroHides),
    writesVecs ? WRITE.vec4s : WRITE.elements,
    unroll(withParts(BODY, isLong ? STRETCHES.many : STRETCHES.one), constants),
  ].join("");
}

function tileConstants(shape: TileShape): Record<string, number> {
  const { threadRows, threadColumns, rowVecs, columnVecs, depth, stages } = shape;
  const [tileRows, tileColumns] = tileSize(shape);
  const threads = threadRows * threadColumns;
  const aBlocks = tileRows / 4 * depth / 4;
  const blocks = aBlocks + tileColumns / 4 * depth / 4;
  return {
    TILE_ROWS: tileRows,
    TILE_COLUMNS: tileColumns,
    DEPTH: depth,
    STRETCH,
    STAGES: stages,
    THREADS: threads,
    THREAD_ROWS: threadRows,
    THREAD_COLUMNS: threadColumns,
    THREAD_LINES: 4 * rowVecs,
    ROW_VECS: rowVecs,
    COLUMN_VECS: columnVecs,
    ROW_BLOCKS: tileRows / 4,
    COLUMN_BLOCKS: tileColumns / 4,
    K_BLOCKS: depth / 4,
    A_BLOCKS: aBlocks,
    BLOCKS: blocks,
    FETCHES: Math.ceil(blocks / threads), // Blocks that a thread fetches of a run, at most.
  };
}
