/**
 * Adds up what the slices of a matrix product have summed, in one order, so that equal calls give equal bits:
 * C[i] = sum over s of partial[s][i], plus the bias of i's column. Time and reads O(B M N slices).
 */
import type { FloatDType } from "../../dtype.ts";
import { type Binding, type Kernel, WORKGROUP_INDEX } from "../../runtime/kernels.ts";
import { paramStruct } from "../../runtime/params.ts";
import type { Runtime } from "../../runtime/runtime.ts";
import { ceilDiv } from "../../shape.ts";
import { accessorHelpers } from "../accessors.ts";
import { levelsFor, sumLoop } from "../sums.ts";
import { BIAS, declareElements, type MatmulProblem } from "./problem.ts";

const THREADS = 64;

/** As many as products of few results have at most; more are rare, and no less right. */
const MOST_SLICES = 1024;

const PARAMS = paramStruct({
  elements: "u32",
  slices: "u32",
  n: "u32",
  has_bias: "u32",
  bias_offset: "u32",
  bias_step: "u32",
});

const BODY = /* wgsl */ `
@compute @workgroup_size(${THREADS})
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let i = workgroup_index(group, groups) * ${THREADS}u + thread;
  if (i >= params.elements) { return; }
  ${
  sumLoop({
    variable: "s",
    begin: "0u",
    end: "params.slices",
    step: "1u",
    type: "f32",
    terms: { sum: "partial[s * params.elements + i]" },
    body: "",
    levels: levelsFor(MOST_SLICES),
  })
}
  out[i] = sum + bias_at(i % params.n);
}
`;

/**
 * Enqueues the sums.
 *
 * @param partial One C after the other, row-major f32.
 * @param out C.
 */
export function sumSlices(
  runtime: Runtime,
  { m, n, batches, dtype, bias, b }: MatmulProblem,
  slices: number,
  partial: Binding,
  out: Binding,
): void {
  const elements = batches * m * n;
  runtime.kernels.dispatch(kernelOf(dtype), {
    storages: [partial, (bias ?? b).binding, out],
    params: PARAMS.pack({
      elements,
      slices,
      n,
      has_bias: bias ? 1 : 0,
      bias_offset: bias?.offset ?? 0,
      bias_step: bias?.step ?? 0,
    }),
    workgroups: ceilDiv(elements, THREADS),
  });
}

const kernels = new Map<FloatDType, Kernel>();

function kernelOf(dtype: FloatDType): Kernel {
  let kernel = kernels.get(dtype);
  if (!kernel) {
    const source = [
      PARAMS.wgsl,
      accessorHelpers([dtype]),
      "@group(0) @binding(0) var<storage, read> partial: array<f32>;\n",
      declareElements("bias", 1, dtype),
      "@group(0) @binding(2) var<storage, read_write> out: array<f32>;\n",
      WORKGROUP_INDEX,
      BIAS,
      BODY,
    ].join("");
    kernel = { label: "matmul_sum", source, bindings: ["read", "read", "write"] };
    kernels.set(dtype, kernel);
  }
  return kernel;
}
