/** Problems whose candidates take as long as is asked for. */
import type { Device } from "@denoformers/attention";
import { runtimeOf } from "../../../gpu/device.ts";
import type { Kernel } from "../../../gpu/runtime/kernels.ts";
import type { Storage } from "../../../gpu/runtime/memory.ts";
import { paramStruct } from "../../../gpu/runtime/params.ts";
import type { Candidate, TuningProblem } from "../../../gpu/tuning/tuner.ts";

const PARAMS = paramStruct({ turns: "u32" });

/** A linear congruential generator: a chain that no compiler can shorten, so that time grows with the turns. */
const SPIN: Kernel = {
  label: "spin",
  bindings: ["write"],
  source: PARAMS.wgsl + /* wgsl */ `
@group(0) @binding(0) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  var state = id.x;
  for (var turn = 0u; turn < params.turns; turn++) {
    state = state * 1664525u + 1013904223u;
  }
  out[id.x] = state;
}
`,
};

/** A kernel that no compiler takes. */
export const BROKEN: Kernel = {
  label: "broken_candidate",
  bindings: ["write"],
  source: "fn main() { return no_such_function(1); }",
};

/** Turns of a loop; or anything else to do with a storage. */
export type Work = number | ((storage: Storage) => void);

/** What a problem was asked for. */
export interface Calls {
  /** Measurements begun and ended. */
  prepared: number;
  disposed: number;
  /** Runs by name of the candidate. */
  readonly runs: Map<string, number>;
}

/** A problem whose candidates do the given work, in order, and what was asked of it. */
export function spinProblem(
  device: Device,
  name: string,
  works: Readonly<Record<string, Work>>,
): TuningProblem<Work> & { readonly calls: Calls } {
  const runtime = runtimeOf(device);
  const calls: Calls = { prepared: 0, disposed: 0, runs: new Map() };
  const candidates = Object.entries(works).map(([name, value]): Candidate<Work> => ({
    name,
    value,
  }));
  const prepare = () => {
    calls.prepared++;
    const storage = runtime.memory.acquire(4 * 64, "a test");
    return {
      run(work: Work): void {
        const { name } = candidates.find(({ value }) => value === work)!;
        calls.runs.set(name, (calls.runs.get(name) ?? 0) + 1);
        if (typeof work === "number") spin(device, storage, work);
        else work(storage);
      },
      dispose(): void {
        calls.disposed++;
        storage.release();
      },
    };
  };
  return { name, candidates, prepare, calls };
}

/** Enqueues a kernel that takes a time in proportion to its turns. */
export function spin(device: Device, storage: Storage, turns: number): void {
  runtimeOf(device).kernels.dispatch(SPIN, {
    storages: [storage],
    params: PARAMS.pack({ turns }),
    workgroups: 1,
  });
}

/** Enqueues a kernel that does not compile. */
export function runBroken(device: Device, storage: Storage): void {
  runtimeOf(device).kernels.dispatch(BROKEN, {
    storages: [storage],
    params: new Uint32Array(4),
    workgroups: 1,
  });
}
