/**
 * Matrix product for drivers that compute on the CPU, whose subgroups are the lanes of a vector register. A
 * read of storage or of workgroup memory is a gather there, an element after the other, while a broadcast from
 * a constant lane is one instruction. So there is no workgroup memory: a workgroup is one subgroup, each lane
 * loads what it owns, rows of A and columns of B, and rows come to all lanes by broadcasts. Of a tile of
 * 24 x 32, 7 gathers feed 96 multiply-adds at each k. Operands may have any strides, gathers do not care.
 * Time O(B M N K), scratch none.
 */
import type { FloatDType } from "../../dtype.ts";
import { type Binding, type Kernel, WORKGROUP_INDEX } from "../../runtime/kernels.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { unroll } from "../../runtime/unroll.ts";
import { accessorHelpers, WALK } from "../accessors.ts";
import {
  addProduct,
  BIAS,
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

/** The size of a tile of C. */
export interface LanesShape {
  /** Lanes of a subgroup: no more than the device's subgroups have. */
  readonly lanes: number;
  /** Rows of the tile, in subgroups. */
  readonly rowGroups: number;
  /** Columns of the tile, in subgroups of four columns a lane. */
  readonly columnVecs: number;
}

const BODY = /* wgsl */ `
fn a_at(line: u32, k: u32) -> f32 {
  return select(0.0, load_a(line + min(k, params.k - 1u) * params.a_step), k < params.k);
}

fn b_at(lines: vec4u, k: u32) -> vec4f {
  let at = lines + vec4u(min(k, params.k - 1u) * params.b_step);
  return select(
    vec4f(),
    vec4f(load_b(at.x), load_b(at.y), load_b(at.z), load_b(at.w)),
    k < params.k,
  );
}

@compute @workgroup_size(LANES)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let job = job_of(workgroup_index(group, groups));
  // What lies beyond the edge is computed from the last row or column, and not written.
  var rows = array<u32, ROW_GROUPS>();
  /* unroll */ for (var g = 0u; g < ROW_GROUPS; g++) {
    rows[g] = job.a_origin + min(job.row + g * LANES + lane, params.m - 1u) * params.a_line;
  }
  var columns = array<vec4u, COLUMN_VECS>();
  /* unroll */ for (var v = 0u; v < COLUMN_VECS; v++) {
    let own = vec4u(job.column + lane) + LANES * (4u * v + vec4u(0u, 1u, 2u, 3u));
    columns[v] = vec4u(job.b_origin) + min(own, vec4u(params.n - 1u)) * params.b_line;
  }

  let k_begin = job.slice * params.slice_depth;
  let k_end = min(params.k, k_begin + params.slice_depth);
  BEGIN_STRETCH
  var sums = array<array<vec4f, COLUMN_VECS>, TILE_ROWS>();
  for (var k = k_from; k < k_to; k += 4u) {
    var a_four = array<vec4f, ROW_GROUPS>();
    /* unroll */ for (var g = 0u; g < ROW_GROUPS; g++) {
      a_four[g] = vec4f(
        a_at(rows[g], k),
        a_at(rows[g], k + 1u),
        a_at(rows[g], k + 2u),
        a_at(rows[g], k + 3u),
      );
    }
    /* unroll */ for (var i = 0u; i < 4; i++) {
      var b = array<vec4f, COLUMN_VECS>();
      /* unroll */ for (var v = 0u; v < COLUMN_VECS; v++) {
        b[v] = b_at(columns[v], k + i);
      }
      /* unroll */ for (var g = 0u; g < ROW_GROUPS; g++) {
        /* unroll */ for (var r = 0u; r < LANES; r++) {
          let a = subgroupBroadcast(a_four[g][i], r);
          /* unroll */ for (var v = 0u; v < COLUMN_VECS; v++) {
            sums[g * LANES + r][v] = add_product(a, b[v], sums[g * LANES + r][v]);
          }
        }
      }
    }
  }
  END_STRETCH

  let plane = job.plane * params.m * params.n;
  /* unroll */ for (var c = 0u; c < LANE_COLUMNS; c++) {
    let column = job.column + lane + LANES * c;
    if (column < params.n && job.plane < params.planes) {
      let bias = bias_at(column);
      // A lane writes the last row once more for each row beyond it: that is cheaper than branches.
      /* unroll */ for (var r = 0u; r < TILE_ROWS; r++) {
        let row = min(job.row + r, params.m - 1u);
        out[plane + row * params.n + column] = SUMS[r][c / 4u][c % 4u] + bias;
      }
    }
  }
}
`;

/** Where k is long, sums of a stretch of it are added to those of the stretches before, and roundings stay few. */
const STRETCHES = {
  one: { BEGIN_STRETCH: "let k_from = k_begin; let k_to = k_end;", END_STRETCH: "", SUMS: "sums" },
  many: {
    BEGIN_STRETCH: /* wgsl */ `
  var totals = array<array<vec4f, COLUMN_VECS>, TILE_ROWS>();
  for (var k_from = k_begin; k_from < k_end; k_from += STRETCH) {
  let k_to = min(k_end, k_from + STRETCH);`,
    END_STRETCH: /* wgsl */ `
  /* unroll */ for (var r = 0u; r < TILE_ROWS; r++) {
    /* unroll */ for (var v = 0u; v < COLUMN_VECS; v++) { totals[r][v] += sums[r][v]; }
  }
  }`,
    SUMS: "totals",
  },
};

/** Terms of such a stretch, a multiple of 4, and of the longest sum that is added up in one. */
const STRETCH = 64;
const LONGEST = 512;

/** Terms that one slice sums at most, if there is room for slices. */
export const LANES_SLICE: number = 64 * STRETCH;

/** Rows and columns of a tile of C. */
export function lanesTile({ lanes, rowGroups, columnVecs }: LanesShape): [number, number] {
  return [lanes * rowGroups, 4 * lanes * columnVecs];
}

/**
 * Enqueues a product.
 *
 * @param slices Into how many runs to cut k. From 2 on, the bias is left out.
 * @param out C, of one element or more, row-major f32; as many of them as there are slices.
 */
export function lanesMatmul(
  runtime: Runtime,
  problem: MatmulProblem,
  shape: LanesShape,
  slices: number,
  out: Binding,
): void {
  const { a, b, bias, k, dtype, zeroHides } = problem;
  const [tileRows, tileColumns] = lanesTile(shape);
  const cut = { tileRows, tileColumns, slices, sliceDepth: sliceDepth(k, slices) };
  runtime.kernels.dispatch(lanesKernel(dtype, zeroHides, cut.sliceDepth > LONGEST, shape), {
    storages: [a.binding, b.binding, (bias ?? b).binding, out],
    params: packParams(slices > 1 ? withoutBias(problem) : problem, cut),
    workgroups: workgroupsOf(problem, cut),
  });
}

const kernels = new Map<string, Kernel>();

function lanesKernel(
  dtype: FloatDType,
  zeroHides: boolean,
  isLong: boolean,
  shape: LanesShape,
): Kernel {
  const key = [dtype, zeroHides, isLong, shape.lanes, shape.rowGroups, shape.columnVecs].join();
  let kernel = kernels.get(key);
  if (!kernel) {
    kernel = {
      label: "matmul",
      source: lanesSource(dtype, zeroHides, isLong, shape),
      bindings: ["read", "read", "read", "write"],
      subgroups: true,
    };
    kernels.set(key, kernel);
  }
  return kernel;
}

function lanesSource(
  dtype: FloatDType,
  zeroHides: boolean,
  isLong: boolean,
  shape: LanesShape,
): string {
  const [tileRows, tileColumns] = lanesTile(shape);
  const constants = {
    LANES: shape.lanes,
    ROW_GROUPS: shape.rowGroups,
    COLUMN_VECS: shape.columnVecs,
    LANE_COLUMNS: 4 * shape.columnVecs,
    TILE_ROWS: tileRows,
    TILE_COLUMNS: tileColumns,
    STRETCH,
  };
  return [
    PARAMS.wgsl,
    ...Object.entries(constants).map(([name, value]) => `const ${name} = ${value}u;\n`),
    accessorHelpers([dtype]),
    declareElements("a", 0, dtype),
    declareElements("b", 1, dtype),
    declareElements("bias", 2, dtype),
    "@group(0) @binding(3) var<storage, read_write> out: array<f32>;\n",
    WALK,
    WORKGROUP_INDEX,
    JOB,
    BIAS,
    addProduct(zeroHides),
    unroll(withParts(BODY, isLong ? STRETCHES.many : STRETCHES.one), constants),
  ].join("");
}
