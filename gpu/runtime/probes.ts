/**
 * Small experiments made on a fresh device, where no API tells: does the driver run long loops to their
 * end, and how are subgroups laid out?
 */
import type { Kernel } from "./kernels.ts";
import { paramStruct } from "./params.ts";
import type { Runtime } from "./runtime.ts";

/** Above the 65,535 turns after which Mesa 24.0 and older silently end an invocation's loops on the CPU. */
const LONG_LOOP_TURNS = 70_000;

const LOOP_PARAMS = paramStruct({ turns: "u32" });

/** A linear congruential generator: a chain that no compiler can shorten. */
const LOOP_KERNEL: Kernel = {
  label: "probe_loop",
  bindings: ["write"],
  source: LOOP_PARAMS.wgsl + /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> result: array<u32>;

@compute @workgroup_size(1)
fn main() {
  var state = 1u;
  for (var turn = 0u; turn < params.turns; turn++) {
    state = state * 1664525u + 1013904223u;
  }
  result[0] = state;
}
`,
};

/** Whether a loop of 70,000 turns runs to its end. */
export async function runsLongLoops(runtime: Runtime): Promise<boolean> {
  const [state] = await run(runtime, LOOP_KERNEL, LOOP_PARAMS.pack({ turns: LONG_LOOP_TURNS }), 1);
  let expected = 1;
  for (let turn = 0; turn < LONG_LOOP_TURNS; turn++) {
    expected = (Math.imul(expected, 1664525) + 1013904223) >>> 0;
  }
  return state === expected;
}

const SUBGROUP_THREADS = 128;
const SUBGROUP_PARAMS = paramStruct({ unused: "u32" });

const SUBGROUP_KERNEL: Kernel = {
  label: "probe_subgroups",
  bindings: ["write"],
  subgroups: true,
  source: SUBGROUP_PARAMS.wgsl + /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> result: array<vec3u>;

@compute @workgroup_size(${SUBGROUP_THREADS})
fn main(
  @builtin(local_invocation_index) thread: u32,
  @builtin(subgroup_size) size: u32,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  result[thread] = vec3u(size, lane, subgroupShuffleXor(thread, 1u));
}
`,
};

/**
 * The size of a subgroup, if threads fill subgroups in order (which the specification leaves open, and
 * kernels that split a row over neighbouring lanes need) and shuffles work; else 0.
 */
export async function subgroupSize(runtime: Runtime): Promise<number> {
  const words = await run(
    runtime,
    SUBGROUP_KERNEL,
    SUBGROUP_PARAMS.pack({ unused: 0 }),
    4 * SUBGROUP_THREADS,
  );
  const size = words[0]!;
  for (let thread = 0; thread < SUBGROUP_THREADS; thread++) {
    const [itsSize, lane, neighbour] = words.subarray(4 * thread);
    if (itsSize !== size || lane !== thread % size || neighbour !== (thread ^ 1)) return 0;
  }
  return size;
}

async function run(
  runtime: Runtime,
  kernel: Kernel,
  params: Uint32Array<ArrayBuffer>,
  words: number,
): Promise<Uint32Array> {
  const storage = runtime.memory.acquire(4 * words, kernel.label);
  try {
    runtime.kernels.dispatch(kernel, { storages: [storage], params, workgroups: 1 });
    return new Uint32Array(await runtime.download(storage, 4 * words));
  } finally {
    storage.release();
  }
}
