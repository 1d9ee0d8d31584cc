/**
 * Batched matrix product, C[b, m, n] = sum over k of A[b, m, k] B[b, k, n], plus a bias per column if
 * there is one. Any strides, so transposed views are free. One workgroup computes a 64 x 64 tile of C:
 * it stages 64 x 16 of A and 16 x 64 of B in workgroup memory, and each of its 64 threads keeps 8 x 8
 * sums in registers, so that four vec4 reads feed 64 multiply-adds. Time O(B M N K), scratch none.
 */
import { type DeviceArray, produce } from "../array.ts";
import { type DType, isFloat } from "../dtype.ts";
import { coalesce, type Layout } from "../layout.ts";
import { type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { unroll } from "../runtime/unroll.ts";
import { broadcastShapes, ceilDiv, formatShape, numel } from "../shape.ts";
import { accessorHelpers, declareOperand, padAxes, WALK } from "./accessors.ts";
import { assertOneBinding, bindArray } from "./bindings.ts";
import { fill, narrow } from "./map.ts";

const TILE = 64;
const CONSTANTS = { TILE, DEPTH: 16, THREADS: 64 };

const PARAMS = paramStruct({
  m: "u32",
  n: "u32",
  k: "u32",
  batches: "u32",
  row_tiles: "u32",
  column_tiles: "u32",
  a_offset: "u32",
  a_row: "u32",
  a_step: "u32",
  b_offset: "u32",
  b_step: "u32",
  b_column: "u32",
  bias_offset: "u32",
  bias_step: "u32",
  batch_shape: "axes",
  a_strides: "axes",
  b_strides: "axes",
});

const BODY = /* wgsl */ `
// One vec4 holds four neighbouring rows of A, or columns of B, at one k.
var<workgroup> a_tile: array<array<vec4f, TILE / 4u>, DEPTH>;
var<workgroup> b_tile: array<array<vec4f, TILE / 4u>, DEPTH>;

@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let job = workgroup_index(group, groups);
  let column_origin = (job % params.column_tiles) * TILE;
  let row_origin = (job / params.column_tiles % params.row_tiles) * TILE;
  let batch = job / params.column_tiles / params.row_tiles;
  let a_origin = params.a_offset + walk(batch, BATCH_RANK, params.batch_shape, params.a_strides);
  let b_origin = params.b_offset + walk(batch, BATCH_RANK, params.batch_shape, params.b_strides);
  let row_part = thread / 8u;
  let column_part = thread % 8u;

  var sums = array<array<vec4f, 2>, 8>();
  for (var k_origin = 0u; k_origin < params.k; k_origin += DEPTH) {
    // Stage. Neighbouring threads take neighbouring memory, whichever axis is the dense one.
    for (var i = thread; i < DEPTH * TILE / 4u; i += THREADS) {
      let a_k = select(i / (TILE / 4u), i % DEPTH, A_DENSE_IN_K);
      let a_four = select(i % (TILE / 4u), i / DEPTH, A_DENSE_IN_K);
      let row = row_origin + 4u * a_four;
      a_tile[a_k][a_four] = vec4f(
        a_at(a_origin, row, k_origin + a_k),
        a_at(a_origin, row + 1u, k_origin + a_k),
        a_at(a_origin, row + 2u, k_origin + a_k),
        a_at(a_origin, row + 3u, k_origin + a_k),
      );
      let b_k = select(i / (TILE / 4u), i % DEPTH, B_DENSE_IN_K);
      let b_four = select(i % (TILE / 4u), i / DEPTH, B_DENSE_IN_K);
      let column = column_origin + 4u * b_four;
      b_tile[b_k][b_four] = vec4f(
        b_at(b_origin, k_origin + b_k, column),
        b_at(b_origin, k_origin + b_k, column + 1u),
        b_at(b_origin, k_origin + b_k, column + 2u),
        b_at(b_origin, k_origin + b_k, column + 3u),
      );
    }
    workgroupBarrier();
    // Multiply.
    for (var k = 0u; k < DEPTH; k++) {
      let b_low = b_tile[k][column_part];
      let b_high = b_tile[k][column_part + 8u];
      /* unroll */ for (var half = 0u; half < 2; half++) {
        let a_four = a_tile[k][row_part + 8u * half];
        /* unroll */ for (var r = 0u; r < 4; r++) {
          sums[4u * half + r][0] += multiply(a_four[r], b_low);
          sums[4u * half + r][1] += multiply(a_four[r], b_high);
        }
      }
    }
    workgroupBarrier();
  }

  if (batch >= params.batches) { return; }
  /* unroll */ for (var r = 0u; r < 8; r++) {
    let row = row_origin + 32u * (r / 4u) + 4u * row_part + r % 4u;
    if (row < params.m) {
      /* unroll */ for (var c = 0u; c < 8; c++) {
        let column = column_origin + 32u * (c / 4u) + 4u * column_part + c % 4u;
        if (column < params.n) {
          out[(batch * params.m + row) * params.n + column] =
            sums[r][c / 4u][c % 4u] + bias_at(column);
        }
      }
    }
  }
}
`;

/** `a_at` and `b_at`: an element of an operand, zero beyond its edge. */
function edgeReads(load: (name: string, position: string) => string): string {
  return /* wgsl */ `
fn a_at(origin: u32, row: u32, k: u32) -> f32 {
  if (row >= params.m || k >= params.k) { return 0.0; }
  return ${load("a", "origin + row * params.a_row + k * params.a_step")};
}

fn b_at(origin: u32, k: u32, column: u32) -> f32 {
  if (column >= params.n || k >= params.k) { return 0.0; }
  return ${load("b", "origin + k * params.b_step + column * params.b_column")};
}
`;
}

/** Options of {@linkcode matmul}. */
export interface MatmulOptions {
  /** `[n]`, added to each row of the product. */
  readonly bias?: DeviceArray | undefined;
  /**
   * Treat the product of a zero in A with anything, NaN and infinity included, as zero. Attention
   * weights want that: what a weight of zero hides must not show. Default `false`.
   */
  readonly zeroHides?: boolean;
}

/**
 * `a [..., m, k]` times `b [..., k, n]`, with leading axes that broadcast. Operands and bias have one
 * float type, which the result has as well; sums are f32.
 */
export function matmul(
  runtime: Runtime,
  a: DeviceArray,
  b: DeviceArray,
  { bias, zeroHides = false }: MatmulOptions = {},
): DeviceArray {
  const shapes = `shapes are ${formatShape(a.layout.shape)} and ${formatShape(b.layout.shape)}`;
  const { dtype } = a;
  if (!isFloat(dtype) || b.dtype !== dtype || (bias && bias.dtype !== dtype)) {
    const types = bias
      ? `${dtype}, ${b.dtype} and ${bias.dtype} (bias)`
      : `${dtype} and ${b.dtype}`;
    throw new TypeError(
      `Cannot matmul: dtypes are ${types}, expected one of f32, f16 and bf16 for all, ` +
        `convert with .to("f32")`,
    );
  }
  if (a.layout.shape.length < 2 || b.layout.shape.length < 2) {
    throw new RangeError(`Cannot matmul: ${shapes}, expected [..., M, K] and [..., K, N]`);
  }
  const [m, k] = a.layout.shape.slice(-2) as [number, number];
  const [innerB, n] = b.layout.shape.slice(-2) as [number, number];
  if (k !== innerB) {
    throw new RangeError(`Cannot matmul: ${shapes}, inner sizes ${k} and ${innerB} differ`);
  }
  const lead = broadcastShapes(a.layout.shape.slice(0, -2), b.layout.shape.slice(0, -2), "matmul");
  const outShape = [...lead, m, n];
  if (k === 0 && !bias) return fill(runtime, outShape, dtype, 0);
  assertOneBinding(runtime, "matmul", outShape, "f32");
  const [boundA, boundB, ...boundBias] = [a, b, ...(bias ? [bias] : [])]
    .map((array) => bindArray(runtime, "matmul", array));
  const layoutA = boundA!.layout;
  const layoutB = boundB!.layout;
  const batch = coalesce([leadStrides(layoutA, lead), leadStrides(layoutB, lead)], lead);
  const batches = numel(lead);
  const rowTiles = ceilDiv(m, TILE);
  const columnTiles = ceilDiv(n, TILE);
  const [aRow, aStep] = layoutA.strides.slice(-2) as [number, number];
  const [bStep, bColumn] = layoutB.strides.slice(-2) as [number, number];
  const kernel = matmulKernel({
    dtype,
    batchRank: batch.shape.length,
    aDenseInK: aStep === 1,
    bDenseInK: bStep === 1,
    hasBias: !!bias,
    zeroHides,
  });
  const out = produce(runtime, outShape, "f32", (out) => {
    if (numel(outShape) === 0) return;
    runtime.kernels.dispatch(kernel, {
      storages: [boundA!, boundB!, ...boundBias].map(({ binding }) => binding).concat(out.storage),
      params: PARAMS.pack({
        m,
        n,
        k,
        batches,
        row_tiles: rowTiles,
        column_tiles: columnTiles,
        a_offset: layoutA.offset,
        a_row: aRow,
        a_step: aStep,
        b_offset: layoutB.offset,
        b_step: bStep,
        b_column: bColumn,
        bias_offset: boundBias[0]?.layout.offset ?? 0,
        bias_step: boundBias[0]?.layout.strides[0] ?? 0,
        batch_shape: padAxes(batch.shape, 1),
        a_strides: padAxes(batch.strides[0]!, 0),
        b_strides: padAxes(batch.strides[1]!, 0),
      }),
      workgroups: batches * rowTiles * columnTiles,
    });
  });
  return narrow(runtime, out, dtype);
}

/** Strides over the common leading axes, 0 where this operand is broadcast. */
function leadStrides({ shape, strides }: Layout, lead: readonly number[]): number[] {
  const own = shape.length - 2;
  return lead.map((_, axis) => {
    const at = axis - lead.length + own;
    return at < 0 || shape[at] === 1 ? 0 : strides[at]!;
  });
}

/** What is compiled into a kernel. */
interface MatmulConfig {
  readonly dtype: DType;
  readonly batchRank: number;
  readonly aDenseInK: boolean;
  readonly bDenseInK: boolean;
  readonly hasBias: boolean;
  readonly zeroHides: boolean;
}

const kernels = new Map<string, Kernel>();

function matmulKernel(config: MatmulConfig): Kernel {
  const key = Object.values(config).join();
  let kernel = kernels.get(key);
  if (!kernel) {
    const { hasBias } = config;
    const bindings = ["read", "read", ...(hasBias ? ["read" as const] : []), "write"] as const;
    kernel = { label: "matmul", source: matmulSource(config), bindings };
    kernels.set(key, kernel);
  }
  return kernel;
}

function matmulSource(
  { dtype, batchRank, aDenseInK, bDenseInK, hasBias, zeroHides }: MatmulConfig,
): string {
  const isPlain = dtype === "f32"; // Needs no unpacking: the buffers are arrays of f32.
  const declare = (name: string, binding: number) =>
    isPlain
      ? `@group(0) @binding(${binding}) var<storage, read> ${name}: array<f32>;\n`
      : declareOperand(name, binding, dtype);
  const load = (name: string, position: string) =>
    isPlain ? `${name}[${position}]` : `load_${name}(${position})`;
  const biasAt = load("bias", "params.bias_offset + n * params.bias_step");
  return [
    PARAMS.wgsl,
    ...Object.entries(CONSTANTS).map(([name, value]) => `const ${name} = ${value}u;\n`),
    `const BATCH_RANK = ${batchRank}u;\n`,
    `const A_DENSE_IN_K = ${aDenseInK};\nconst B_DENSE_IN_K = ${bDenseInK};\n`,
    accessorHelpers([dtype]),
    declare("a", 0),
    declare("b", 1),
    hasBias ? declare("bias", 2) : "",
    `fn bias_at(n: u32) -> f32 { return ${hasBias ? biasAt : "0.0"}; }\n`,
    `@group(0) @binding(${hasBias ? 3 : 2}) var<storage, read_write> out: array<f32>;\n`,
    "fn multiply(a: f32, b: vec4f) -> vec4f { return ",
    zeroHides ? "select(a * b, vec4f(), a == 0.0)" : "a * b",
    "; }\n",
    WALK,
    WORKGROUP_INDEX,
    edgeReads(load),
    unroll(BODY, CONSTANTS),
  ].join("");
}
