/** Kernels that fill a tensor with random numbers: four elements a thread, from one Philox block. */
import { type DeviceArray, produce } from "../array.ts";
import { inShares } from "../ops/bindings.ts";
import { type Binding, type Kernel, WORKGROUP_INDEX } from "../runtime/kernels.ts";
import { paramStruct } from "../runtime/params.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { ceilDiv, numel } from "../shape.ts";
import { NORMAL, quantileTable } from "./normal.ts";
import { PHILOX, seedKey } from "./philox.ts";

const THREADS = 128;

const PARAMS = paramStruct({
  elements: "u32",
  first_block: "u32",
  seed_low: "u32",
  seed_high: "u32",
});

const BODY = /* wgsl */ `
@compute @workgroup_size(THREADS)
fn main(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let block = workgroup_index(group, groups) * THREADS + thread;
  if (block * 4u >= params.elements) { return; }
  let counter = vec4u(params.first_block + block, 0u, 0u, 0u);
  let words = philox(counter, vec2u(params.seed_low, params.seed_high));
  for (var i = 0u; i < 4u; i++) {
    let index = block * 4u + i;
    if (index < params.elements) { out[index] = number(words[i]); }
  }
}
`;

/** Uniform numbers in [0, 1): multiples of 2^-24, which a float holds exactly. */
const UNIFORM_KERNEL: Kernel = {
  label: "rand",
  bindings: ["write"],
  source: [
    PARAMS.wgsl,
    `const THREADS = ${THREADS}u;\n`,
    "@group(0) @binding(0) var<storage, read_write> out: array<f32>;\n",
    PHILOX,
    `fn number(word: u32) -> f32 { return f32(word >> 8u) * ${2 ** -24}; }\n`,
    WORKGROUP_INDEX,
    BODY,
  ].join(""),
};

/** Standard normal numbers. */
const NORMAL_KERNEL: Kernel = {
  label: "randn",
  bindings: ["read", "write"],
  source: [
    PARAMS.wgsl,
    `const THREADS = ${THREADS}u;\n`,
    "@group(0) @binding(0) var<storage, read> quantiles: array<u32>;\n",
    "@group(0) @binding(1) var<storage, read_write> out: array<f32>;\n",
    PHILOX,
    NORMAL,
    "fn number(word: u32) -> f32 { return normal(word); }\n",
    WORKGROUP_INDEX,
    BODY,
  ].join(""),
};

/** Uniform in [0, 1), f32. */
export function rand(runtime: Runtime, shape: readonly number[], seed: number): DeviceArray {
  const key = seedKey(seed);
  return produce(runtime, shape, "f32", (out) => dispatch(runtime, UNIFORM_KERNEL, [], out, key));
}

/** Standard normal, f32. */
export function randn(runtime: Runtime, shape: readonly number[], seed: number): DeviceArray {
  const key = seedKey(seed);
  return produce(runtime, shape, "f32", (out) => {
    const table = quantileTable();
    const quantiles = runtime.memory.acquire(table.byteLength, "the table of normal quantiles");
    try {
      runtime.upload(quantiles, new Uint8Array(table.buffer));
      dispatch(runtime, NORMAL_KERNEL, [quantiles], out, key);
    } finally {
      quantiles.release();
    }
  });
}

function dispatch(
  runtime: Runtime,
  kernel: Kernel,
  inputs: readonly Binding[],
  out: DeviceArray,
  [seed_low, seed_high]: readonly [number, number],
): void {
  if (numel(out.layout.shape) === 0) return;
  inShares(runtime, [], out, (share) => {
    runtime.kernels.dispatch(kernel, {
      storages: [...inputs, share.out],
      params: PARAMS.pack({
        elements: share.count,
        first_block: share.start / 4,
        seed_low,
        seed_high,
      }),
      workgroups: ceilDiv(share.count, 4 * THREADS),
    });
  });
}
