/**
 * Enters the factors of rows into their statistics, see `_backward.ts`, for the kernels that come after the one that
 * found them. That one cannot: WGSL takes what is read from memory that a kernel also writes, as the tiles beside the
 * statistics would be, for different in each thread, and allows no barrier behind it.
 *
 * Time and memory O(B H Mq).
 */
import { type Kernel, MAIN, WORKGROUP_INDEX } from "../../gpu/runtime/kernels.ts";
import { paramStruct } from "../../gpu/runtime/params.ts";
import { memo } from "../../gpu/runtime/memo.ts";
import { declareTable } from "./_kernel.ts";

/** How many rows there are, and where their statistics begin. */
export const FACTOR_PARAMS = paramStruct({ rows: "u32", stats_offset: "u32" });

/** Rows of one workgroup. */
export const FACTOR_ROWS = 64;

const BODY = /* wgsl */ `
${MAIN}
  let row = workgroup_index(workgroup, workgroups) * THREADS + thread;
  if (row >= params.rows) { return; }
  let delta = params.stats_offset + row * STATS_WORDS + 1u;
  table[delta] = bitcast<u32>(bitcast<f32>(table[delta]) * factors[row]);
  table[delta + 1u] = bitcast<u32>(factors[row]);
}
`;

/** The kernel; bindings: factors, table. */
export const rowFactorsKernel: (statsWords: number) => Kernel = memo((statsWords: number) => ({
  label: "row_factors",
  source: [
    FACTOR_PARAMS.wgsl,
    `const THREADS = ${FACTOR_ROWS}u;\nconst STATS_WORDS = ${statsWords}u;\n`,
    "@group(0) @binding(0) var<storage, read> factors: array<f32>;\n",
    declareTable(1, "read_write"),
    WORKGROUP_INDEX,
    BODY,
  ].join(""),
  bindings: ["read", "update"] as const,
}));
